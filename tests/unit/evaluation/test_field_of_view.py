import numpy as np

from nnunet_spine.evaluation.field_of_view import (
    Extent,
    border_voxels,
    extent_of,
    half_length_mm,
)
from nnunet_spine.grids import Geometry

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
# Columns are the directions of x, y, z: to posterior, to inferior, to left, as stored cases are.
SAGITTAL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def geometry(direction: tuple[float, ...]) -> Geometry:
    return Geometry((100, 200, 15), (1.0, 0.5, 4.0), (0.0, 0.0, 0.0), direction)


def test_extent_follows_the_directions_of_the_body():
    assert extent_of(geometry(SAGITTAL)) == Extent(100.0, 100.0, 60.0)  # 200 x 0.5 down, 100 x 1 back, 15 x 4 across
    assert extent_of(geometry(IDENTITY)) == Extent(60.0, 100.0, 100.0)


def test_an_oblique_grid_is_measured_along_its_own_axes():
    turn = np.deg2rad(20)
    tilted = (np.cos(turn), 0.0, -np.sin(turn), 0.0, 1.0, 0.0, np.sin(turn), 0.0, np.cos(turn))
    assert extent_of(geometry(tilted)) == extent_of(geometry(IDENTITY))


def test_border_voxels_are_those_of_the_outermost_layer():
    mask = np.zeros((4, 5, 6), bool)
    mask[1:3, 2:4, 2:4] = True
    assert border_voxels(mask) == 0
    mask[0, 2, 2] = mask[2, 4, 3] = mask[3, 4, 5] = True
    assert border_voxels(mask) == 3
    assert border_voxels(np.ones((1, 5, 6), bool)) == 30  # of one slice, every voxel is at the border


def test_half_length_is_that_of_the_longest_side():
    mask = np.zeros((5, 6, 9), bool)
    mask[1:3, 2, 1:7:5] = True  # 2 slices of 4 mm; 6 voxels of 0.5 mm
    assert half_length_mm(mask, (4.0, 1.0, 0.5)) == 4.0
