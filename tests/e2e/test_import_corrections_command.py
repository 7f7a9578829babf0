"""The command `nnunet-spine import-corrections`, as a user types it: predict, correct, train again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import read_splits
from nnunet_spine.cli.main import main
from nnunet_spine.images import read_volume

NAME = "Dataset058_IntraduralSpineTumor"
SHAPE = (5, 12, 9)


def image_of(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.7, 3.5))
    image.SetOrigin((-20.0, 11.0, 40.0))
    return image


def write_image(path: Path, number: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image_of(np.random.default_rng(number).normal(100, 20, SHAPE).astype(np.float32)), str(path))
    return path


def mask_like(image: Path, voxels: int = 7, orientation: str = "") -> sitk.Image:
    """A mask of the first voxels of the image, stored in any orientation."""
    stored = sitk.ReadImage(str(image))
    array = np.zeros(sitk.GetArrayFromImage(stored).shape, np.uint8)
    array.flat[:voxels] = 1
    mask = sitk.GetImageFromArray(array)
    mask.CopyInformation(stored)
    return sitk.DICOMOrient(mask, orientation) if orientation else mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A converted data set of six cases, the last of them held out."""
    folder = tmp_path / "source"
    rows = ["patient,image,reference,compartment,tumor_type,split"]
    for number in range(6):
        write_image(folder / f"i{number}.nii.gz", number)
        mask = np.zeros(SHAPE, np.uint8)
        mask[2, 3:6, 4] = 1
        sitk.WriteImage(image_of(mask), str(folder / f"m{number}.nii.gz"))
        rows.append(f"Quirke{number},i{number}.nii.gz,m{number}.nii.gz,,,{'test' if number == 5 else ''}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    assert main(["convert", str(folder / "cases.csv"), "--root", str(tmp_path / "out")]) == 0
    (tmp_path / "masks").mkdir()
    return tmp_path / "out"


def raw(root: Path) -> Path:
    return root / "nnUNet_raw" / NAME


def command(root: Path, *more: str) -> list[str]:
    return ["import-corrections", str(root.parent / "masks"), "--root", str(root), *more]


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def folds_of(root: Path) -> dict[str, int]:
    path = root / "nnUNet_preprocessed" / NAME / "splits_final.json"
    return {case: fold.number for fold in read_splits(path) for case in fold.test}


def training_case(root: Path) -> tuple[str, Path]:
    image = sorted((raw(root) / "imagesTr").iterdir())[0]
    return image.name.removesuffix("_0000.nii.gz"), image


@pytest.mark.parametrize("name", ["{}.nii.gz", "{}.nrrd", "{}.seg.nrrd", "{}.mha"])
def test_a_mask_of_a_known_case_replaces_its_reference(
    root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case, image = training_case(root)
    label = raw(root) / "labelsTr" / f"{case}.nii.gz"
    before, folds, kept = label.read_bytes(), folds_of(root), image.read_bytes()
    sitk.WriteImage(mask_like(image, orientation="RAS"), str(root.parent / "masks" / name.format(case)))
    assert main(command(root)) == 0
    assert "6 cases of 6 patients (1 references replaced)" in capsys.readouterr().out
    assert read_volume(label).array.ravel()[:8].tolist() == [1] * 7 + [0]
    assert read_volume(label).geometry.same_grid(read_volume(image).geometry)
    assert (raw(root) / "labelsTr_history" / case / "1.nii.gz").read_bytes() == before
    assert (image.read_bytes(), folds_of(root)) == (kept, folds)
    (change,) = json.loads((raw(root) / "manifest.json").read_text())["changes"]
    assert (change["command"], change["replaced_references"][0]["case"]) == ("import-corrections", case)
    after = files_of(root)
    assert main(command(root)) == 0
    assert "already converted" in capsys.readouterr().out
    assert files_of(root) == after
    # The source's own reference was corrected: it does not come back.
    assert main(["convert", str(root.parent / "source" / "cases.csv"), "--root", str(root)]) == 0
    assert files_of(root) == after


def test_a_held_out_case_stays_held_out(root: Path) -> None:
    (image,) = (raw(root) / "imagesTs").iterdir()
    case = image.name.removesuffix("_0000.nii.gz")
    sitk.WriteImage(mask_like(image), str(root.parent / "masks" / f"{case}.nii.gz"))
    assert main(command(root)) == 0
    assert read_volume(raw(root) / "labelsTs" / f"{case}.nii.gz").array.sum() == 7
    assert (raw(root) / "labelsTs_history" / case / "1.nii.gz").is_file()
    assert case not in folds_of(root)


def test_a_predicted_image_becomes_a_training_case(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folds = folds_of(root)
    for number, name in enumerate(["Zebulon_A", "Zebulon_B"], start=50):
        image = write_image(root.parent / "new" / f"{name}_0000.nii.gz", number)
        sitk.WriteImage(mask_like(image), str(root.parent / "masks" / f"{name}.nii.gz"))
    (root.parent / "masks" / "dataset.json").write_text("{}")  # nnU-Net's predictor leaves such files
    assert main(command(root, "--images", str(root.parent / "new"))) == 0
    printed = "".join(capsys.readouterr())
    assert "8 cases of 8 patients (2 added)" in printed
    assert "2 masks are of images whose patient nobody told" in printed
    assert "Zebulon" not in printed
    assert folds.items() < folds_of(root).items()
    assert not [name for name in files_of(raw(root)) if "Zebulon" in name]
    with (root / "private" / f"{NAME}_mapping.csv").open() as stream:
        names = {row["image"]: row["case"] for row in csv.DictReader(stream)}
    case = names["Zebulon_B_0000.nii.gz"]
    assert case in {"spine_007", "spine_008"}
    source = sitk.ReadImage(str(root.parent / "new" / "Zebulon_B_0000.nii.gz"))
    stored = sitk.DICOMOrient(sitk.ReadImage(str(raw(root) / "imagesTr" / f"{case}_0000.nii.gz")), "LPS")
    assert np.array_equal(sitk.GetArrayFromImage(source), sitk.GetArrayFromImage(stored))
    after = files_of(root)
    assert main(command(root, "--images", str(root.parent / "new"))) == 0
    assert files_of(root) == after


def test_images_in_the_data_set_are_found_and_patients_listed(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = write_image(raw(root) / "imagesTs" / "new_0000.nii.gz", 60)
    sitk.WriteImage(mask_like(image), str(root.parent / "masks" / "new.nrrd"))
    listed = root.parent / "new.csv"
    listed.write_text("case,patient,compartment\nnew,quirke2,extramedullary\n")
    assert main(command(root, "--cases", str(listed))) == 0
    assert "7 cases of 6 patients (1 added)" in capsys.readouterr().out
    cases = list(csv.DictReader((raw(root) / "cases.csv").open()))
    (new,) = [case for case in cases if case["case"] == "spine_007"]
    (other,) = [case for case in cases if case["patient"] == new["patient"] and case is not new]
    assert new["compartment"] == "extramedullary"
    assert folds_of(root)["spine_007"] == folds_of(root)[other["case"]]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda mask: mask.SetOrigin((0, 0, 0)), "a mask of the image's size on another grid"),
        (lambda mask: mask.SetSpacing((1, 1, 1)), "a mask of the image's size on another grid"),
        (lambda mask: mask.SetPixel(0, 0, 0, 0) or [mask.SetPixel(i, 0, 0, 0) for i in range(7)], "empty"),
    ],
)
def test_a_mask_in_another_place_is_left_out(
    root: Path, spoil: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case, image = training_case(root)
    mask = mask_like(image)
    spoil(mask)  # type: ignore[operator]
    sitk.WriteImage(mask, str(root.parent / "masks" / f"{case}.nii.gz"))
    before = files_of(root)
    assert main(command(root)) == 1
    assert f"error: {case}: " in (printed := capsys.readouterr().out)
    assert message in printed
    assert main(command(root, "--allow-partial")) == 0
    assert files_of(root) == before


def test_a_mask_on_a_part_of_the_grid_is_placed_by_physical_space(root: Path) -> None:
    case, image = training_case(root)
    mask = mask_like(image, 60)
    part = mask[1:, 2:, :3]  # as 3D Slicer exports a segment's own extent
    sitk.WriteImage(part, str(root.parent / "masks" / f"{case}.nrrd"))
    assert main(command(root)) == 0
    expected = sitk.GetArrayFromImage(mask)
    expected[:, :2, :] = expected[:, :, :1] = expected[3:] = 0
    assert np.array_equal(read_volume(raw(root) / "labelsTr" / f"{case}.nii.gz").array, expected)


def test_a_mask_that_reaches_off_the_image_is_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, image = training_case(root)
    mask = mask_like(image)[:, :, :2]
    mask.SetOrigin([value - 500 for value in mask.GetOrigin()])
    sitk.WriteImage(mask, str(root.parent / "masks" / f"{case}.nrrd"))
    assert main(command(root)) == 1
    assert "7 of 7 voxels of the mask lie off the image" in capsys.readouterr().out


def test_names_that_fit_nothing_or_twice_are_left_out(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case, image = training_case(root)
    for name in (f"{case}.nii.gz", f"{case}.nrrd", "Zebulon.nii.gz"):
        sitk.WriteImage(mask_like(image), str(root.parent / "masks" / name))
    (root.parent / "masks" / "broken.nii.gz").write_text("text")
    assert main(command(root)) == 1
    printed = "".join(capsys.readouterr())
    assert "2 masks of this name" in printed
    assert "mask 2 by name: no case of the data set and no image has its name" in printed
    assert "mask 1 by name" in printed
    assert "Zebulon" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{root}/absent", "--root", "{root}"], "There is no folder"),
        (["{root}/empty", "--root", "{root}"], "holds no mask"),
        (["{root}/empty", "--root", "{root}", "--dataset", "7"], "no data set number 7"),
        (["{root}/empty", "--root", "{root}", "--images", "{root}/absent"], "There is no folder"),
        (["{root}/empty", "--root", "{root}", "--mapping", "{root}/absent.csv"], "no private mapping"),
    ],
)
def test_bad_usage_is_exit_2(
    root: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "empty").mkdir()
    before = files_of(root)
    assert main(["import-corrections", *(argument.format(root=root) for argument in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert files_of(root) == before


def test_what_the_source_left_out_stays_told_by_the_source(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = root.parent / "source" / "cases.csv"
    image = write_image(source.with_name("i6.nii.gz"), 6)
    sitk.WriteImage(mask_like(image, 0), str(source.with_name("m6.nii.gz")))
    write_image(source.with_name("i7.nii.gz"), 7)
    sitk.WriteImage(mask_like(image), str(source.with_name("m7.nii.gz")))
    source.write_text(source.read_text() + "Quirke6,i6.nii.gz,m6.nii.gz,,,\nQuirke7,i7.nii.gz,m7.nii.gz,,,\n")
    assert main(["convert", str(source), "--root", str(root)]) == 1
    case, stored = training_case(root)
    sitk.WriteImage(mask_like(stored), str(root.parent / "masks" / f"{case}.nii.gz"))
    assert main(command(root)) == 0
    capsys.readouterr()
    assert main(["convert", str(source), "--root", str(root)]) == 1
    assert "error: row 8: the reference is empty" in capsys.readouterr().out


def test_a_data_set_of_a_chosen_segment_takes_a_corrected_mask_of_zeros_and_ones(tmp_path: Path) -> None:
    """What was tumor in the hospital's masks says nothing of a mask that a person corrected from a prediction."""
    folder = tmp_path / "source"
    rows = ["patient,image,reference,compartment,tumor_type,split"]
    for number in range(4):
        write_image(folder / f"i{number}.nii.gz", number)
        mask = np.zeros(SHAPE, np.uint8)
        mask[2, 3:6, 4] = 2
        mask[2, 3:6, 6] = 1
        sitk.WriteImage(image_of(mask), str(folder / f"m{number}.nii.gz"))
        rows.append(f"Quirke{number},i{number}.nii.gz,m{number}.nii.gz,,,")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    out = ["--root", str(tmp_path / "out")]
    assert main(["convert", str(folder / "cases.csv"), *out, "--segment", "2"]) == 0
    data = tmp_path / "out" / "nnUNet_raw" / NAME
    (tmp_path / "masks").mkdir()
    sitk.WriteImage(
        mask_like(data / "imagesTr" / "spine_001_0000.nii.gz"), str(tmp_path / "masks" / "spine_001.nii.gz")
    )
    assert main(["import-corrections", str(tmp_path / "masks"), *out]) == 0
    assert read_volume(data / "labelsTr" / "spine_001.nii.gz").array.sum() == 7
    assert main(["convert", str(folder / "cases.csv"), *out, "--segment", "2"]) == 0  # and it can grow as before
