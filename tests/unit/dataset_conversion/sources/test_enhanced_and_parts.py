"""Enhanced MR, and several volumes in one series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_headers import Series
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.series_choice import contrast_of, judge
from nnunet_spine.dataset_conversion.series_parts import parts_of

OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)


def parts_in(folder: Path) -> list[Series]:
    (series,) = group_files(folder, folder.iterdir()).series
    return parts_of(series)


def saved(folder: Path, dataset: Any) -> Path:
    folder.mkdir(exist_ok=True)
    dataset.save_as(folder / "IM1", enforce_file_format=True)
    return folder


@pytest.mark.parametrize("cosines", [(0, 1, 0, 0, 0, -1), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("gap", [4.0, -4.0])
def test_shuffled_frames_with_their_own_rescale(
    make: Any, enhanced: Any, check_voxels: Any, tmp_path: Path, cosines: tuple, gap: float
) -> None:
    plan = make.Plan(make.asymmetric(), cosines=cosines, spacing=(gap, 0.8, 0.6))
    frames = [{"slice": k, "slope": 1.0 + k / 4, "intercept": float(k)} for k in range(6)]
    folder = saved(tmp_path / "e", enhanced(plan, frames=frames, order=[3, 0, 5, 1, 4, 2]))
    (part,) = parts_in(folder)
    assert part.frames == ((1, 2, 3, 4, 5, 6),)
    scale = 1.0 + np.arange(6)[:, None, None] / 4
    check_voxels(
        read_series(part.files, part.frames).volume, plan, plan.array * scale + np.arange(6)[:, None, None], within=1e-3
    )


def test_an_enhanced_series_is_judged_like_a_classic_one(make: Any, enhanced: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    (part,) = parts_in(saved(tmp_path / "e", enhanced(plan, frames=[{"slice": k} for k in range(6)])))
    assert part.is_mr
    assert judge(part).describe() == "series 5 (sagittal, T1, after contrast)"
    assert contrast_of({**part.header, "ContrastBolusAgentAdministered": "NO"}).words == "before contrast"


@pytest.mark.parametrize("kind", ["echo", "time", "stack"])
def test_two_volumes_in_one_object(make: Any, enhanced: Any, check_voxels: Any, tmp_path: Path, kind: str) -> None:
    plan = make.Plan(make.asymmetric())
    values = {"echo": (10.0, 90.0), "time": (1, 2), "stack": (1, 2)}[kind]
    frames = [{"slice": k, kind: value, "add": 1000 * n} for k in range(6) for n, value in enumerate(values)]
    parts = parts_in(saved(tmp_path / "e", enhanced(plan, frames=frames)))
    assert [part.separated_by for part in parts] == [
        {"echo": "echo time", "time": "time point", "stack": "stack"}[kind]
    ] * 2
    for n, part in enumerate(parts):
        check_voxels(read_series(part.files, part.frames).volume, plan, plan.array + 1000 * n)


def test_an_object_split_over_files_is_one_volume(make: Any, enhanced: Any, check_voxels: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    halves = [enhanced(plan, frames=[{"slice": k} for k in ks]) for ks in ((4, 0, 2), (5, 1, 3))]
    halves[1].SeriesInstanceUID = halves[0].SeriesInstanceUID
    for number, half in enumerate(halves):
        half.save_as(tmp_path / f"{number}", enforce_file_format=True)
    (part,) = parts_in(tmp_path)
    check_voxels(read_series(part.files, part.frames).volume, plan, plan.array)


def test_a_missing_frame_is_named(make: Any, enhanced: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    (part,) = parts_in(saved(tmp_path / "e", enhanced(plan, frames=[{"slice": k} for k in (0, 1, 2, 4, 5)])))
    with pytest.raises(Unusable, match="1 slices missing"):
        read_series(part.files, part.frames)


def test_frames_shifted_within_their_plane_are_refused(make: Any, enhanced: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    frames = [{"slice": k, "shift": (0.0, 1.0 * k, 0.0)} for k in range(5)]
    (part,) = parts_in(saved(tmp_path / "e", enhanced(plan, frames=frames)))
    with pytest.raises(Unusable, match=r"slices shifted within their plane by up to 4\.00 mm"):
        read_series(part.files, part.frames)


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ([{"EchoTime": 10.0}, {"EchoTime": 80.0}], "echo time"),
        ([{"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}], "time point"),
        ([{"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}], "acquisition"),
        ([{"ImageType": ["ORIGINAL", "PRIMARY", "M"]}, {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}], "kind of image"),
        ([{"InversionTime": 300}, {"InversionTime": 900}], "inversion time"),
    ],
)
def test_two_volumes_in_one_classic_series(
    make: Any, check_voxels: Any, tmp_path: Path, tags: list[dict[str, Any]], name: str
) -> None:
    plans = [make.Plan(make.asymmetric(seed=n), tags=one) for n, one in enumerate(tags)]
    first, second = (make.datasets_of(plan) for plan in plans)
    for dataset in second:
        dataset.SeriesInstanceUID = first[0].SeriesInstanceUID
    make.write_datasets(tmp_path, [*first, *second])
    parts = parts_in(tmp_path)
    assert [part.separated_by for part in parts] == [name, name]
    volumes = [read_series(part.files).volume for part in parts]
    for plan in plans:
        (volume,) = [volume for volume in volumes if _fits(volume, plan)]
        check_voxels(volume, plan, plan.array)


def _fits(volume: Any, plan: Any) -> bool:
    index = np.linalg.inv(volume.geometry.affine_lps()) @ [*plan.point(0, 0, 0), 1.0]
    x, y, z = np.rint(index[:3]).astype(int)
    return float(volume.array[z, y, x]) == float(plan.array[0, 0, 0])


def test_stations_of_a_long_spine_are_two_volumes(make: Any, tmp_path: Path) -> None:
    upper, lower = (make.datasets_of(make.Plan(make.asymmetric(), origin=(-8.0, -60.0, z))) for z in (90.0, -60.0))
    for dataset in lower:
        dataset.SeriesInstanceUID = upper[0].SeriesInstanceUID
    make.write_datasets(tmp_path, [*upper, *lower])
    assert [(len(part.slices), part.separated_by) for part in parts_in(tmp_path)] == [(6, "station"), (6, "station")]


def test_interleaved_acquisitions_of_one_volume_stay_together(make: Any, tmp_path: Path) -> None:
    tags = {k: {"AcquisitionNumber": 1 + k % 2, "AcquisitionTime": f"10{k % 2}000"} for k in range(6)}
    make.write_datasets(tmp_path, make.datasets_of(make.Plan(make.asymmetric(), slice_tags=tags)))
    (part,) = parts_in(tmp_path)
    assert (len(part.slices), part.part) == (6, 0)


def test_a_three_plane_localizer_is_three_volumes(make: Any, tmp_path: Path) -> None:
    planes = [(0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)]
    datasets = [d for plane in planes for d in make.datasets_of(make.Plan(make.asymmetric((3, 5, 4)), cosines=plane))]
    for dataset in datasets:
        dataset.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    make.write_datasets(tmp_path, datasets)
    assert [len(part.slices) for part in parts_in(tmp_path)] == [3, 3, 3]


def test_rounding_of_the_cosines_makes_no_parts(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for number, dataset in enumerate(datasets):  # on both sides of every boundary of rounding to 3 digits
        dataset.ImageOrientationPatient = [0.0005 + 1e-5 * (-1) ** number, 1, 0, 0, 0, -1]
    make.write_datasets(tmp_path, datasets)
    assert len(parts_in(tmp_path)) == 1
