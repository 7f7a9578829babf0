"""A data set that is converted again with more, other or fewer cases."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Compartment, read_cases, read_splits
from nnunet_spine.dataset_conversion.conversion import Conversion
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.errors import NotFound, NotWritable
from nnunet_spine.images import read_volume

NAME = "Dataset058_Spine"


def write_pair(folder: Path, number: int, voxels: int = 3) -> None:
    values = np.random.default_rng(number).normal(100, 20, (4, 9, 7)).astype(np.float32)
    mask = np.zeros(values.shape, np.uint8)
    mask[2, 2, 1 : 1 + voxels] = 1
    for what, array in (("i", values), ("m", mask)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.7, 0.7, 3.5))
        sitk.WriteImage(image, str(folder / f"{what}{number}.nii.gz"))


def row_of(number: int, patient: str = "") -> str:
    kind = ("intramedullary", "extramedullary")[number % 2]
    return f"{patient or f'Quirke{number}'},i{number}.nii.gz,m{number}.nii.gz,{kind},,"


def write_list(folder: Path, rows: Iterable[str]) -> Path:
    path = folder / "cases.csv"
    path.write_text("\n".join(["patient,image,reference,compartment,tumor_type,split", *rows]) + "\n")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for number in range(10):
        write_pair(folder, number, 1 + number % 4)
    return folder


def run(source: Path, root: Path, **options: Any) -> Conversion:
    folders = {name: root / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
    return convert(source, **{"dataset": 58, "name": "Spine", **folders, **options})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def volumes_in(folder: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*.nii.gz"))
    }


def fold_numbers(conversion: Conversion) -> dict[str, int]:
    return {case: fold.number for fold in read_splits(conversion.splits) for case in fold.test}


def mapped(conversion: Conversion) -> dict[str, str]:
    """Case by the source's image."""
    lines = [line.split(",") for line in conversion.mapping.read_text().splitlines()[1:]]
    return {line[6]: line[0] for line in lines}


