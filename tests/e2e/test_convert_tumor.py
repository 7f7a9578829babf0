"""What says that a mask is the tumor, as a user meets it: in reports, as errors, and through the options."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.images import read_volume

NAME = "Dataset058_IntraduralSpineTumor"
SHAPE = (5, 12, 9)
TUMOR = (slice(1, 3), slice(3, 6), slice(2, 5))  # 18 voxels
CORD = (slice(0, 4), slice(0, 12), slice(6, 8))  # 96 voxels
NAMES = {"Zebulon tumor": TUMOR, "Spinal cord Zebulon": CORD}


def image_of(array: np.ndarray) -> sitk.Image:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.7, 0.7, 3.5))
    image.SetOrigin((-20.0, 11.0, 40.0))
    return image


def labels(values: dict[str, int], names: tuple[str, ...] | None = None) -> sitk.Image:
    """A label map with the values of the two structures, and with their names where given."""
    array = np.zeros(SHAPE, np.uint8)
    for name, place in NAMES.items():
        array[place] = values.get(name, 0)
    image = image_of(array)
    for number, value in enumerate(values.values()):
        for key, text in (("Name", names[number] if names else None), ("LabelValue", str(value)), ("Layer", "0")):
            if text is not None and names:
                image.SetMetaData(f"Segment{number}_{key}", text)
    return image


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four patients; the values of tumor and cord change places."""
    folder = tmp_path / "source"
    folder.mkdir()
    rows = ["patient,image,reference"]
    for number in range(4):
        values = {"Zebulon tumor": 1 + number % 2, "Spinal cord Zebulon": 2 - number % 2}
        noise = np.random.default_rng(number).normal(100, 20, SHAPE).astype(np.float32)
        sitk.WriteImage(image_of(noise), str(folder / f"i{number}.nii.gz"))
        sitk.WriteImage(labels(values, tuple(values)), str(folder / f"named{number}.seg.nrrd"))
        sitk.WriteImage(labels(values), str(folder / f"plain{number}.nii.gz"))
        rows.append(f"Quirke{number},i{number}.nii.gz,named{number}.seg.nrrd")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    (folder / "plain.csv").write_text("\n".join(rows).replace("named", "plain").replace(".seg.nrrd", ".nii.gz") + "\n")
    return folder


def raw(root: Path) -> Path:
    return root / "nnUNet_raw" / NAME


def voxels(root: Path) -> list[int]:
    return [int(read_volume(path).array.sum()) for path in sorted((raw(root) / "labelsTr").iterdir())]


def convert(source: Path, root: Path, *options: str) -> int:
    return main(["convert", str(source), "--root", str(root), "--folds", "2", *options])


def test_reports_tell_what_says_tumor_and_no_word_of_the_source(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "out"
    assert convert(source / "cases.csv", root, "--dry-run") == 0
    looked = " ".join(capsys.readouterr().out.split())
    assert looked.count("listed; tumor: 1 of 2 segments (number") == 4
    assert "by its label" in looked
    assert convert(source / "cases.csv", root) == 0
    assert voxels(root) == [18] * 4
    report = (raw(root) / "conversion_report.json").read_text()
    reasons = sorted(case["reason"] for case in json.loads(report)["case_list"])
    told = [f"listed; tumor: 1 of 2 segments (number {number}), by its label" for number in (1, 1, 2, 2)]
    assert reasons == told
    page = (raw(root) / "conversion_report.html").read_text()
    assert page.count("tumor: 1 of 2 segments (number 2), by its label") == 2
    everything = looked + report + page + "".join(capsys.readouterr())
    assert "Zebulon" not in everything
    assert "Quirke" not in everything


@pytest.mark.parametrize(
    ("cases", "options", "message"),
    [
        ("plain.csv", [], "row 2: a label map with the values 1, 2 and no names"),
        ("plain.csv", ["--tumor-label", "Tumor"], "row 2: a mask whose values have no names"),
        ("plain.csv", ["--segment", "7"], "row 2: a reference with the values 1, 2; expected one of 7"),
        ("cases.csv", ["--segment", "2"], "row 2: --segment 2, which the segmentation of 3D Slicer names as another"),
        ("cases.csv", ["--tumor-label", "GTV"], "none of which has a number or label that was asked for"),
    ],
)
def test_options_that_cannot_be_met_are_errors(
    source: Path, tmp_path: Path, cases: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = 2 if options == ["--segment", "2"] and cases == "cases.csv" else 0  # whose tumor has the value 2
    assert convert(source / cases, tmp_path / "out", *options) == (1 if kept else 2)
    printed = "".join(capsys.readouterr())
    assert message in printed
    assert "Zebulon" not in printed
    assert len(list((tmp_path / "out").rglob("labelsTr/*"))) == kept


def test_a_label_may_name_anything(source: Path, tmp_path: Path) -> None:
    assert convert(source / "cases.csv", tmp_path / "out", "--tumor-label", "spinal cord") == 0
    assert voxels(tmp_path / "out") == [96] * 4


def test_a_segment_that_nothing_names_is_asked_for_in_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, root, found = tmp_path / "export", tmp_path / "out", tmp_path / "found.csv"
    assert main(["phantoms", "--output", str(export), "--cases", "3"]) == 0
    for number, path in enumerate(sorted(export.rglob("SER0900/*"))):
        dataset = pydicom.dcmread(path)
        segment = dataset.SegmentSequence[0]
        segment.SegmentLabel, segment.SegmentDescription = ("Segment_1", "Spinal cord", "tumor")[number], ""
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"
        segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Tissue"
        dataset.save_as(path)
    capsys.readouterr()
    assert convert(export, root, "--write-cases", str(found)) == 1
    with found.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["use"], row["reason"]) for row in rows[:2]] == [
        ("no", "a DICOM SEG of 1 segment, which nothing names as a tumor"),
        ("no", "a DICOM SEG of 1 segment, which is named as another structure"),
    ]
    assert rows[2]["use"] == "yes"
    assert rows[2]["reason"].endswith("; tumor: its only segment, by its label")
    capsys.readouterr()
    assert convert(export, root, "--segment", "1") == 1
    assert len(voxels(root)) == 2
    assert "study 2: --segment 1, which the DICOM SEG names as another structure" in capsys.readouterr().out


