"""Planning wants folds of the data set's own cases."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_plans import DATASET

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.cli.main import main
from nnunet_spine.errors import BadInput
from nnunet_spine.nnunet.fold_check import check_folds


def dataset(folder: Path, cases: str, folds: list[Fold] | None) -> tuple[Path, Path]:
    raw, preprocessed = (folder / f"nnUNet_{name}" / "Dataset058_Spine" for name in ("raw", "preprocessed"))
    (raw / "labelsTr").mkdir(parents=True)
    (raw / "dataset.json").write_text(json.dumps(DATASET))
    (raw / "imagesTr").mkdir()
    for case in cases:
        (raw / "imagesTr" / f"{case}_0000.nii.gz").write_bytes(b"")
        (raw / "labelsTr" / f"{case}.nii.gz").write_bytes(b"")
    if folds is not None:
        write_splits(preprocessed / "splits_final.json", folds)
    return raw, preprocessed


def test_folds_of_all_cases_and_no_folds_are_fine(tmp_path: Path) -> None:
    check_folds(*dataset(tmp_path / "a", "abc", [Fold(0, ("b", "c"), ("a",)), Fold(1, ("a",), ("b", "c"))]))
    check_folds(*dataset(tmp_path / "b", "abc", None))


def test_a_case_in_no_fold_is_named(tmp_path: Path) -> None:
    folders = dataset(tmp_path, "abcd", [Fold(0, ("b",), ("a",)), Fold(1, ("a",), ("b",))])
    with pytest.raises(BadInput, match=r"no fold for the training cases c, d\. Convert again"):
        check_folds(*folders)


def test_a_fold_of_an_unknown_case_is_named(tmp_path: Path) -> None:
    folders = dataset(tmp_path, "ab", [Fold(0, ("b", *"stuvwxyz"), ("a",)), Fold(1, ("a",), ("b",))])
    with pytest.raises(BadInput, match=r"names cases that are not in .*: s, t, u, v, w and 3 more\. Convert again"):
        check_folds(*folders)


def test_plan_refuses_such_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, preprocessed = dataset(tmp_path, "abc", [Fold(0, ("b",), ("a",)), Fold(1, ("a",), ("b",))])
    assert main(["plan", "58", "--root", str(tmp_path)]) == 2
    assert "no fold for the training cases c" in capsys.readouterr().err
    assert [path.name for path in preprocessed.iterdir()] == ["splits_final.json"]
