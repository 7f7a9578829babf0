from __future__ import annotations

from typing import Any

import pytest

from nnunet_spine.dataset_conversion.reference_selection import Selection, Structure
from nnunet_spine.dataset_conversion.vocabulary import is_tumor, names
from nnunet_spine.errors import BadInput


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": (" ",)}, "label is empty"),
        ({"numbers": (0,)}, "below 1"),
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"fraction": 1.1}, "fraction is 1.1"),
        ({"fraction": float("nan")}, "fraction is nan"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selection(**options)


def test_the_manifest_tells_what_differs() -> None:
    assert Selection().parameters() == {}
    told = Selection(("cord",), (2,), 0.3).parameters()
    assert told == {"tumor_labels": ["cord"], "segments": [2], "fraction": 0.3}


def test_labels_are_whole_words_or_code_values() -> None:
    assert names(["Tumor_L2"], "tumor l2")
    assert names(["left Tumor, solid"], "tumor")
    assert not names(["peritumoral", "tumors"], "tumor")
    assert names(["GTV (1)"], "GTV (1)")
    structure = Structure(3, ("x", "", "Tissue"), (("SCT", "85756007"),))
    assert structure.is_selected(Selection(labels=("85756007",)))
    assert structure.is_selected(Selection(labels=("TISSUE",)))
    assert not structure.is_selected(Selection(labels=("8575",), numbers=(1,)))


@pytest.mark.parametrize(
    ("words", "codes", "expected"),
    [
        (["GTV_1"], [], True),
        (["Tumeur"], [("SCT", "108369006")], True),
        (["Befund"], [("SRT", "M-8FFFF")], True),
        (["edema"], [("SCT", "108369006")], False),
        (["CTV tumor"], [], False),
        (["cord"], [("SCT", "2748008")], False),
    ],
)
def test_words_and_coded_types_say_tumor(words: list[str], codes: list[tuple[str, str]], expected: bool) -> None:
    assert is_tumor(words, codes) is expected
