"""Which series a reference was drawn on, from exports really written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from nnunet_spine.dataset_conversion.case_conversion import Job, convert_case
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.images import read_volume

T2 = {"RepetitionTime": 3500.0, "EchoTime": 100.0}


def write_two_series(make: Any, folder: Path) -> tuple[Any, list[Any], list[Any]]:
    """A T2 series and a T1 series after contrast in one frame of reference; returns the latter's plan and both."""
    plan = make.Plan(make.asymmetric(), number=5)
    t2, t1 = make.datasets_of(make.Plan(make.asymmetric(seed=9), number=2, tags=T2)), make.datasets_of(plan)
    for dataset in t2:
        dataset.FrameOfReferenceUID = t1[0].FrameOfReferenceUID
    make.write_datasets(folder / "SER2", t2)
    make.write_datasets(folder / "SER5", t1)
    return plan, t2, t1


def without(path: Path, *keywords: str) -> None:
    dataset = pydicom.dcmread(path)
    for keyword in keywords:
        delattr(dataset, keyword)
    dataset.save_as(path)


@pytest.mark.parametrize("refer_by", ["series", "instances", "frame"])
def test_an_rtstruct_finds_its_series(make: Any, tmp_path: Path, refer_by: str) -> None:
    plan, _, t1 = write_two_series(make, tmp_path)
    contours = [make.outline(plan, s, (2, 4), (1, 2)) for s in (1, 2)]
    make.write_structure_set(tmp_path / "rt" / "IM1", t1, {"ependymoma": contours}, refer_by=refer_by)
    discovery = discover_export(tmp_path)
    assert discovery.problems == ()
    (case,) = discovery.cases
    assert {path.parent.name for path in case.image} == {"SER5"}
    assert case.details.tumor_type == "ependymoma"
    outcome = convert_case(Job(case, tmp_path / "i.nii.gz", tmp_path / "l.nii.gz"))
    assert outcome.problems == ()
    assert int(read_volume(tmp_path / "l.nii.gz").array.sum()) == 2 * 3 * 2


def test_a_seg_without_series_is_matched_by_its_instances(make: Any, tmp_path: Path) -> None:
    _, _, t1 = write_two_series(make, tmp_path)
    path = make.write_segmentation(tmp_path / "seg" / "IM1", t1, make.blob())
    without(path, "ReferencedSeriesSequence")
    (case,) = discover_export(tmp_path).cases
    assert {file.parent.name for file in case.image} == {"SER5"}


def test_a_series_that_is_not_there_is_matched_by_instances(make: Any, tmp_path: Path) -> None:
    _, _, t1 = write_two_series(make, tmp_path)
    path = make.write_segmentation(tmp_path / "seg" / "IM1", t1, make.blob())
    dataset = pydicom.dcmread(path)
    dataset.ReferencedSeriesSequence[0].SeriesInstanceUID = "1.2.3.4.5.6"
    dataset.save_as(path)
    assert len(discover_export(tmp_path).cases) == 1


@pytest.mark.parametrize("refer_by", ["series", "instances"])
def test_an_rtstruct_on_another_series_is_not_taken(make: Any, tmp_path: Path, refer_by: str) -> None:
    plan, t2, _ = write_two_series(make, tmp_path)
    contours = [make.outline(plan, 1, (2, 4), (1, 2))]
    make.write_structure_set(tmp_path / "rt" / "IM1", t2, {"tumor": contours}, refer_by=refer_by)
    discovery = discover_export(tmp_path)
    assert discovery.cases == ()
    assert "but one references series 2" in discovery.problems[0].describe()


def test_an_rtstruct_in_another_frame_of_reference_is_not_taken(make: Any, tmp_path: Path) -> None:
    plan, _, t1 = write_two_series(make, tmp_path)
    for dataset in t1:
        dataset.FrameOfReferenceUID = "1.2.3.4.5"
    contours = [make.outline(plan, 1, (2, 4), (1, 2))]
    make.write_structure_set(tmp_path / "rt" / "IM1", t1, {"tumor": contours}, refer_by="frame")
    assert discover_export(tmp_path).cases == ()


def another(path: Path, target: Path, label: str) -> Path:
    """A copy of a segmentation under another instance UID, with a label."""
    dataset = pydicom.dcmread(path)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    if label:
        dataset.SegmentSequence[0].SegmentLabel = label
        dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "2748008"
        dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeMeaning = "Spinal cord"
    dataset.save_as(target)
    return target


def test_a_segmentation_of_the_cord_is_no_rival(make: Any, tmp_path: Path) -> None:
    _, _, t1 = write_two_series(make, tmp_path)
    path = make.write_segmentation(tmp_path / "seg" / "IM5", t1, make.blob())
    another(path, tmp_path / "seg" / "IM1", "Spinal cord")
    discovery = discover_export(tmp_path)
    (case,) = discovery.cases
    assert case.reference == path
    (note,) = discovery.problems
    assert "2 references were drawn on" in note.found
    assert "the one of a tumor was taken" in note.found


def test_a_segmentation_that_was_stored_twice_is_used_once(make: Any, tmp_path: Path) -> None:
    _, _, t1 = write_two_series(make, tmp_path)
    path = make.write_segmentation(tmp_path / "seg" / "IM1", t1, make.blob())
    another(path, tmp_path / "seg" / "IM2", "")
    (case,) = discover_export(tmp_path).cases
    assert case.reference == path


def test_two_different_segmentations_of_tumors_are_asked_for(make: Any, tmp_path: Path) -> None:
    _, _, t1 = write_two_series(make, tmp_path)
    make.write_segmentation(tmp_path / "seg" / "IM1", t1, make.blob())
    make.write_segmentation(tmp_path / "seg" / "IM2", t1, np.roll(make.blob(), 1, axis=0))
    (error,) = discover_export(tmp_path).problems
    assert "2 DICOM SEG or RTSTRUCT files reference" in error.found