def test_58_then_20_then_5_corrected(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(78):
        write_pair(source, number, 1 + number % 4)
    first = run(write_list(source, map(row_of, range(58))), tmp_path / "out")
    before, folds, names = volumes_in(first.folder), fold_numbers(first), mapped(first)
    assert len(before) == 116

    second = run(write_list(source, map(row_of, range(78))), tmp_path / "out")
    after = volumes_in(second.folder)
    assert len(after) == 156
    assert before.items() <= after.items()
    assert folds.items() <= fold_numbers(second).items()
    assert names.items() <= mapped(second).items()
    assert [len(fold.test) for fold in read_splits(second.splits)] == [20, 20, 20, 18]
    assert (len(second.cases), len(second.added), second.corrected) == (78, 20, ())
    assert sorted(second.added) == [f"spine_{n:03d}" for n in range(59, 79)]
    assert {case.case: case for case in first.cases}.items() <= {case.case: case for case in second.cases}.items()

    for number in range(5):
        write_pair(source, number, 5)
    third = run(source / "cases.csv", tmp_path / "out")
    corrected = {mapped(third)[f"i{number}.nii.gz"] for number in range(5)}
    assert set(third.corrected) == corrected
    last = volumes_in(third.folder)
    for name, content in after.items():
        case = name.split("/")[1].removesuffix(".nii.gz")
        if case in corrected:  # the label; images have a channel in their name
            assert last[f"labelsTr_history/{case}/1.nii.gz"] == content
            assert read_volume(third.folder / name).array.sum() == 5
        else:
            assert last[name] == content
    assert len(last) == 161
    assert fold_numbers(third) == fold_numbers(second)
    changes = json.loads((third.folder / "manifest.json").read_text())["changes"]
    assert [len(change["added"]) for change in changes] == [20, 0]
    assert {entry["case"] for entry in changes[1]["replaced_references"]} == corrected
    report = json.loads((third.folder / "conversion_report.json").read_text())
    volume = report["training_volumes_ml"][min(corrected)]
    assert volume == pytest.approx(5 * 0.7 * 0.7 * 3.5 / 1000)


def test_the_grown_source_again_is_left_alone_and_so_is_the_first(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    run(path, tmp_path / "out")
    run(write_list(source, map(row_of, range(8))), tmp_path / "out")
    before = files_of(tmp_path / "out")
    assert run(path, tmp_path / "out").already_converted
    again = run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    assert (again.already_converted, len(again.absent), len(again.cases)) == (True, 2, 8)
    assert "2 known cases are not in this source; they were kept" in [p.found for p in again.problems]
    assert files_of(tmp_path / "out") == before


def test_only_the_new_ones_may_be_given(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    grown = run(write_list(source, map(row_of, range(6, 8))), tmp_path / "out")
    assert (len(grown.cases), len(grown.added), len(grown.absent)) == (8, 2, 6)
    assert set(mapped(grown)) == {f"i{n}.nii.gz" for n in range(8)}


def test_a_new_case_of_a_known_patient_is_the_patients(source: Path, tmp_path: Path) -> None:
    first = run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    rows = [*map(row_of, range(6)), row_of(6, "00quirke3"), row_of(7, "Quirke7")]
    grown = run(write_list(source, rows), tmp_path / "out")
    patient = {case.case: case.patient for case in grown.cases}
    names, folds = mapped(grown), fold_numbers(grown)
    assert patient[names["i6.nii.gz"]] == patient[names["i3.nii.gz"]]
    assert folds[names["i6.nii.gz"]] == folds[names["i3.nii.gz"]]
    assert patient[names["i7.nii.gz"]] == "P007"
    (told,) = [p for p in grown.problems if "spellings" in p.found]
    assert told.where == ", ".join(sorted([names["i3.nii.gz"], names["i6.nii.gz"]]))
    assert fold_numbers(first).items() <= folds.items()


def test_a_changed_image_of_a_known_case_is_refused_and_the_rest_goes_on(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    first = run(path, tmp_path / "out")
    before, name = volumes_in(first.folder), mapped(first)["i2.nii.gz"]
    write_pair(source, 99)
    shutil.move(source / "i99.nii.gz", source / "i2.nii.gz")
    grown = run(write_list(source, map(row_of, range(7))), tmp_path / "out")
    (error,) = [p for p in grown.problems if p.severity is Severity.ERROR]
    assert error.where == "row 4"
    assert f"another image in the place of the known case {name}" in error.found
    assert "data set of another number" in error.remedy
    assert before.items() <= volumes_in(grown.folder).items()
    assert len(grown.cases) == 7


def test_a_known_image_under_another_patient_is_refused(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    before = files_of(tmp_path / "out")
    again = run(write_list(source, [*map(row_of, range(5)), row_of(5, "Somebody")]), tmp_path / "out")
    (error,) = [p for p in again.problems if p.severity is Severity.ERROR]
    assert "under another patient" in error.found
    assert "Somebody" not in str(again.problems)
    assert files_of(tmp_path / "out") == before


def test_an_older_reference_does_not_come_back(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    first = run(path, tmp_path / "out")
    name = mapped(first)["i2.nii.gz"]
    original = (source / "m2.nii.gz").read_bytes()
    write_pair(source, 2, 6)
    assert run(path, tmp_path / "out").corrected == (name,)
    before = files_of(tmp_path / "out")
    (source / "m2.nii.gz").write_bytes(original)
    assert run(path, tmp_path / "out").corrected == ()
    assert files_of(tmp_path / "out") == before
    write_pair(source, 2, 5)
    assert run(path, tmp_path / "out").corrected == (name,)
    assert sorted(p.name for p in (first.folder / "labelsTr_history" / name).iterdir()) == ["1.nii.gz", "2.nii.gz"]


def test_the_same_voxels_in_another_file_are_no_correction(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    run(path, tmp_path / "out")
    before = files_of(tmp_path / "out")
    sitk.WriteImage(sitk.Cast(sitk.ReadImage(str(source / "m2.nii.gz")), sitk.sitkFloat64), str(source / "m2.nii.gz"))
    assert run(path, tmp_path / "out").already_converted
    assert files_of(tmp_path / "out") == before


def test_an_empty_correction_is_refused(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    run(path, tmp_path / "out")
    before = files_of(tmp_path / "out")
    write_pair(source, 2, 0)
    assert run(path, tmp_path / "out").left_out == 1
    assert files_of(tmp_path / "out") == before


def test_what_the_source_now_tells_is_taken(source: Path, tmp_path: Path) -> None:
    path = write_list(source, map(row_of, range(6)))
    first = run(path, tmp_path / "out")
    path.write_text(path.read_text().replace("m2.nii.gz,intramedullary,", "m2.nii.gz,extramedullary,meningioma"))
    again = run(path, tmp_path / "out")
    changed = {case.case: case for case in read_cases(again.folder / "cases.csv")}[mapped(first)["i2.nii.gz"]]
    assert (changed.compartment, changed.tumor_type) == (Compartment.EXTRAMEDULLARY, "meningioma")
    assert volumes_in(again.folder) == volumes_in(first.folder)
    assert fold_numbers(again) == fold_numbers(first)


def test_train_and_test_of_a_patient_do_not_mix(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    rows = [*map(row_of, range(6)), row_of(6, "Quirke3").removesuffix(",") + ",test"]
    (tmp_path / "more").mkdir()
    write_pair(tmp_path / "more", 6)
    grown = run(write_list(tmp_path / "more", rows[6:]), tmp_path / "out")
    assert "a test case of a patient whose known case" in grown.problems[-1].found
    assert len(grown.cases) == 6


def test_without_its_mapping_a_data_set_does_not_grow(source: Path, tmp_path: Path) -> None:
    first = run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    first.mapping.unlink()
    with pytest.raises(NotFound, match="no private mapping"):
        run(write_list(source, map(row_of, range(7))), tmp_path / "out")


def test_other_options_are_refused(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    with pytest.raises(NotWritable, match="other options"):
        run(write_list(source, map(row_of, range(7))), tmp_path / "out", folds=3)


def test_a_mapping_elsewhere_is_named_again(source: Path, tmp_path: Path) -> None:
    place = tmp_path / "safe" / "m.csv"
    run(write_list(source, map(row_of, range(6))), tmp_path / "out", mapping=place)
    grown = run(write_list(source, map(row_of, range(7))), tmp_path / "out", mapping=place)
    assert len(grown.cases) == 7
    assert place.stat().st_mode & 0o777 == 0o600


def test_what_is_outdated_is_named(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    preprocessed = tmp_path / "out" / "nnUNet_preprocessed" / NAME
    (preprocessed / "nnUNetSpinePlans_3d_fullres").mkdir()
    (preprocessed / "nnUNetSpinePlans.json").write_text("{}")
    (tmp_path / "out" / "nnUNet_results" / NAME / "T__P__3d_fullres" / "fold_0").mkdir(parents=True)
    grown = run(write_list(source, map(row_of, range(7))), tmp_path / "out")
    plans, cases, model = grown.outdated
    assert "nnUNetSpinePlans" in plans
    assert "nnunet-spine plan 58" in plans
    assert "nnunet-spine preprocess 58" in cases
    assert "T__P__3d_fullres (fold_0)" in model


def test_a_failure_keeps_the_old_data_set(source: Path, tmp_path: Path) -> None:
    run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    before = files_of(tmp_path / "out")

    def fail(done: int, total: int, what: str = "") -> None:
        if total == 3 and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(write_list(source, map(row_of, range(9))), tmp_path / "out", progress=fail)
    assert files_of(tmp_path / "out") == before


def test_a_data_set_of_an_older_version_grows(source: Path, tmp_path: Path) -> None:
    first = run(write_list(source, map(row_of, range(6))), tmp_path / "out")
    path = first.folder / "conversion_report.json"
    report = json.loads(path.read_text())
    for key in ("folds", "case_list", "changes", "warnings", "notes"):
        del report[key]
    path.write_text(json.dumps(report))
    grown = run(write_list(source, map(row_of, range(7))), tmp_path / "out")
    assert fold_numbers(first).items() <= fold_numbers(grown).items()