@pytest.fixture
def root(source: Path, tmp_path: Path) -> Path:
    """A data set of these patients, and a folder for corrected masks."""
    assert convert(source / "cases.csv", tmp_path / "out") == 0
    (tmp_path / "masks").mkdir()
    return tmp_path / "out"


def correct(root: Path, *options: str) -> int:
    return main(["import-corrections", str(root.parent / "masks"), "--root", str(root), *options])


def first_case(root: Path) -> tuple[str, Path]:
    label = sorted((raw(root) / "labelsTr").iterdir())[0]
    return label.name.removesuffix(".nii.gz"), label


def test_a_corrected_segmentation_is_taken_by_its_names(root: Path) -> None:
    case, label = first_case(root)
    values = {"Zebulon tumor": 2, "Spinal cord Zebulon": 1}
    mask = labels(values, ("Lesion", "Myelon"))
    array = sitk.GetArrayFromImage(mask)
    array[1, 3, 2] = 0  # 17 voxels
    corrected = image_of(array)
    for key in mask.GetMetaDataKeys():
        corrected.SetMetaData(key, mask.GetMetaData(key))
    sitk.WriteImage(corrected, str(root.parent / "masks" / f"{case}.seg.nrrd"))
    assert correct(root) == 0
    assert int(read_volume(label).array.sum()) == 17
    report = json.loads((raw(root) / "conversion_report.json").read_text())
    assert report["case_list"][0]["reason"] == "listed; tumor: 1 of 2 segments (number 2), by its label"


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (None, [], "a label map with the values 1, 2 and no names"),
        (("Segment_1", "Segment_2"), [], "2 segments, none of which is named as a tumor"),
        (("Tumor", "Cord"), ["--segment", "2"], "--segment 2, which the segmentation of 3D Slicer names as another"),
        (None, ["--tumor-label", "tumor"], "a mask whose values have no names"),
    ],
)
def test_a_correction_that_nothing_tells_is_asked_for(
    root: Path, names: tuple[str, ...] | None, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    case, label = first_case(root)
    before = label.read_bytes()
    mask = labels({"Zebulon tumor": 1, "Spinal cord Zebulon": 2}, names)
    sitk.WriteImage(mask, str(root.parent / "masks" / f"{case}{'.seg.nrrd' if names else '.nii.gz'}"))
    assert correct(root, *options) == 1
    assert message in " ".join(capsys.readouterr().out.split())
    assert label.read_bytes() == before
    assert correct(root, "--segment", "1") == 0
    assert int(read_volume(label).array.sum()) == 18


def test_new_cases_are_listed_with_semicolons(root: Path) -> None:
    noise = np.random.default_rng(77).normal(100, 20, SHAPE).astype(np.float32)
    (root.parent / "images").mkdir()
    sitk.WriteImage(image_of(noise), str(root.parent / "images" / "new.nii.gz"))
    sitk.WriteImage(labels({"Zebulon tumor": 1}), str(root.parent / "masks" / "new.nii.gz"))
    (root.parent / "new.csv").write_text("case;patient;field_strength\nnew;Quirke0;1,5\n")
    options = ["--images", str(root.parent / "images"), "--cases", str(root.parent / "new.csv")]
    assert correct(root, *options) == 0
    report = json.loads((raw(root) / "conversion_report.json").read_text())
    assert (report["cases"], report["patients"]) == (5, 4)
    added = report["case_list"][-1]
    assert (added["field_strength"], added["reason"]) == (
        1.5,
        "corrected mask; tumor: all of the mask, by the mask's name",
    )
