from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.fileset import FileSet

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.errors import BadInput

T2 = {"RepetitionTime": 3500.0, "EchoTime": 100.0}
PRE = {"RepetitionTime": 600.0, "EchoTime": 10.0}
POST = {**PRE, "ContrastBolusAgent": "Gadovist"}
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

MAKERS = {
    "SIEMENS": {"Manufacturer": "Siemens Healthineers", "SeriesDescription": "t1_tse_sag_KM", **PRE},
    "GE": {"Manufacturer": "GE MEDICAL SYSTEMS", "SeriesDescription": "SAG T1 FLAIR +C", "InversionTime": 860.0}
    | {"RepetitionTime": 2000.0, "EchoTime": 20.0},
    "Philips": {"Manufacturer": "Philips Medical Systems", "SeriesDescription": "T1W_TSE", **POST},
}


def errors_of(discovery: Any) -> list[str]:
    return [problem.describe() for problem in discovery.problems if problem.severity is Severity.ERROR]


@pytest.mark.parametrize("maker", MAKERS)
def test_the_series_is_chosen_among_distractors(make: Any, tmp_path: Path, maker: str) -> None:
    root = tmp_path / "export"
    array = make.asymmetric()
    make.write_study(root / "a", make.Plan(array, number=2, tags=T2))
    make.write_study(root / "b" / "c", make.Plan(array, number=3, tags=PRE))
    make.write_study(root / "b", make.Plan(array, number=4, tags=POST, cosines=AXIAL))
    tags = {**MAKERS[maker], "BodyPartExamined": "CSPINE", "MagneticFieldStrength": 1.5}
    make.write_study(root, make.Plan(array, number=5, tags=tags), make.blob())
    discovery = discover_export(root)
    assert discovery.problems == ()
    (case,) = discovery.cases
    assert {path.parent.name for path in case.image} == {"SER5"}
    assert len(case.image) == 6
    assert case.reference.parent.name == "SEG5"
    details = case.details
    assert (details.maker, details.field_strength, details.region) == (maker, 1.5, Region.CERVICAL)
    assert (details.compartment, details.tumor_type) == (Compartment.INTRAMEDULLARY, "ependymoma")


def test_the_reference_may_lie_in_another_study(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    make.write_datasets(tmp_path / "images", datasets)
    for dataset in datasets:
        dataset.StudyInstanceUID = "1.2.3.99"
    make.write_segmentation(tmp_path / "later" / "seg", datasets, make.blob())
    discovery = discover_export(tmp_path)
    assert len(discovery.cases) == 1
    assert discovery.problems == ()


def test_of_two_that_qualify_the_referenced_one_is_taken(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=4, tags={**POST, "SeriesDescription": "t1 post"}))
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=6), make.blob())
    (case,) = discover_export(tmp_path).cases
    assert case.image[0].parent.name == "SER6"


@pytest.mark.parametrize("times", [("090000", "093000"), ("100000", "093000")])
def test_of_two_equal_pairs_the_later_is_taken_and_the_other_named(
    make: Any, tmp_path: Path, times: tuple[str, str]
) -> None:
    for number, time in zip((4, 6), times, strict=True):
        tags = {**POST, "AcquisitionDate": "20200101", "AcquisitionTime": time}
        make.write_study(tmp_path, make.Plan(make.asymmetric(), number=number, tags=tags), make.blob())
    discovery = discover_export(tmp_path)
    later, earlier = (6, 4) if times[1] > times[0] else (4, 6)
    assert discovery.cases[0].image[0].parent.name == f"SER{later}"
    assert discovery.proposals[0].confidence == "low"
    (note,) = discovery.problems
    assert note.severity is Severity.NOTE
    assert note.found == f"2 series fit: series {later} was taken, acquired last; series {earlier} would fit too"
    assert "--write-cases" in note.remedy


