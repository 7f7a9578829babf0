"""The grid of a volume in physical space, and the rule by which two grids are the same.

Arrays are (z, y, x); everything named `_xyz` is in SimpleITK's order (x, y, z). Physical space is LPS, in millimeters.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

SAME_GRID_SPACINGS = 0.1
"""Two grids are the same if no voxel center moves by more than this share of the smallest spacing."""

ROUNDING_MM = 1e-3
"""Grids that differ by less are equal; a larger difference within the tolerance is the rounding of a header."""

MOST_MOVED_VOXELS = 0.1
"""Axes are squared, or slices put on one grid, if no corner moves by more than this share of a voxel."""


@dataclass(frozen=True)
class Geometry:
    """The grid of a 3D volume in physical space.

    Parameters
    ----------
    size_xyz
        Voxels per axis.
    spacing_xyz_mm
        Distance of voxel centers per axis, in mm.
    origin_xyz_mm
        Center of the first voxel, LPS, in mm.
    direction
        Row-major 3x3 matrix whose columns are the unit vectors of x, y and z.
    """

    size_xyz: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: Any) -> Geometry:
        """Geometry of a 3D SimpleITK image, or of a SimpleITK reader that knows its header."""
        return cls(
            tuple(image.GetSize()), tuple(image.GetSpacing()), tuple(image.GetOrigin()), tuple(image.GetDirection())
        )

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, in ml."""
        return float(np.prod(self.spacing_xyz_mm)) / 1000.0

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the array that belongs to this grid."""
        x, y, z = self.size_xyz
        return z, y, x

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        """Spacing in array order, in mm."""
        x, y, z = self.spacing_xyz_mm
        return z, y, x

    def affine_lps(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from index (x, y, z, 1) to LPS in mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_xyz_mm)
        affine[:3, 3] = self.origin_xyz_mm
        return affine

    def gap_mm(self, other: Geometry) -> float:
        """Largest distance between the places of one voxel center on two grids, in mm; infinite if the sizes differ."""
        if self.size_xyz != other.size_xyz:
            return math.inf
        return float(np.linalg.norm(corner_places(self.affine_lps() - other.affine_lps(), self.size_xyz), axis=0).max())

    def same_grid(self, other: Geometry) -> bool:
        """Whether two grids are the same: no voxel center moves by more than a tenth of the smallest spacing."""
        smallest = min(*self.spacing_xyz_mm, *other.spacing_xyz_mm)
        return self.gap_mm(other) <= SAME_GRID_SPACINGS * smallest

    def is_turned(self, other: Geometry) -> bool:
        """Whether another grid has the same voxels in space with its axes in another order or direction."""
        if self.same_grid(other) or sorted(self.size_xyz) != sorted(other.size_xyz):
            return False
        ours, theirs = (corner_places(grid.affine_lps(), grid.size_xyz) for grid in (self, other))
        gaps_mm = np.linalg.norm(ours[:, :, None] - theirs[:, None, :], axis=0)
        smallest = min(*self.spacing_xyz_mm, *other.spacing_xyz_mm)
        return bool(gaps_mm.min(axis=1).max() <= SAME_GRID_SPACINGS * smallest)

    def describe(self) -> str:
        """One line for messages: size, spacing, origin, direction."""
        spacing, origin, direction = (
            " ".join(f"{v:.4g}" for v in values) for values in (self.spacing_xyz_mm, self.origin_xyz_mm, self.direction)
        )
        size = "x".join(str(n) for n in self.size_xyz)
        return f"size {size}, spacing {spacing} mm, origin {origin} mm, direction {direction}"


def corner_places(affine: npt.NDArray[np.float64], size_xyz: Sequence[int]) -> npt.NDArray[np.float64]:
    """Where a matrix takes the eight corner voxels of a grid, shape (3, 8)."""
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size_xyz], indexing="ij")).reshape(3, -1)
    moved: npt.NDArray[np.float64] = (affine @ np.vstack([corners, np.ones(corners.shape[1])]))[:3]
    return moved


def difference(one: Geometry, other: Geometry) -> str:
    """How two grids differ, for a message that says that they are not the same.

    Returns
    -------
    words
        Such as "12x48x40 voxels instead of 9x48x40 (x, y, z)" or "voxels up to 1.62 mm apart".
    """
    if one.size_xyz != other.size_xyz:
        sizes = ("x".join(map(str, grid.size_xyz)) for grid in (one, other))
        return "{} voxels instead of {} (x, y, z)".format(*sizes)
    gap_mm, smallest_mm = one.gap_mm(other), min(*one.spacing_xyz_mm, *other.spacing_xyz_mm)
    return f"voxels up to {gap_mm:.3g} mm apart, more than a tenth of the smallest spacing ({smallest_mm:.3g} mm)"


def rounding_note(one: Geometry, other: Geometry) -> str:
    """A sentence on two grids that are the same but for the rounding of their headers; empty if they are equal."""
    gap_mm = one.gap_mm(other)
    if gap_mm <= ROUNDING_MM:
        return ""
    return f"their headers place voxels up to {gap_mm:.3f} mm apart, which was taken for rounding"


@dataclass(frozen=True)
class Squared:
    """The nearest grid with right angles.

    Parameters
    ----------
    geometry
        The grid; its center is that of the given axes.
    moved_voxels, moved_mm
        How far the farthest corner moves, in voxels along one axis and in mm.
    """

    geometry: Geometry
    moved_voxels: float
    moved_mm: float

    @property
    def is_rounding(self) -> bool:
        """Whether the given axes are at right angles but for rounding."""
        return self.moved_voxels <= MOST_MOVED_VOXELS


def squared(affine_lps: npt.NDArray[np.float64], size_xyz: tuple[int, int, int]) -> Squared:
    """Find the grid with right angles that is nearest to three axes.

    Parameters
    ----------
    affine_lps
        4x4 matrix from index (x, y, z, 1) to LPS in mm; its axes need not be at right angles.
    size_xyz
        Voxels per axis.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the axes do not span space.

    Source
    ------
    The orthogonal factor of the polar decomposition is the orthogonal matrix nearest to the unit vectors of the axes
    (Higham, SIAM J. Sci. Stat. Comput. 7:1160-1174, 1986).
    """
    axes = affine_lps[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    if not (np.isfinite(axes).all() and spacing.min() > 0):
        raise np.linalg.LinAlgError("an axis has no length")
    left, _, right = np.linalg.svd(axes / spacing)
    direction = left @ right
    center = (np.asarray(size_xyz) - 1) / 2
    origin = affine_lps[:3, 3] + axes @ center - (direction * spacing) @ center
    geometry = Geometry(size_xyz, _three(spacing), _three(origin), tuple(float(v) for v in direction.ravel()))
    moved = corner_places(affine_lps - geometry.affine_lps(), size_xyz)
    in_voxels = np.linalg.inv(axes) @ moved
    return Squared(geometry, float(np.abs(in_voxels).max()), float(np.linalg.norm(moved, axis=0).max()))


def _three(values: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in values)
    return x, y, z
