"""A part of a stack is never taken for the whole without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_headers import Series
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.series_parts import parts_of


def parts_in(folder: Path) -> list[Series]:
    (series,) = group_files(folder, sorted(p for p in folder.rglob("*") if p.is_file() and "SEG" not in str(p))).series
    return parts_of(series)


def one_series(*groups: list[Any]) -> list[Any]:
    for dataset in (everything := [dataset for group in groups for dataset in group]):
        dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = groups[0][0].SeriesInstanceUID, "1.2.9"
    return everything


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("AcquisitionNumber", (1, 2)),
        ("EchoTime", (10.0, 10.00001)),
        ("EchoTime", (10.0, 12.0)),
        ("ImageType", (["ORIGINAL", "PRIMARY", "M"], ["DERIVED", "PRIMARY", "M"])),
        ("FrameOfReferenceUID", ("1.2.3", "1.2.4")),
        ("TemporalPositionIdentifier", (1, 2)),
    ],
    ids=str,
)
@pytest.mark.parametrize("halves", [lambda k: k % 2, lambda k: k // 3], ids=["interleaved", "continuing"])
def test_slices_of_one_stack_stay_together(make: Any, tmp_path: Path, keyword: str, values: tuple, halves: Any) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for number, dataset in enumerate(datasets):
        setattr(dataset, keyword, values[halves(number)])
    make.write_datasets(tmp_path, datasets)
    (part,) = parts_in(tmp_path)
    assert (len(part.slices), part.part) == (6, 0)


@pytest.mark.parametrize("stacks", [(1, 2, 1, 2, 1, 2), (1, 1, 1, 2, 2, 2)], ids=["interleaved", "continuing"])
def test_two_stacks_of_one_enhanced_volume_stay_together(make: Any, enhanced: Any, tmp_path: Path, stacks: Any) -> None:
    frames = [{"slice": k, "stack": stacks[k]} for k in range(6)]
    enhanced(make.Plan(make.asymmetric()), frames=frames).save_as(tmp_path / "e", enforce_file_format=True)
    (part,) = parts_in(tmp_path)
    assert len(part.slices) == 6


@pytest.mark.parametrize("change", ["size", "pixel spacing"])
@pytest.mark.parametrize("odd", [[5], [0, 2, 4], [3, 4, 5]], ids=["the last", "every second", "the second half"])
def test_a_stack_of_two_sizes_is_refused_and_not_halved(make: Any, tmp_path: Path, change: str, odd: list[int]) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    make.write_segmentation(tmp_path / "SEG" / "IM1", datasets, make.blob())
    for k in odd:
        if change == "size":
            datasets[k].Rows, datasets[k].Columns = 12, 8
            datasets[k].PixelData = bytes(2 * 12 * 8)
        else:
            datasets[k].PixelSpacing = [0.7, 0.6]
    make.write_datasets(tmp_path / "a", datasets)
    discovery = discover_export(tmp_path)
    assert discovery.cases == ()
    (error,) = discovery.problems
    assert f"6 slices of one stack, but of different {change}" in error.found


def test_volumes_of_two_sizes_at_one_place_are_two_volumes(make: Any, tmp_path: Path) -> None:
    small, large = (make.datasets_of(make.Plan(make.asymmetric((6, n, 8)))) for n in (10, 12))
    make.write_datasets(tmp_path, one_series(small, large))
    assert [(len(part.slices), part.separated_by, part.flaw) for part in parts_in(tmp_path)] == [(6, "size", "")] * 2


def test_a_second_time_point_that_lacks_slices_is_not_taken(make: Any, tmp_path: Path) -> None:
    first, second = (
        make.datasets_of(make.Plan(make.asymmetric(seed=n), tags={
            "RepetitionTime": 600.0, "EchoTime": 10.0, "ContrastBolusAgent": "Gadovist",
            "TemporalPositionIdentifier": n, "AcquisitionTime": f"10{n}000",
        }))
        for n in (1, 2)
    )  # fmt: skip
    datasets = one_series(first, second)
    make.write_segmentation(tmp_path / "SEG" / "IM1", first, make.blob())
    make.write_datasets(tmp_path / "a", datasets[:10])  # four of the second's six slices
    discovery = discover_export(tmp_path)
    (case,) = discovery.cases
    assert len(case.image) == 6
    parts = parts_in(tmp_path / "a")
    assert sorted((part.places, part.places_of_whole) for part in parts) == [(4, 6), (6, 6)]


def test_a_reference_on_a_part_that_lacks_slices_is_an_error(make: Any, tmp_path: Path) -> None:
    first, second = (
        make.datasets_of(make.Plan(make.asymmetric(seed=n), tags={
            "RepetitionTime": 600.0, "EchoTime": 10.0, "ContrastBolusAgent": "Gadovist", "AcquisitionNumber": n,
        }))
        for n in (1, 2)
    )  # fmt: skip
    datasets = one_series(first, second)
    make.write_segmentation(tmp_path / "SEG" / "IM1", second[:4], make.blob()[:4])
    make.write_datasets(tmp_path / "a", datasets[:10])
    (error,) = (p for p in discover_export(tmp_path).problems if p.severity is Severity.ERROR)
    assert "but one references series 5" in error.found
    assert "(4 of the 6 slices of its stack" in error.found


@pytest.mark.parametrize("missing", [0, 5], ids=["first", "last"])
def test_a_series_that_lost_a_slice_after_it_was_drawn_on_is_an_error(make: Any, tmp_path: Path, missing: int) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    make.write_segmentation(tmp_path / "SEG" / "IM1", datasets, make.blob())
    make.write_datasets(tmp_path / "a", [d for k, d in enumerate(datasets) if k != missing])
    (error,) = discover_export(tmp_path).problems
    assert error.found == "the reference of series 5 was drawn on 1 slice that is not in the export"


def test_images_that_the_headers_count_and_the_export_lacks_are_warned_of(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for dataset in datasets:
        dataset.ImagesInAcquisition = 8
    make.write_segmentation(tmp_path / "SEG" / "IM1", datasets, make.blob())
    make.write_datasets(tmp_path / "a", datasets)
    (problem,) = discover_export(tmp_path).problems
    assert problem.severity is Severity.WARNING
    assert problem.found == "series 5 has 6 images, and its headers count 8"


def test_times_that_tell_echoes_apart_are_compared_with_a_tolerance(make: Any, tmp_path: Path) -> None:
    first, second = (make.datasets_of(make.Plan(make.asymmetric(seed=n))) for n in (1, 2))
    for base, group in ((10.0, first), (20.0, second)):
        for number, dataset in enumerate(group):
            dataset.EchoTime = base + 1e-5 * number
    make.write_datasets(tmp_path, one_series(first, second))
    assert [(len(part.slices), part.separated_by) for part in parts_in(tmp_path)] == [(6, "echo time")] * 2


def test_stacks_side_by_side_are_one_volume_only_if_they_continue_each_other(make: Any, tmp_path: Path) -> None:
    # Slices 0 to 2 and 3 to 5 of one stack, with numbers that restart: one volume.
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for number, dataset in enumerate(datasets):
        dataset.InstanceNumber, dataset.AcquisitionNumber = number % 3 + 1, number // 3
    make.write_datasets(tmp_path / "one", datasets)
    assert len(parts_in(tmp_path / "one")) == 1
    # Two stations far apart within the plane are two, whatever their places along the normal.
    upper, lower = (
        make.datasets_of(make.Plan(make.asymmetric(), origin=(x, -60.0, z))) for x, z in ((-8.0, 90.0), (-9.2, -60.0))
    )
    make.write_datasets(tmp_path / "two", one_series(upper, lower))
    assert [len(part.slices) for part in parts_in(tmp_path / "two")] == [6, 6]
    assert np.ptp([part.places for part in parts_in(tmp_path / "two")]) == 0


def turned_in_plane(dataset: Any) -> None:
    """The same pixels in the same place, stored from the opposite corner."""
    row, column = np.reshape([float(v) for v in dataset.ImageOrientationPatient], (2, 3))
    down, right = (float(v) for v in dataset.PixelSpacing)
    corner = np.array([float(v) for v in dataset.ImagePositionPatient])
    corner += row * right * (dataset.Columns - 1) + column * down * (dataset.Rows - 1)
    dataset.ImagePositionPatient = [f"{v:.10g}" for v in corner]
    dataset.ImageOrientationPatient = [f"{v:.12g}"[:16] for v in (*-row, *-column)]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda one: delattr(one, "ImageOrientationPatient"), "1 of 6 slices without orientation"),
        (lambda one: delattr(one, "ImagePositionPatient"), "1 of 6 slices without position"),
        (lambda one: setattr(one, "ImagePositionPatient", None), "1 of 6 slices without position"),
        (turned_in_plane, "6 slices of one stack, but of different orientation"),
    ],
    ids=["no orientation", "no position", "empty position", "turned in its plane"],
)
@pytest.mark.parametrize("odd", [0, 3, 5])
def test_a_slice_that_cannot_be_placed_is_not_left_out(
    make: Any, tmp_path: Path, change: Any, found: str, odd: int
) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    make.write_segmentation(tmp_path / "SEG" / "IM1", datasets, make.blob())
    change(datasets[odd])
    make.write_datasets(tmp_path / "a", datasets)
    discovery = discover_export(tmp_path)
    assert discovery.cases == ()
    (error,) = discovery.problems
    assert found in error.found


@pytest.mark.parametrize(("rescale", "sound"), [((0.4, 0.0), False), ((1.0, -5.0), False), ((1.0, 0.0), True)])
@pytest.mark.parametrize("missing", [[2], [0, 1, 2, 3, 4]])
def test_a_rescale_that_some_slices_lack(
    make: Any, tmp_path: Path, rescale: tuple[float, float], sound: bool, missing: list[int]
) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for number, dataset in enumerate(datasets):
        if number not in missing:
            dataset.RescaleSlope, dataset.RescaleIntercept = rescale
    make.write_datasets(tmp_path, datasets)
    (part,) = parts_in(tmp_path)
    assert part.flaw == ("" if sound else f"{len(missing)} of 6 slices without Rescale Slope, unlike the others")


def test_an_enhanced_object_that_does_not_describe_all_its_frames(make: Any, enhanced: Any, tmp_path: Path) -> None:
    dataset = enhanced(make.Plan(make.asymmetric()), frames=[{"slice": k} for k in range(6)])
    del dataset.PerFrameFunctionalGroupsSequence[-1]
    dataset.save_as(tmp_path / "e", enforce_file_format=True)
    (part,) = parts_in(tmp_path)
    assert part.flaw == "a file of 6 frames that describes 5"


def moved(datasets: list[Any], digits: int) -> list[Any]:
    """The same places, rounded."""
    for dataset in datasets:
        dataset.ImagePositionPatient = [f"{round(float(v), digits):.10g}" for v in dataset.ImagePositionPatient]
    return datasets


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 201, 202),
        ("TemporalPositionIdentifier", 120, 121),
        ("TriggerTime", 1000.0, 1005.0),
        ("EchoTime", 10.0, 12.0),
    ],
)
@pytest.mark.parametrize("digits", [10, 2, 1])
@pytest.mark.parametrize("trigger", [False, True])
def test_two_volumes_at_one_place(
    make: Any, tmp_path: Path, keyword: str, first: float, second: float, digits: int, trigger: bool
) -> None:
    """Whatever their numbers, their rounding, and a time of each slice that says nothing of volumes."""
    groups = [
        make.datasets_of(make.Plan(make.asymmetric(seed=n), tags={keyword: value}))
        for n, value in ((1, first), (2, second))
    ]
    moved(groups[1], digits)
    if trigger and keyword != "TriggerTime":
        for number, dataset in enumerate([one for group in groups for one in group]):
            dataset.TriggerTime = 37.5 * number
    make.write_datasets(tmp_path, one_series(*groups))
    parts = parts_in(tmp_path)
    assert [(part.places, part.places_of_whole, part.flaw) for part in parts] == [(6, 6, "")] * 2
    numbers = [{float(one.header[keyword]) for one in part.slices} for part in parts]
    assert sorted(map(sorted, numbers)) == [[first], [second]]
