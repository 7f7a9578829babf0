from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.dicom_headers import attributes_of, read_header
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.images import Volume, reorient

OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)  # sagittal, turned by 10 degrees
DOUBLY_OBLIQUE = (-0.14, 0.98, 0.1412444689182, 0.085, 0.154, -0.98440)


def value_at(volume: Volume, point: np.ndarray) -> float:
    """Value at an LPS place, by SimpleITK's own transform."""
    image = volume.image()
    index = image.TransformPhysicalPointToContinuousIndex(tuple(point))
    assert np.allclose(index, np.rint(index), atol=1e-3)
    return float(image[tuple(round(v) for v in index)])


def every_voxel_is_in_place(volume: Volume, plan: Any, expected: np.ndarray) -> bool:
    places = np.random.default_rng(0).integers(0, plan.array.shape, size=(40, 3))
    corners = [(0, 0, 0), tuple(n - 1 for n in plan.array.shape)]
    return all(
        value_at(volume, plan.point(*place)) == pytest.approx(expected[tuple(place)])
        for place in [*map(tuple, places), *corners]
    )


@pytest.mark.parametrize("cosines", [(0, 1, 0, 0, 0, -1), (0, -1, 0, 0, 0, -1), (0, 1, 0, 0, 0, 1), OBLIQUE])
@pytest.mark.parametrize("gap", [4.0, -4.0], ids=["ascending", "descending"])
def test_shuffled_slices_land_where_their_header_says(make: Any, tmp_path: Path, cosines: tuple, gap: float) -> None:
    plan = make.Plan(make.asymmetric(), cosines=cosines, spacing=(gap, 0.8, 0.6))
    volume = read_series(make.write_study(tmp_path, plan, seed=4)).volume
    assert every_voxel_is_in_place(volume, plan, plan.array)
    turned = reorient(volume)
    assert turned.array.shape == plan.array.shape
    assert turned.geometry.spacing_zyx_mm == pytest.approx((4.0, 0.8, 0.6))
    assert every_voxel_is_in_place(turned, plan, plan.array)


def test_a_doubly_oblique_series_keeps_its_affine(make: Any, tmp_path: Path) -> None:
    row = np.array(DOUBLY_OBLIQUE[:3]) / np.linalg.norm(DOUBLY_OBLIQUE[:3])
    column = np.array(DOUBLY_OBLIQUE[3:]) - row * np.dot(row, DOUBLY_OBLIQUE[3:])
    column /= np.linalg.norm(column)
    plan = make.Plan(make.asymmetric(), cosines=(*row, *column))
    assert every_voxel_is_in_place(read_series(make.write_study(tmp_path, plan)).volume, plan, plan.array)


def test_rescale_is_applied(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric(), rescale=(2.5, -10.0))
    volume = read_series(make.write_study(tmp_path, plan)).volume
    assert every_voxel_is_in_place(volume, plan, plan.array * 2.5 - 10.0)


def test_rescale_may_differ_from_slice_to_slice(make: Any, tmp_path: Path) -> None:
    slopes = np.arange(1.0, 7.0)
    tags = {i: {"RescaleSlope": slope, "RescaleIntercept": 0.0} for i, slope in enumerate(slopes)}
    plan = make.Plan(make.asymmetric(), rescale=(1.0, 0.0), slice_tags=tags)
    volume = read_series(make.write_study(tmp_path, plan)).volume
    assert every_voxel_is_in_place(volume, plan, plan.array * slopes[:, None, None])


def moved(make: Any, tmp_path: Path, positions: list[float]) -> list[Path]:
    """Files of a series whose slices lie at `positions` (x, mm)."""
    plan = make.Plan(make.asymmetric((len(positions), 5, 4)))
    datasets = make.datasets_of(plan)
    for dataset, x in zip(datasets, positions, strict=True):
        dataset.ImagePositionPatient = [x, 0.0, 0.0]
    return make.write_datasets(tmp_path / "series", datasets)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        ([0, 4, 8, 16, 20], "1 slices missing inside a series of 5, where the gap of 4.00 mm widens to 8.00 mm"),
        ([0, 4, 8, 12, 24, 28], "2 slices missing"),
        ([0, 4, 4, 8, 12], "1 slices lie at the place of another one"),
        ([0, 4, 8, 12.5, 16], "slice gaps from 3.50 to 4.50 mm"),
        ([0, 4], "a series of 2 slices"),
        ([0], "a series of 1 slices"),
    ],
)
def test_a_broken_stack_is_refused(make: Any, tmp_path: Path, positions: list[float], message: str) -> None:
    with pytest.raises(Unusable, match=message):
        read_series(moved(make, tmp_path, positions))


def test_gaps_within_the_tolerance_pass(make: Any, tmp_path: Path) -> None:
    volume = read_series(moved(make, tmp_path, [0.0, 4.03, 8.0, 12.03, 16.0])).volume
    assert sorted(volume.array.shape) == [4, 5, 5]


def test_slices_of_two_orientations_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    datasets[3].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    with pytest.raises(Unusable, match=r"directions differ by up to 90\.00 degrees, which puts a corner"):
        read_series(make.write_datasets(tmp_path, datasets))


def test_a_slice_without_a_position_is_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    del datasets[2].ImagePositionPatient
    with pytest.raises(Unusable, match="1 of 6 slices have no position"):
        read_series(make.write_datasets(tmp_path, datasets))


def test_truncated_pixels_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    datasets[1].PixelData = datasets[1].PixelData[:20]
    with pytest.raises(Unusable, match="cannot be decoded.*in a transfer syntax that can be decoded"):
        read_series(make.write_datasets(tmp_path, datasets))


def test_slices_of_two_sizes_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    other = make.datasets_of(make.Plan(make.asymmetric((6, 12, 8))))[4]
    other.SeriesInstanceUID = datasets[0].SeriesInstanceUID
    datasets[4] = other
    with pytest.raises(Unusable):
        read_series(make.write_datasets(tmp_path, datasets))


def test_an_inverted_series_is_highdicoms_to_invert(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric(), rescale=(2.0, -7.0))
    datasets = make.datasets_of(plan)
    for dataset in datasets:
        dataset.PhotometricInterpretation = "MONOCHROME1"
    expected = 2.0 * (65535 - plan.array.astype(float)) - 7.0  # 16 bits stored
    assert every_voxel_is_in_place(read_series(make.write_datasets(tmp_path, datasets)).volume, plan, expected)


def test_attributes_that_cannot_be_decoded_are_left_out(make: Any, tmp_path: Path) -> None:
    (dataset, *_) = make.datasets_of(make.Plan(make.asymmetric()))
    dataset.save_as(tmp_path / "one", enforce_file_format=True)
    content = (tmp_path / "one").read_bytes()
    (tmp_path / "one").write_bytes(content.replace(b"0.8\\0.6", b"a.8\\b.6"))
    found = attributes_of(read_header(tmp_path / "one"))
    assert "PixelSpacing" not in found
    assert found["ImageOrientationPatient"] == (0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    assert (found["Rows"], found["EchoTime"]) == (10, 10.0)
