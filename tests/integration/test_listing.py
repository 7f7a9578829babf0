"""Planning forks nothing: a fork of a process with threads can hang for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import plan_dataset


def test_planning_forks_nothing(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise AssertionError("forked")

    workspace = Workspace(tiny.workspace.raw, tmp_path / "nnUNet_preprocessed", tmp_path / "nnUNet_results")
    folder = workspace.preprocessed / tiny.dataset
    folder.mkdir(parents=True)
    (folder / "splits_final.json").write_bytes((tiny.preprocessed / "splits_final.json").read_bytes())
    monkeypatch.setattr(os, "fork", refuse)
    planned = plan_dataset("58", workspace)
    assert planned.plans_file.read_bytes() == (tiny.preprocessed / "nnUNetSpinePlans.json").read_bytes()
