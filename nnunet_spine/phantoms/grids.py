"""The grids of a study, and the points that a voxel averages over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_spine.grids import Geometry
from nnunet_spine.phantoms.fields import FloatArray, float32
from nnunet_spine.phantoms.model import GridSpec

_DECIMALS = 6
"""Decimals of positions and directions: what fits into a DICOM decimal string of 16 characters."""

SUBSAMPLES_ZYX = (3, 2, 2)
"""Points per voxel and axis that partial volume is computed from."""

AXIAL_MM = 156.0
AXIAL_PIXEL_MM = 1.4
AXIAL_SPACING_MM = 5.0
AXIAL_THICKNESS_MM = 4.0
AXIAL_SLICES = 8


@dataclass(frozen=True)
class SeriesGrid:
    """Grid of a series in the scanner's frame (LPS), slices in the order of their instance numbers.

    Parameters
    ----------
    geometry
        The grid; left-handed where instance numbers run against the cross product of rows and columns.
    thickness_mm
        Slice thickness.
    """

    geometry: Geometry
    thickness_mm: float


@dataclass(frozen=True, eq=False)
class SlicePoints:
    """Sample points of one slice in the body frame, flat arrays in mm; `rows` and `columns` of voxels."""

    x: FloatArray
    y: FloatArray
    z: FloatArray
    rows: int
    columns: int
    subsamples_zyx: tuple[int, int, int]

    def average(self, values: npt.NDArray[np.generic]) -> FloatArray:
        """Mean over the points of each voxel, as (rows, columns)."""
        n_z, n_y, n_x = self.subsamples_zyx
        blocks = values.reshape(n_z, self.rows, n_y, self.columns, n_x)
        return float32(blocks.mean(axis=(0, 2, 4), dtype=np.float32))


def sagittal_grid(grid: GridSpec) -> SeriesGrid:
    """Sagittal grid: rows to posterior, columns to inferior, slices either way across."""
    turn, tilt = np.deg2rad([grid.turn_degrees, grid.tilt_degrees])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    turned = about_z @ about_y
    across = turned @ [-1.0 if grid.left_to_right else 1.0, 0, 0]
    direction = np.column_stack([turned @ [0.0, 1, 0], turned @ [0.0, 0, -1], across])
    spacing = (grid.pixel_mm, grid.pixel_mm, grid.slice_spacing_mm)
    size = (grid.columns, grid.rows, grid.slices)
    return SeriesGrid(_centred(size, spacing, direction, np.array(grid.isocentre_mm)), grid.slice_thickness_mm)


def axial_grid(
    grid: GridSpec, *, along_mm: float, canal_y_mm: float, width_mm: float = AXIAL_MM, height_mm: float = AXIAL_MM
) -> SeriesGrid:
    """Axial grid of a few slices, from superior to inferior.

    Parameters
    ----------
    grid
        The sagittal grid, whose height is not exceeded.
    along_mm, canal_y_mm
        z of the middle slice, and y of the middle of each slice.
    width_mm, height_mm
        Size left-right and AP.
    """
    half_height = grid.rows * grid.pixel_mm / 2
    slices = min(AXIAL_SLICES, int(2 * half_height / AXIAL_SPACING_MM))
    reach = max(half_height - slices * AXIAL_SPACING_MM / 2, 0.0)
    centre = np.array([0.0, canal_y_mm, np.clip(along_mm, -reach, reach)]) + grid.isocentre_mm
    direction = np.column_stack([[1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]])
    size = (int(width_mm / AXIAL_PIXEL_MM), int(height_mm / AXIAL_PIXEL_MM), slices)
    spacing = (AXIAL_PIXEL_MM, AXIAL_PIXEL_MM, AXIAL_SPACING_MM)
    return SeriesGrid(_centred(size, spacing, direction, centre), AXIAL_THICKNESS_MM)


def slice_points(
    grid: SeriesGrid, origin_mm: tuple[float, float, float], *, subsamples_zyx: tuple[int, int, int] = SUBSAMPLES_ZYX
) -> Iterator[SlicePoints]:
    """Sample points of each slice in turn.

    Parameters
    ----------
    grid
        The series.
    origin_mm
        The body frame's origin in the scanner's frame.
    subsamples_zyx
        Points per voxel across the slice's thickness, along columns and along rows.
    """
    geometry = grid.geometry
    columns, rows, slices = geometry.size_xyz
    n_z, n_y, n_x = subsamples_zyx
    affine = geometry.affine_lps()
    share = grid.thickness_mm / geometry.spacing_xyz_mm[2]
    across = ((np.arange(n_z) + 0.5) / n_z - 0.5) * share
    j = (np.arange(rows * n_y) + 0.5) / n_y - 0.5
    i = (np.arange(columns * n_x) + 0.5) / n_x - 0.5
    for k in range(slices):
        x, y, z = (
            (
                affine[axis, 3]
                - origin_mm[axis]
                + affine[axis, 2] * (k + across)[:, None, None]
                + affine[axis, 1] * j[None, :, None]
                + affine[axis, 0] * i[None, None, :]
            )
            .astype(np.float32)
            .ravel()
            for axis in range(3)
        )
        yield SlicePoints(x, y, z, rows, columns, subsamples_zyx)


def _centred(
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    direction: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
) -> Geometry:
    direction = direction.round(_DECIMALS)
    half = (np.asarray(size) - 1) / 2 * np.asarray(spacing)
    origin = (centre - direction @ half).round(4)
    return Geometry(size, spacing, _triple(origin), tuple(float(v) + 0.0 for v in direction.ravel()))


def _triple(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