def test_two_references_of_one_series_are_ambiguous(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    make.write_datasets(tmp_path / "images", datasets)
    for reader, shift in (("a", 0), ("b", 1)):
        make.write_segmentation(tmp_path / reader, datasets, np.roll(make.blob(), shift, axis=0))
    (error,) = errors_of(discover_export(tmp_path))
    assert "2 DICOM SEG or RTSTRUCT files reference series 5" in error


def test_a_study_without_a_reference_is_named(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric()))
    (error,) = errors_of(discover_export(tmp_path))
    assert "no DICOM SEG or RTSTRUCT references series 5 (sagittal, T1, after contrast)" in error


def test_a_reference_on_another_series_is_named(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric()))
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=2, tags=T2), make.blob())
    (error,) = errors_of(discover_export(tmp_path))
    assert "but one references series 2 (sagittal, not T1 (TR 3500 ms, TE 100 ms)" in error


def test_a_study_without_the_series_says_what_it_has(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=2, tags=PRE), make.blob())
    make.write_study(tmp_path, make.Plan(make.asymmetric(), number=3, tags=POST, cosines=AXIAL))
    (error,) = errors_of(discover_export(tmp_path))
    assert "series 2 (sagittal, T1, no sign of contrast agent)" in error
    assert "series 3 (axial, T1, after contrast)" in error


def test_a_reference_of_a_series_that_is_not_there_is_named(make: Any, tmp_path: Path) -> None:
    make.write_segmentation(tmp_path / "seg", make.datasets_of(make.Plan(make.asymmetric())), make.blob())
    (error,) = errors_of(discover_export(tmp_path))
    assert "no MR image series (modality SEG)" in error


def test_patients_are_grouped_without_regard_to_case_and_spaces(make: Any, tmp_path: Path) -> None:
    for index, patient in enumerate(["ab 1", "AB 1 ", "ab 2"]):
        plan = make.Plan(make.asymmetric(), patient=patient, study=f"1.2.{index + 1}")
        make.write_study(tmp_path / str(index), plan, make.blob())
    keys = [case.patient_key for case in discover_export(tmp_path).cases]
    assert keys[0] == keys[1] != keys[2]


def test_a_study_without_a_patient_id_is_named(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path, make.Plan(make.asymmetric(), patient=" "), make.blob())
    (error,) = errors_of(discover_export(tmp_path))
    assert "no Patient ID in the headers" in error


def test_what_is_not_dicom_is_counted(export: Path) -> None:
    (export / "readme.txt").write_text("hello")
    (export / "empty").write_bytes(b"")
    (export / ".hidden").write_text("hello")
    discovery = discover_export(export)
    assert len(discovery.cases) == 5
    assert [p.describe() for p in discovery.problems] == ["source: 2 files are not DICOM and were ignored."]
    assert discovery.ignored == ("empty", "readme.txt")


def test_a_damaged_file_is_counted(export: Path) -> None:
    sound = next(path for path in sorted(export.rglob("IM*")))
    (export / "damaged").write_bytes(sound.read_bytes()[:400])
    discovery = discover_export(export)
    assert len(discovery.cases) == 5
    assert "1 DICOM files are damaged" in discovery.problems[0].describe()


def test_problems_tell_nothing_of_the_patient(make: Any, tmp_path: Path) -> None:
    make.write_study(tmp_path / "Zebulon", make.Plan(make.asymmetric(), tags={**T2, "SeriesDescription": "Zebulon"}))
    discovery = discover_export(tmp_path)
    for text in [*errors_of(discovery), repr(discovery)]:
        assert "Zebulon" not in text
        assert "ZQ-7741" not in text


def test_a_dicomdir_is_no_problem(export: Path) -> None:
    directory = FileSet()
    directory.add(next(path for path in sorted(export.rglob("IM*"))))
    directory.write(export / "media")
    for path in (export / "media").rglob("*"):
        if path.is_file() and path.name != "DICOMDIR":
            path.unlink()
    assert (export / "media" / "DICOMDIR").is_file()
    discovery = discover_export(export)
    assert len(discovery.cases) == 5
    assert discovery.problems == ()


@pytest.mark.parametrize("content", [{}, {"notes.txt": "no DICOM"}])
def test_a_folder_without_dicom_is_refused(tmp_path: Path, content: dict[str, str]) -> None:
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match="no readable DICOM series"):
        discover_export(tmp_path)
