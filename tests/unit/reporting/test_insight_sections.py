"""Sections of strata, worst cases and calibration, from hand-written content of an evaluation.json."""

from pathlib import Path
from typing import Any

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.json_entries import Entry
from nnunet_spine.reporting.insight_sections import insight_sections, probable_reasons

STRATUM = {"factor": "maker", "detected": None, "sensitivity": None, "dice_mean": None, "dice_sd": None}
CONTENT: dict[str, Any] = {
    "strata": {
        "rows": [
            {**STRATUM, "level": "GE", "cases": 6, "patients": 5, "detected": 4, "sensitivity": 0.8, "dice_mean": 0.4,
             "dice_sd": 0.2, "dice_median": 0.45, "judged": True},
            {**STRATUM, "level": "Philips", "cases": 4, "patients": 4, "dice_median": None, "judged": False},
        ],
        "not_computed": [{"factor": "lesion's look", "needs": "--images"}],
    },
    "worst_cases": {
        "definition": "What the list is.",
        "cases": [
            {"case": "spine_001", "dice": 0.0, "probable": ["the lesion is small", "the maker is unseen"]},
            {"case": "spine_002", "dice": 0.126, "probable": []},
        ],
        "frequencies": [{"cause": "small lesion", "worst": 3, "of_worst": 5, "rest": 1, "of_rest": 10, "weight": "x"}],
    },
    "calibration": {
        "definition": "How it is measured.",
        "sentences": ["It is too sure."],
        "voxels": {
            "bins": [{"low": 0.0, "high": 0.1, "n": 1000, "mean_confidence": 0.012, "observed_frequency": None}],
        },
    },
}  # fmt: skip


def content(values: dict[str, Any]) -> Entry:
    return Entry(Path("evaluation.json"), "", values, "Evaluate again.")


def test_each_part_is_a_section_in_cells_of_text():
    strata, worst, calibration = insight_sections({"A": content(CONTENT)})
    ((caption, header, rows),) = strata.tables
    assert (caption, len(header)) == ("By stratum", 6)
    assert rows == [
        ("maker", "", "", "", "", ""),
        ("GE", "6", "5", "4/5 (80 %)", "0.40 ± 0.20", "0.45"),
        ("Philips", "4", "4", "n < 5", "-", "-"),
    ]
    assert "Not computed without --images: lesion's look." in strata.notes
    (_, _, cases), (_, _, frequencies) = worst.tables
    assert cases == [
        ("spine_001", "0.00", "the lesion is small; the maker is unseen"),
        ("spine_002", "0.13", "none found in what was measured"),
    ]
    assert frequencies == [("small lesion", "3/5 (60 %)", "1/10 (10 %)", "more often in the worst")]
    assert worst.notes == ["What the list is."]
    assert calibration.tables[0][2] == [("0.0 to 0.1", "1000", "0.01", "-")]
    assert calibration.notes == ["It is too sure.", "How it is measured."]


def test_several_models_are_separated_by_their_keys():
    sections = insight_sections({"A": content(CONTENT), "B": content(CONTENT)})
    assert [table[0] for table in sections[0].tables] == ["By stratum, A", "By stratum, B"]
    assert sections[2].notes == ["A: It is too sure.", "B: It is too sure.", "How it is measured."]


def test_an_evaluation_without_these_parts_adds_nothing():
    assert insight_sections({"A": content({}), "B": content({"calibration": None})}) == []
    without = content({**CONTENT, "calibration": None})
    assert [s.heading for s in insight_sections({"A": without})] == ["Strata", "Worst cases"]
    assert probable_reasons(content({})) == {}
    assert probable_reasons(content(CONTENT))["spine_002"] == []


@pytest.mark.parametrize(
    ("part", "key", "value", "told"),
    [
        ("strata", "rows", [{"factor": 1}], r"strata.rows\[0\].factor is 1; expected a text"),
        ("strata", "not_computed", None, "strata.not_computed is null; expected a list"),
        ("worst_cases", "cases", [{"case": "a", "probable": [["x"]]}], r"probable\[0\] is a list; expected a text"),
        ("worst_cases", "frequencies", [{"worst": -1}], "worst is -1; expected a whole number from 0"),
        ("calibration", "voxels", {"bins": [{"low": "0"}]}, r"bins\[0\].low is '0'; expected a number"),
        ("calibration", "sentences", "x", "calibration.sentences is 'x'; expected a list"),
    ],
)
def test_a_part_that_was_changed_is_refused_with_its_key(part: str, key: str, value: object, told: str) -> None:
    changed = content({**CONTENT, part: {**CONTENT[part], key: value}})
    with pytest.raises(BadInput, match=told):
        insight_sections({"A": changed})
        probable_reasons(changed)
