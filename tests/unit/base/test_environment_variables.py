from __future__ import annotations

import os

import pytest

from nnunet_spine.environment_variables import variables_set


def test_variables_are_set_for_the_block_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SPINE_TEST", "before")
    monkeypatch.delenv("B_SPINE_TEST", raising=False)
    with variables_set({"A_SPINE_TEST": 3, "B_SPINE_TEST": 4, "C_SPINE_TEST": None}):
        assert (os.environ["A_SPINE_TEST"], os.environ["B_SPINE_TEST"]) == ("3", "4")
        assert "C_SPINE_TEST" not in os.environ
    assert os.environ["A_SPINE_TEST"] == "before"
    assert "B_SPINE_TEST" not in os.environ
