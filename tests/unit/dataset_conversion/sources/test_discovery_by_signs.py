"""The choice of a series: its reason, its confidence, and what is never chosen."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pydicom.data
import pytest
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet

from nnunet_spine.dataset_conversion.case_list import read_case_list
from nnunet_spine.dataset_conversion.case_proposals import write_proposals
from nnunet_spine.dataset_conversion.contrast_words import contrast_by_words, weighting_by_words
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.series_choice import kind_of
from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_json

PRE = {"RepetitionTime": 600.0, "EchoTime": 10.0}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def described(text: str, **tags: Any) -> Dataset:
    dataset = Dataset()
    dataset.SeriesDescription = text
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("t1_tse_sag_KM", True),  # Siemens, German
        ("t1_tse_sag_mKM", True),
        ("T1 sag nach KM", True),
        ("t1_tse_sag o. KM", False),
        ("t1_tse_sag vor KM", False),
        ("SAG T1 FSE +C", True),  # GE
        ("Sag T1 FLAIR C+", True),
        ("Sag T1 -C", False),
        ("sT1W_TSE_SAG CE", True),  # Philips
        ("T1W_TSE_SAG GADO", True),
        ("T1 SAG +Gd", True),  # Canon
        ("SAG T1 POST", True),
        ("SAG T1 PRE", False),
        ("T1 SAG WO", False),
        ("T1 SAG apres inj", True),  # French
        ("T1 SAG GADO", True),
        ("T1 SAG sans inj", False),
        ("T1 SAG avant injection", False),
        ("T1 SAG con contraste", True),  # Spanish
        ("T1 SAG CIV", True),
        ("T1 SAG sin contraste", False),
        ("T1 SAG S/C", False),
        ("T1 sag con mdc", True),  # Italian
        ("T1 sag senza mdc", False),
        ("SAG T1 C-SPINE", None),
        ("SAG T1 POST-OP", None),
        ("SAG T1 POSTERIOR", None),
        ("C-SPINE W/WO", None),  # the name of an examination
        ("L-SPINE WITH AND WITHOUT", None),
        ("SAG T1", None),
    ],
)
def test_contrast_in_the_makers_words(text: str, after: bool | None) -> None:
    assert contrast_by_words(described(text)) is after


def test_the_protocol_speaks_where_the_description_is_silent() -> None:
    assert contrast_by_words(described("SAG T1 POST", ProtocolName="t1 sag pre")) is True
    assert contrast_by_words(described("SAG T1", ProtocolName="t1 sag nativ")) is False


@pytest.mark.parametrize(
    ("text", "t1"),
    [
        ("t1_tse_sag", True),
        ("sT1W_TSE", True),
        ("SAG T1 FLAIR", True),
        ("SAG FLAIR", False),
        ("T2 T10-L2", False),
        ("SAG T10-L2", None),
        ("SAG CISS 3D", False),
        ("STIR SAG", False),
    ],
)
def test_weighting_in_words(text: str, t1: bool | None) -> None:
    assert weighting_by_words(described(text)) is t1


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (described("", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "a localizer"),
        (described("3 Plane Loc"), "a localizer"),
        (described("Survey_SAG"), "a localizer"),
        (described("T1 SAG SUB"), "a subtraction"),
        (described("", ImageType=["DERIVED", "PRIMARY", "MIP"]), "a projection"),
        (described("", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"]), "a phase, real or imaginary image"),
        (described("", ImageType=["DERIVED", "PRIMARY", "DIXON", "FAT"]), "a fat image"),
        (described("", ImageType=["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]), "a computed map"),
    ],
)
def test_what_is_never_the_image(header: Dataset, words: str) -> None:
    assert (kind_of(header).score, kind_of(header).words) == (0, words)


@pytest.mark.parametrize("image_type", [["ORIGINAL", "PRIMARY", "M", "ND", "NORM"], ["ORIGINAL", "PRIMARY", "OTHER"]])
def test_what_is_an_image(image_type: list[str]) -> None:
    assert kind_of(described("t1_tse_sag", ImageType=image_type)).score > 0


@pytest.mark.parametrize(
    ("tags", "confidence", "signs"),
    [
        ({**PRE, "ContrastBolusAgent": "Gd", "SeriesDescription": "T1 SAG POST"}, "high", "tag and words"),
        ({**PRE, "ContrastBolusAgent": "Gd"}, "medium", "tag"),
        ({**PRE, "SeriesDescription": "T1 SAG KM"}, "medium", "words"),
        ({"SeriesDescription": "T1 SAG KM", "ContrastBolusAgent": "Gd"}, "low", "tag and words"),  # no times
        (
            {**PRE, "ContrastBolusAgent": "Gd", "SeriesDescription": "KM", "ImageType": ["DERIVED", "SECONDARY"]},
            "low",
            "tag and words",
        ),
        ({**PRE, "ContrastBolusAgent": "Gd", "SeriesDescription": "KM", "BodyPartExamined": "KNEE"}, "low", "tag and"),
    ],
)
def test_confidence_and_reason(make: Any, tmp_path: Path, tags: dict[str, Any], confidence: str, signs: str) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric(), tags=tags), make.blob())
    (found,) = discover_export(tmp_path).proposals
    assert found.confidence == confidence
    assert found.reason.startswith("series 5: sagittal, T1")
    assert f"contrast by {signs}" in found.reason


def times(clock: str) -> dict[str, Any]:
    return {**PRE, "AcquisitionDate": "20200101", "AcquisitionTime": clock}


def test_the_later_of_two_like_series_is_after_contrast(make: Any, tmp_path: Path) -> None:
    for number, clock in ((3, "091500"), (9, "084000")):  # numbers do not follow the times
        make.write_study(tmp_path, make.Plan(make.asymmetric(), number=number, tags=times(clock)), make.blob())
    discovery = discover_export(tmp_path)
    assert discovery.cases[0].image[0].parent.name == "SER3"
    assert discovery.proposals[0].confidence == "low"
    assert discovery.proposals[0].reason.endswith("contrast by timing")


def test_an_earlier_like_series_confirms_the_tag(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=3, tags=times("084000")))
    tags = {**times("091500"), "ContrastBolusAgent": "Gd"}
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=9, tags=tags), make.blob())
    (found,) = discover_export(tmp_path).proposals
    assert (found.confidence, found.reason[-14:]) == ("high", "tag and timing")


def test_a_later_series_of_another_place_is_not_after_contrast(make: Any, tmp_path: Path) -> None:
    for number, clock, z in ((3, "084000", 90.0), (9, "091500", -200.0)):
        plan = make.Plan(make.asymmetric(), number=number, tags=times(clock), origin=(-8.0, -60.0, z))
        make.write_study(tmp_path, plan, make.blob())
    assert discover_export(tmp_path).cases == ()


def test_another_body_part_is_told(make: Any, tmp_path: Path) -> None:
    tags = {**PRE, "ContrastBolusAgent": "Gd", "BodyPartExamined": "KNEE"}
    make.write_study(tmp_path, make.Plan(make.asymmetric(), tags=tags), make.blob())
    (note,) = discover_export(tmp_path).problems
    assert note.found == "series 5 is of another body part by its headers"


def scatter(folder: Path, target: Path) -> None:
    """The files of an export in many folders, in names that tell nothing, with other files between."""
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        place = target / f"d{number % 7}" / ("x" * (number % 3 + 1))
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place / f"{(number * 7919) % 9973:04d}.dat")
        (place / "Thumbs.db").write_bytes(b"\x00" * 200)
        (place / ".DS_Store").write_bytes(b"x")


def test_a_scattered_export_is_the_same(make: Any, export: Path, tmp_path: Path, check_voxels: Any) -> None:
    scatter(export, tmp_path / "scattered")
    discovery = discover_export(tmp_path / "scattered")
    assert len(discovery.cases) == 5
    plain = {case.identity.series_uid: len(case.image) for case in discover_export(export).cases}
    assert {case.identity.series_uid: len(case.image) for case in discovery.cases} == plain
    on_disk = sum(1 for path in (tmp_path / "scattered").rglob("*") if path.is_file())
    assert discovery.files["total"] == on_disk
    assert discovery.files["used"] == 5 * 7
    assert discovery.files["hidden"] == len(list((tmp_path / "scattered").rglob(".DS_Store"))) > 0
    assert discovery.files["not DICOM"] == len(list((tmp_path / "scattered").rglob("Thumbs.db"))) > 0


def test_a_medium_with_a_dicomdir_is_read(export: Path, tmp_path: Path) -> None:
    medium = FileSet()
    for path in export.rglob("IM*"):
        dataset = pydicom.dcmread(path)
        if dataset.Modality == "MR":
            medium.add(dataset)
    medium.write(tmp_path / "medium")
    discovery = discover_export(tmp_path / "medium")
    assert (discovery.files["DICOMDIR"], discovery.files["other MR series"]) == (1, 30)
    assert [one.confidence for one in discovery.proposals] == ["medium"] * 5  # no reference, yet proposed
    assert all(one.image and not one.usable for one in discovery.proposals)


def test_copies_of_a_file_are_not_doubled_slices(export: Path) -> None:
    for path in sorted(export.rglob("IM*")):
        (path.parent / "copy").mkdir(exist_ok=True)
        shutil.copy(path, path.parent / "copy" / path.name)
    discovery = discover_export(export)
    assert [len(case.image) for case in discovery.cases] == [6] * 5
    assert discovery.files["copies"] == 5 * 7
    assert "35 DICOM files are copies of others" in discovery.problems[0].found


def test_two_echoes_in_one_series_are_told_apart(make: Any, tmp_path: Path) -> None:
    tags = {**PRE, "ContrastBolusAgent": "Gd"}
    first = make.datasets_of(make.Plan(make.asymmetric(), tags=tags))
    second = make.datasets_of(make.Plan(make.asymmetric(), tags={**tags, "EchoTime": 100.0}))
    for dataset in second:
        dataset.SeriesInstanceUID = first[0].SeriesInstanceUID
    make.write_datasets(tmp_path / "s", [*first, *second])
    make.write_segmentation(tmp_path / "r" / "IM1", first, make.blob())
    discovery = discover_export(tmp_path)
    assert len(discovery.cases[0].image) == 6
    (note,) = discovery.problems
    assert "series 5 holds 2 volumes, separated by echo time; part " in note.found
    write_proposals(tmp_path / "cases.csv", discovery)
    (again,) = read_case_list(tmp_path / "cases.csv").cases
    assert sorted(again.image) == sorted(discovery.cases[0].image)


@pytest.mark.parametrize("folders", [("a", "a"), ("a", "b")])
def test_a_part_of_enhanced_objects_is_found_again_by_the_list(
    make: Any, enhanced: Any, tmp_path: Path, folders: tuple[str, str]
) -> None:
    plan = make.Plan(make.asymmetric())
    objects = [enhanced(plan, frames=[{"slice": k, "echo": echo} for k in range(6)]) for echo in (90.0, 10.0)]
    objects[1].SeriesInstanceUID = objects[0].SeriesInstanceUID
    for number, (folder, dataset) in enumerate(zip(folders, objects, strict=True)):
        (tmp_path / folder).mkdir(exist_ok=True)
        dataset.save_as(tmp_path / folder / f"{number}", enforce_file_format=True)
    discovery = discover_export(tmp_path)
    (proposal,) = discovery.proposals
    assert proposal.part == 2  # the first echo is no T1
    write_proposals(tmp_path / "cases.csv", replace(discovery, proposals=(replace(proposal, usable=True),)))
    text = (tmp_path / "cases.csv").read_text()
    sitk.WriteImage(make.itk_image(make.blob()), str(tmp_path / "r.nii.gz"))
    header, row = (line.split(",") for line in text.splitlines())
    row[header.index("reference")] = "r.nii.gz"
    (tmp_path / "cases.csv").write_text(f"{','.join(header)}\n{','.join(row)}\n")
    (again,) = read_case_list(tmp_path / "cases.csv").cases
    assert [path.name for path in again.image] == ["1"]
    assert again.frames == ((1, 2, 3, 4, 5, 6),)


def pydicoms_files(folder: Path) -> int:
    """Pydicom's own test files, whole; returns how many."""
    root = Path(pydicom.data.__file__).parent
    shutil.copytree(root, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    return sum(1 for path in folder.rglob("*") if not path.is_dir())


def test_pydicoms_own_files_are_all_accounted_for(export: Path, tmp_path: Path) -> None:
    count = pydicoms_files(export / "pydicom")
    conversion = convert(export, dataset=58, name="S", raw=tmp_path / "raw", preprocessed=tmp_path / "pre")
    files = read_json(conversion.folder / "conversion_report.json")["files"]
    own = sum(1 for path in export.rglob("*") if not path.is_dir()) - count
    assert files["used"] == own == 35
    assert files["total"] == sum(n for kind, n in files.items() if kind != "total") == count + own
    assert files["other modality"] > 80  # CT, RT, US, ECG and others
    assert files["other MR series"] + files["copies"] >= 20
    assert min(files["unreadable"], files["not DICOM"], files["DICOMDIR"]) > 0
    assert len(conversion.cases) == 5


def test_a_grown_data_set_keeps_why_its_images_were_taken(make: Any, tmp_path: Path) -> None:
    """The reasons stay with their cases, the account of files is that of the last source."""
    source, folders = tmp_path / "source", {"raw": tmp_path / "raw", "preprocessed": tmp_path / "pre"}
    for number in range(3):
        plan = make.Plan(make.asymmetric(seed=number), patient=f"Q{number}", study=f"1.2.{number + 1}")
        make.write_study(source / str(number), plan, make.blob())
    (source / "2").rename(tmp_path / "later")
    report = convert(source, dataset=58, name="S", folds=2, **folders).folder / "conversion_report.json"
    first = {one["case"]: (one["confidence"], one["reason"]) for one in read_json(report)["case_list"]}
    assert len(first) == 2
    assert all(sure and reason.startswith("series 5: sagittal, T1, contrast by ") for sure, reason in first.values())
    assert read_json(report)["files"]["used"] == 14  # of six slices and a reference each
    (tmp_path / "later").rename(source / "2")
    (source / "0").rename(tmp_path / "gone")
    convert(source, dataset=58, name="S", folds=2, **folders)
    second = {one["case"]: (one["confidence"], one["reason"]) for one in read_json(report)["case_list"]}
    assert first.items() < second.items()
    assert len(second) == 3
    assert all(reason for _, reason in second.values())
    assert read_json(report)["files"]["used"] == 14


def test_pydicoms_own_files_alone_are_refused_in_one_paragraph(tmp_path: Path) -> None:
    count = pydicoms_files(tmp_path / "pydicom")
    discovery = discover_export(tmp_path / "pydicom")
    assert discovery.cases == ()
    assert discovery.files["total"] == count
    assert all(problem.severity in Severity for problem in discovery.problems)
    with pytest.raises(BadInput, match=rf"No case of the source can be used.* Looked at {count} files: "):
        convert(tmp_path / "pydicom", dataset=58, name="S", raw=tmp_path / "raw", preprocessed=tmp_path / "pre")
    assert not (tmp_path / "raw").exists()
