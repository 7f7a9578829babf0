"""Filling of contours against matplotlib's test of points in a polygon."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.path import Path as Polygon

from nnunet_spine.dataset_conversion.contour_filling import fill
from nnunet_spine.grids import Geometry

GRID = Geometry((40, 40, 6), (0.7, 0.9, 4.0), (-14.0, -18.0, 3.0), tuple(np.eye(3).ravel()))  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_any_polygon_is_filled_as_matplotlib_fills_it(seed: int) -> None:
    rng = np.random.default_rng(seed)  # corners in any order: most of these polygons cross themselves
    contours = [np.column_stack([rng.uniform(-9, 9, (n, 2)), np.full(n, 7.0)]) for n in (3, 4, 12)]
    mask, _ = fill([contours], GRID)
    (origin_x, origin_y, _), (step_x, step_y, _) = mask.geometry.origin_xyz_mm, mask.geometry.spacing_xyz_mm
    _, rows, columns = np.indices(mask.array.shape).reshape(3, -1)
    centres = np.column_stack([origin_x + columns * step_x, origin_y + rows * step_y])
    inside = np.zeros(len(centres), bool)
    for contour in contours:
        inside ^= Polygon(np.vstack([contour, contour[:1]])[:, :2]).contains_points(centres)
    assert 0 < inside.sum() < inside.size
    assert np.array_equal(mask.array.ravel().astype(bool), inside)
    assert mask.geometry.spacing_xyz_mm == pytest.approx((0.14, 0.18, 4.0))


def test_large_contours_are_filled_quickly() -> None:
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    circle = np.column_stack([140 * np.cos(angles), 140 * np.sin(angles), np.zeros(4000)])
    grid = Geometry((512, 512, 2), (0.6, 0.6, 4.0), (-153.0, -153.0, 0.0), GRID.direction)
    mask, _ = fill(
        [[circle, circle + np.array([0.0, 0.0, 4.0])]], grid
    )  # each pixel with each edge would take a minute
    assert mask.array.sum() * mask.geometry.voxel_ml == pytest.approx(2 * 4 * np.pi * 140**2 / 1000, rel=1e-3)
