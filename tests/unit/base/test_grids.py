from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.grids import Geometry, difference, rounding_note, squared

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((200, 4, 3), (0.5, 0.75, 4.0), (10.0, -20.0, 30.0), IDENTITY)


def moved(**changed: object) -> Geometry:
    return Geometry(**{**vars(GRID), **changed})  # type: ignore[arg-type]


def test_grids_are_the_same_within_a_tenth_of_the_smallest_spacing_at_every_corner() -> None:
    assert GRID.same_grid(GRID)
    assert GRID.gap_mm(GRID) == 0.0
    # 199 voxels away from the first, a spacing that differs by 0.0002 mm is 0.0398 mm off; by 0.0003 mm, 0.0597.
    assert GRID.gap_mm(moved(spacing_xyz_mm=(0.5002, 0.75, 4.0))) == pytest.approx(0.0398)
    assert GRID.same_grid(moved(spacing_xyz_mm=(0.5002, 0.75, 4.0)))
    assert not GRID.same_grid(moved(spacing_xyz_mm=(0.5003, 0.75, 4.0)))
    assert not moved(spacing_xyz_mm=(0.5003, 0.75, 4.0)).same_grid(GRID)


def test_a_gap_is_a_distance_in_space() -> None:
    assert GRID.gap_mm(moved(origin_xyz_mm=(10.03, -20.04, 30.0))) == pytest.approx(0.05)
    assert GRID.gap_mm(moved(size_xyz=(200, 4, 2))) == math.inf
    assert not GRID.same_grid(moved(size_xyz=(200, 4, 2)))


def test_a_difference_is_told_in_mm_and_voxels() -> None:
    assert difference(moved(origin_xyz_mm=(10.0, -20.0, 31.62)), GRID).startswith("voxels up to 1.62 mm apart")
    assert difference(moved(size_xyz=(12, 48, 40)), GRID) == "12x48x40 voxels instead of 200x4x3 (x, y, z)"


def test_rounding_has_a_note_and_equality_none() -> None:
    assert rounding_note(GRID, GRID) == ""
    assert "0.020 mm" in rounding_note(moved(origin_xyz_mm=(10.02, -20.0, 30.0)), GRID)


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(-0.02, 0.02)] * 3), st.integers(0, 2**31))
def test_squared_axes_are_at_right_angles_and_keep_the_center(shears: tuple[float, ...], seed: int) -> None:
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    lean = np.eye(3)
    lean[0, 1], lean[0, 2], lean[1, 2] = shears
    affine = np.eye(4)
    affine[:3, :3] = turn @ lean * [0.5, 0.75, 4.0]
    affine[:3, 3] = 1.0, 2.0, 3.0
    found = squared(affine, (20, 30, 9))
    direction = np.reshape(found.geometry.direction, (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    center = np.array([9.5, 14.5, 4.0, 1.0])
    np.testing.assert_allclose(affine @ center, found.geometry.affine_lps() @ center, atol=1e-9)
    corners = [(x, y, z, 1) for x in (0, 19) for y in (0, 29) for z in (0, 8)]
    gaps = [np.linalg.norm((affine - found.geometry.affine_lps()) @ corner) for corner in corners]
    assert found.moved_mm == pytest.approx(max(gaps), abs=1e-9)


def test_axes_at_right_angles_do_not_move() -> None:
    found = squared(GRID.affine_lps(), GRID.size_xyz)
    assert found.is_rounding
    assert found.moved_mm < 1e-9
    with pytest.raises(np.linalg.LinAlgError):
        squared(np.diag([1.0, 0.0, 1.0, 1.0]), (3, 3, 3))


def test_a_grid_in_another_order_of_axes_is_told_from_another_grid() -> None:
    # The axes x, y, z of the grid as z, -x, y: from its last voxel along x at 10 + 199 * 0.5 = 109.5 mm.
    turned = Geometry(
        (3, 200, 4), (4.0, 0.5, 0.75), (109.5, -20.0, 30.0), (0.0, -1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)
    )
    assert turned.is_turned(GRID)
    assert GRID.is_turned(turned)
    assert not turned.same_grid(GRID)
    assert not GRID.is_turned(GRID)
    assert not moved(origin_xyz_mm=(10.0, -20.0, 31.0)).is_turned(GRID)
    assert not moved(size_xyz=(4, 200, 3)).is_turned(GRID)
    assert not moved(size_xyz=(200, 4, 2)).is_turned(GRID)
