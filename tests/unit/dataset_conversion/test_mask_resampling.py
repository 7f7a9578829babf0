"""Masks on other grids: voxels kept on equal lattices, volume on all others; volumes are worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nnunet_spine.dataset_conversion.mask_resampling import place, same_lattice
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.references import Reference, on_grid
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, reorient

ALIKE = np.eye(3)
OBLIQUE = Rotation.from_euler("xyz", [12, 20, 7], degrees=True).as_matrix()
SWAPPED = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def grid_of(spacing: Any, *, extent: float = 60.0, axes: np.ndarray = ALIKE, centre: Any = (0.0, 0.0, 0.0)) -> Geometry:
    """A cube of `extent` mm about `centre`."""
    size = tuple(int(np.ceil(extent / s)) for s in spacing)
    origin = np.asarray(centre) - (axes * np.asarray(spacing)) @ ((np.array(size) - 1) / 2)
    return Geometry(size, tuple(spacing), tuple(map(float, origin)), tuple(map(float, axes.ravel())))  # type: ignore[arg-type]


def ellipsoid(grid: Geometry, half_axes: Any, centre: Any = (0.3, -0.2, 0.4)) -> Volume:
    """Voxels whose centres lie in the ellipsoid."""
    z, y, x = np.indices(grid.shape_zyx)
    points = np.einsum("ij,j...->i...", grid.affine_lps(), np.stack([x, y, z, np.ones_like(x)]))[:3]
    scaled = [(points[i] - centre[i]) / half_axes[i] for i in range(3)]
    return Volume((sum(v**2 for v in scaled) <= 1).astype(np.uint8), grid)


def ml(volume: Volume) -> float:
    return float(volume.array.sum()) * volume.geometry.voxel_ml


def dice(first: Volume, second: Volume) -> float:
    return float(2 * (first.array & second.array).sum() / (first.array.sum() + second.array.sum()))


@pytest.mark.parametrize("axes", [ALIKE, OBLIQUE, SWAPPED], ids=["alike", "oblique", "swapped"])
@pytest.mark.parametrize("spacing", [(0.6, 0.6, 4.0), (0.9, 0.9, 3.3), (1.0, 1.0, 5.0), (0.5, 0.5, 0.5)])
@pytest.mark.parametrize(
    ("half_axes", "volume_ml"),
    [((5, 5, 5), 0.5236), ((4, 6, 9), 0.9048), ((3, 8, 20), 2.0106), ((15, 15, 15), 14.1372)],  # 4/3 pi a b c
)
def test_an_ellipsoid_keeps_its_volume(half_axes: Any, volume_ml: float, spacing: Any, axes: np.ndarray) -> None:
    drawn = ellipsoid(grid_of((0.5, 0.5, 0.5)), half_axes)
    assert ml(drawn) == pytest.approx(volume_ml, rel=0.01)
    image = grid_of(spacing, axes=axes, centre=(0.13, 0.3, -0.77))
    placed = on_grid(Reference(drawn), image)
    assert ml(placed.mask) == pytest.approx(volume_ml, rel=0.02)
    assert placed.notes == ()
    assert dice(placed.mask, ellipsoid(image, half_axes)) > 0.8  # of few voxels, most are partly covered


def test_a_coarse_mask_keeps_its_volume_on_a_fine_grid() -> None:
    drawn = ellipsoid(grid_of((0.7, 0.7, 5.0)), (6, 8, 11))
    placed = place(drawn, grid_of((0.9, 0.9, 1.1), axes=OBLIQUE))
    assert ml(placed.mask) == pytest.approx(ml(drawn), rel=0.02)


@settings(max_examples=40, deadline=None)
@given(
    mask_mm=st.tuples(*[st.floats(0.5, 3.0)] * 3),
    image_mm=st.tuples(*[st.floats(0.5, 5.0)] * 3),
    half_axes=st.tuples(*[st.floats(5.0, 12.0)] * 3),
    degrees=st.tuples(*[st.floats(-180.0, 180.0)] * 3),
    centre=st.tuples(*[st.floats(-2.0, 2.0)] * 3),
)
def test_any_lesion_over_half_a_millilitre_keeps_its_volume(
    mask_mm: Any, image_mm: Any, half_axes: Any, degrees: Any, centre: Any
) -> None:
    drawn = ellipsoid(grid_of(mask_mm, extent=40.0), half_axes, centre)
    axes = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    image = grid_of(image_mm, extent=55.0, axes=axes)
    if ml(drawn) > 0.5 and image.voxel_ml < 0.02:  # half a voxel is then at most 2 %
        assert abs(ml(place(drawn, image).mask) - ml(drawn)) <= 0.02 * ml(drawn)


def test_half_covered_slices_are_filled_as_far_as_the_volume_goes() -> None:
    drawn = np.zeros((24, 20, 20), np.uint8)
    drawn[4:10, 5:15, 5:15] = 1  # 10 x 10 x 6 mm: a slice of 4 mm, and half of the next
    mask = Volume(drawn, Geometry((20, 20, 24), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel())))  # type: ignore[arg-type]
    image = Geometry((20, 20, 6), (1.0, 1.0, 4.0), (0.0, 0.0, 1.5), tuple(np.eye(3).ravel()))  # type: ignore[arg-type]
    placed = on_grid(Reference(mask), image)
    assert placed.mask.array.sum(axis=(1, 2)).tolist() == [0, 100, 50, 0, 0, 0]
    assert not placed.mask.array[:, :5].any()
    assert placed.notes == ()


def test_a_small_lesion_beside_a_large_one_is_not_lost() -> None:
    image = grid_of((0.8, 0.8, 4.0))
    fine = grid_of((1.0, 1.0, 1.0))
    large, small = ellipsoid(fine, (8, 8, 8), (-12, 0, 0)), ellipsoid(fine, (2, 2, 1.6), (15, 0, 2))
    both = place(Volume(large.array | small.array, fine), image).mask
    right = both.array[:, :, both.array.shape[2] * 2 // 3 :].sum() * image.voxel_ml
    assert right == pytest.approx(ml(small), abs=image.voxel_ml)


@pytest.mark.parametrize("orientation", ["RAS", "LPI", "PIL", "ASR"])
def test_equal_lattices_keep_every_voxel(make: Any, orientation: str) -> None:
    image = reorient(Volume.of(make.itk_image(make.asymmetric())))
    cut = sitk.DICOMOrient(make.itk_image(make.blob())[1:6, 1:9, 0:4], orientation)
    cut.SetOrigin([v + 0.004 for v in cut.GetOrigin()])  # the rounding of a header
    assert same_lattice(Volume.of(cut).geometry, image.geometry)
    placed = on_grid(Reference(Volume.of(cut)), image.geometry)
    assert np.array_equal(placed.mask.array, reorient(Volume.of(make.itk_image(make.blob()))).array)
    assert placed.notes == ()


def test_lattices_that_differ_are_told_apart() -> None:
    grid = grid_of((0.8, 0.8, 4.0))
    assert same_lattice(grid, grid)
    assert not same_lattice(grid, grid_of((0.8, 0.8, 4.0), centre=(0.2, 0.0, 0.0)))
    assert not same_lattice(grid, grid_of((0.8, 0.8, 4.1)))
    assert not same_lattice(grid, grid_of((0.8, 0.8, 2.0)))
    assert not same_lattice(grid, grid_of((0.8, 0.8, 4.0), axes=OBLIQUE))


def test_a_lesion_too_small_for_the_grid_is_told_with_both_volumes() -> None:
    drawn = ellipsoid(grid_of((0.5, 0.5, 0.5)), (1.5, 1.5, 1.5))  # 0.014 ml
    placed = on_grid(Reference(drawn), grid_of((1.5, 1.5, 5.0)))
    assert int(placed.mask.array.sum()) == 1
    assert placed.notes == (
        "the lesion has 0.01 ml on the image's grid, 0.01 ml on its own",
        "a voxel of the image has 0.0112 ml, too much to keep the lesion's volume",
    )
    with pytest.raises(Unusable, match="less than half a voxel of the image .0.0800 ml."):
        on_grid(Reference(drawn), grid_of((4.0, 4.0, 5.0)))


def test_a_lesion_cut_by_another_grid_is_told() -> None:
    drawn = ellipsoid(grid_of((0.5, 0.5, 0.5)), (8, 8, 8), (0.0, 0.0, 0.0))
    placed = on_grid(Reference(drawn), grid_of((0.9, 0.9, 3.0), extent=30.0, centre=(15.0, 0.0, 0.0)))
    assert ml(placed.mask) == pytest.approx(ml(drawn) / 2, rel=0.06)
    assert "% of the reference lies outside the image and was cut off" in placed.notes[1]
