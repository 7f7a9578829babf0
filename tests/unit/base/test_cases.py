from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine.cases import (
    Case,
    Compartment,
    Fold,
    Region,
    Split,
    parse_enum,
    read_cases,
    read_splits,
    write_cases,
    write_splits,
)
from nnunet_spine.errors import BadInput, NotFound

CASES = [
    Case("spine_001", "P001", Compartment.INTRAMEDULLARY, "ependymoma, grade 2", "SIEMENS", 1.5, Region.CERVICAL),
    Case("spine_002", "P002"),
]


def test_cases_come_back(tmp_path: Path) -> None:
    write_cases(tmp_path / "cases.csv", CASES)
    assert read_cases(tmp_path / "cases.csv") == CASES
    header = (tmp_path / "cases.csv").read_text().splitlines()[0]
    assert header == "case,patient,compartment,tumor_type,maker,field_strength,region"


def test_only_case_and_patient_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("patient,case\nP1,a\n")
    assert read_cases(tmp_path / "cases.csv") == [Case("a", "P1")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("case\na\n", "no column patient"),
        ("case,patient\na,\n", "row 2.*must not be empty"),
        ("case,patient\na\x1bb,p\n", "row 2.*holds a control character"),
        ("case,patient\n../a,p\n", "row 2.*or `case` a path"),
        ("case,patient\n/etc/a,p\n", "row 2.*or `case` a path"),
        (f"case,patient,maker\na,p,{'x' * 501}\n", "row 2: maker has 501 characters; expected at most 500"),
        ("case,patient,field_strength\na,p,nan\n", "row 2: field_strength is 'nan'; expected tesla"),
        ("case,patient,field_strength\na,p,inf\n", "row 2: field_strength is 'inf'; expected tesla"),
        ("case,patient\na,P\na,P\n", "row 3.*listed twice"),
        ("case,patient,compartment\na,P,extradural\n", "compartment is 'extradural'.*intramedullary, extramedullary"),
        ("case,patient,field_strength\na,P,3 T\n", "field_strength is '3 T'.*tesla"),
        ("case,patient,field_strength\na,P,nan\n", "field_strength is 'nan'.*tesla"),
        ("case,patient,field_strength\na,P,-1.5\n", "field_strength is '-1.5'.*tesla"),
        ("case,patient,patient\na,P,Q\n", "two columns patient"),
    ],
)
def test_cases_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_cases(tmp_path / "cases.csv")


def test_closed_sets_are_read_without_regard_to_case() -> None:
    assert parse_enum(Compartment, " IntraMedullary ", "here") is Compartment.INTRAMEDULLARY
    assert parse_enum(Region, "", "here") is Region.UNKNOWN
    with pytest.raises(BadInput, match="here: split is ''|here: split is 'unknown'|expected one of train, test"):
        parse_enum(Split, "", "here")


def test_splits_come_back_in_nnunets_form(tmp_path: Path) -> None:
    folds = [Fold(0, ("b",), ("a",)), Fold(1, ("a",), ("b",))]
    write_splits(tmp_path / "s.json", folds)
    assert read_splits(tmp_path / "s.json") == folds
    assert '"val"' in (tmp_path / "s.json").read_text()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "holds no fold"),
        ("{}", "not a list of folds"),
        ('{"a": 1}', "not a list of folds"),
        ('[{"train": ["a"]}]', "not a list of folds"),
        ("[1]", "not a list of folds"),
        ('[{"train": [null], "val": ["a"]}]', r"\[0\]\.train\[0\] is null; expected a text"),
        ('[{"train": ["b"], "val": ["a", ["b"]]}]', r"\[0\]\.val\[1\] is a list; expected a text"),
        ('[{"train": ["b"], "val": [" "]}]', r"\[0\]\.val\[0\] is ' '; expected a name"),
        ('[{"train": ["b"], "val": ["a\\n"]}]', "expected a name"),
        ('[{"train": ["b"], "val": ["\\ud800"]}]', "expected a name"),
        *(
            (f'[{{"train": ["b"], "val": ["{name}"]}}]', "expected a name without separators of folders")
            for name in ("/etc/a", "../a", "a/b", "..", ".", "a\\\\b")
        ),
        ('[{"train": ["b"], "val": [true]}]', r"\[0\]\.val\[0\] is true; expected a text"),
        ('[{"train": ["b"], "val": ["a", "a"]}]', "fold 0 lists its test case a twice. Keep it once"),
        ('[{"train": ["a"], "val": ["a"]}]', "fold 0 trains on cases that it is tested on: a"),
        (
            '[{"train": ["a"], "val": ["b"]}, {"train": ["a"], "val": ["b"]}]',
            "b is a test case of fold 0 and of fold 1",
        ),
    ],
)
def test_splits_that_cannot_be_used(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(BadInput, match=words):
        read_splits(tmp_path / "s.json")


def test_no_splits(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_splits(tmp_path / "s.json")


def test_a_list_with_semicolons_and_decimal_commas_is_read(tmp_path: Path) -> None:
    path = tmp_path / "cases.csv"
    path.write_text("case;patient;field_strength\na;p;1,5\nb;q;3\n")
    assert [case.field_strength for case in read_cases(path)] == [1.5, 3.0]
