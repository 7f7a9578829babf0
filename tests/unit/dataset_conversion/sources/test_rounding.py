"""Slices whose headers differ by rounding are one volume; more than a tenth of a voxel is refused with the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.series_parts import parts_of

OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)
SHARED = Path(__file__).resolve().parents[5] / "shared" / "data" / "dicom"


def alter(datasets: list[Any], keyword: str, step: Any) -> None:
    """Change an attribute of every second slice by `step`, as text of at most 16 characters."""
    for number, dataset in enumerate(datasets):
        values = np.asarray(dataset[keyword].value, dtype=float) + (number % 2) * np.asarray(step)
        setattr(dataset, keyword, [f"{value:.12f}"[:16] for value in values])


def read(folder: Path, datasets: list[Any], make: Any) -> Any:
    make.write_datasets(folder, datasets)
    (series,) = group_files(folder, folder.iterdir()).series
    (part,) = parts_of(series)
    return read_series(part.files)


@pytest.mark.parametrize(
    ("keyword", "step"),
    [
        ("ImageOrientationPatient", [1e-9, 0, 0, 0, 0, 0]),
        ("ImageOrientationPatient", [1e-6, -1e-6, 1e-6, 0, 1e-6, 0]),
        ("ImageOrientationPatient", [1e-3, 0, 0, 1e-3, 0, 0]),
        ("PixelSpacing", [1e-7, -1e-7]),
        ("PixelSpacing", [1e-3, 1e-3]),
        ("ImagePositionPatient", [0.0, 0.02, -0.02]),
        ("ImagePositionPatient", [0.15, 0.0, 0.0]),
        ("SliceThickness", 1e-5),
        ("EchoTime", 1e-4),
    ],
    ids=str,
)
def test_rounding_is_no_difference(make: Any, check_voxels: Any, tmp_path: Path, keyword: str, step: Any) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    if isinstance(step, float):
        for number, dataset in enumerate(datasets):
            setattr(dataset, keyword, float(dataset[keyword].value) + (number % 2) * step)
    else:
        alter(datasets, keyword, step)
    found = read(tmp_path, datasets, make)
    assert found.volume.geometry.size_xyz == (8, 10, 6)
    for place in [(0, 0, 0), (5, 9, 7), (3, 4, 5)]:
        index = np.linalg.inv(found.volume.geometry.affine_lps()) @ [*plan.point(*place), 1.0]
        x, y, z = np.rint(index[:3]).astype(int)
        assert np.abs(index[:3] - (x, y, z)).max() < 0.1
        assert found.volume.array[z, y, x] == plan.array[place]


def test_positions_rounded_to_one_decimal_over_many_slices(make: Any, tmp_path: Path) -> None:
    # 40 slices 3.3333 mm apart, their places rounded to 0.1 mm: no gap is right, and the stack is.
    datasets = make.datasets_of(make.Plan(make.asymmetric((40, 5, 4)), spacing=(10 / 3, 0.8, 0.6)))
    for dataset in datasets:
        dataset.ImagePositionPatient = [round(float(v), 1) for v in dataset.ImagePositionPatient]
    volume = read(tmp_path, datasets, make).volume
    assert volume.geometry.spacing_xyz_mm[2] == pytest.approx(10 / 3, abs=0.002)


@pytest.mark.parametrize(
    ("keyword", "step", "message"),
    [
        # 0.2 is the sine of 11.5 degrees; from the median, the mean of both directions, it is half of that.
        ("ImageOrientationPatient", [0, 0, 0, 0.2, 0, 0.02], r"directions differ by up to 5\.\d+ degrees"),
        ("ImagePositionPatient", [0.0, 0.5, 0.0], r"shifted within their plane by up to 0\.50 mm.* 0\.42 of a voxel"),
        ("PixelSpacing", [0.04, 0.0], r"pixel spacing differs by up to 0\.04 mm"),
    ],
)
def test_more_than_a_tenth_of_a_voxel_is_refused_with_the_figure(
    make: Any, tmp_path: Path, keyword: str, step: Any, message: str
) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    alter(datasets, keyword, step)
    with pytest.raises(Unusable, match=message):
        read_series(make.write_datasets(tmp_path, datasets))


def test_one_slice_out_of_place_moves_no_other(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    datasets[5].ImagePositionPatient = [-8.0 - 20.3, -60.0, 90.0]  # 0.3 mm, 0.075 of a gap
    found = read(tmp_path, datasets, make)
    assert found.volume.geometry.spacing_xyz_mm == pytest.approx((0.6, 0.8, 4.0))
    assert found.volume.geometry.origin_xyz_mm[0] == pytest.approx(-8.0)
    assert any("up to 0.300 mm (0.075 of a voxel)" in note for note in found.notes)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real series beside the project are absent")
@pytest.mark.parametrize(
    ("folder", "size", "total", "rows"),
    [
        (
            "ge_oblique_t1",
            (256, 256, 24),
            23_078_422,
            "0.9356 -0.0321 0.0636 -117.927; 0.0424 0.9129 -0.2674 -78.1739; -0.0412 0.2107 1.1681 -62.0112",
        ),
        (
            "siemens_xa30_enhanced_sagittal_epi",
            (86, 86, 63),
            248_477_428,
            "0 0 2.2 -68.2; -2.2326 0 0 96; 0 2.2326 0 -93.7676",
        ),
    ],
)
def test_real_series_give_what_dcm2niix_gives(folder: str, size: tuple[int, ...], total: int, rows: str) -> None:
    (series,) = group_files(SHARED / folder, (SHARED / folder).iterdir()).series
    (part,) = parts_of(series)
    volume = read_series(part.files, part.frames).volume
    assert sorted(volume.geometry.size_xyz) == sorted(size)
    assert volume.array.sum() == total
    # dcm2niix writes RAS and its own order of axes: the columns of both matrices are the same up to order and sign.
    theirs = np.array([[float(v) for v in row.split()] for row in rows.split(";")])
    ours = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.geometry.affine_lps())[:3]
    for axis in range(3):
        sign = np.where((theirs[:, :3].T @ ours[:, axis]).max() > 0, 1, -1)
        gaps = np.abs(np.hstack([theirs[:, :3] - ours[:, [axis]], theirs[:, :3] + ours[:, [axis]]])).max(axis=0)
        assert gaps.min() < 1e-3, (axis, sign)
    corners = [[*place, 1] for place in np.ndindex(2, 2, 2)]
    ends = np.array(volume.geometry.size_xyz) - 1
    mine = np.array([ours @ (np.array([*ends, 1]) * corner) for corner in corners])
    last = np.array(size) - 1
    others = np.array([theirs @ (np.array([*last, 1]) * corner) for corner in corners])
    distance = np.linalg.norm(mine[:, None] - others[None], axis=2)
    assert distance.min(axis=1).max() < 0.05  # every corner of one is a corner of the other
