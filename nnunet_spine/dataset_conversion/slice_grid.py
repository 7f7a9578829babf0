"""The one grid of the slices of a series: what their headers agree on, and how far each is from it.

Scanners write directions and places with rounding that differs from slice to slice. Whatever the slices share is
compared here, by where it puts the corners of each slice: up to a tenth of a voxel is rounding, and more is a refusal
that names the figure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.dicom_headers import read_header
from nnunet_spine.dataset_conversion.frame_headers import frame_headers
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.grids import MOST_MOVED_VOXELS, ROUNDING_MM, Geometry

Floats = npt.NDArray[np.float64]

SAME_PLACE_MM = 0.01
"""Slices closer than this along their normal lie at one place."""

MINIMUM_SLICES = 3

FARTHEST_MM = 1e4
"""Larger coordinates lie outside any scanner."""

SMALLEST_MM, LARGEST_MM = 1e-3, 1e3
"""Sides of a voxel."""

RIGHT_ANGLE_TOLERANCE = 1e-2
"""Largest difference of the products of row and column direction from those of unit vectors at right angles."""

AGAIN = "Export the whole series again"


@dataclass(frozen=True, eq=False)
class SlicePlaces:
    """What the headers of slices say of their place.

    Parameters
    ----------
    orientations
        Shape (slices, 6): row and column direction cosines, LPS.
    positions
        Shape (slices, 3): center of the first voxel, LPS, in mm.
    spacings
        Shape (slices, 2): distance of rows and of columns, in mm.
    rows, columns
        Voxels of each slice.
    """

    orientations: Floats
    positions: Floats
    spacings: Floats
    rows: int
    columns: int

    @classmethod
    def of(cls, headers: Sequence[Any]) -> SlicePlaces:
        """Places by the headers of all slices.

        Raises
        ------
        Unusable
            If a slice has no place, or the slices have different numbers of voxels.
        """
        found = [
            [_numbers(header, keyword, count) for header in headers]
            for keyword, count in (("ImageOrientationPatient", 6), ("ImagePositionPatient", 3), ("PixelSpacing", 2))
        ]
        names = ("orientation of six numbers", "position of three numbers", "pixel spacing of two numbers")
        for values, name in zip(found, names, strict=True):
            missing = sum(value is None for value in values)
            if missing or not values:
                raise Unusable(f"{missing} of {len(headers)} slices have no {name}", "one in every slice", AGAIN)
        sizes = {(_whole(header, "Rows"), _whole(header, "Columns")) for header in headers}
        if len(sizes) > 1:
            listed = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
            raise Unusable(f"slices of {len(sizes)} sizes (rows x columns: {listed})", "slices of one size", AGAIN)
        ((rows, columns),) = sizes
        orientations, positions, spacings = (np.array(values, dtype=float) for values in found)
        return cls(orientations, positions, spacings, rows, columns)


def _numbers(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Numbers of an attribute, whatever their size; None if there are not that many."""
    try:
        values = tuple(float(v) for v in header.get(keyword) or ())
    except (TypeError, *HEADER_ERRORS):
        return None
    return values if len(values) == count else None


def _whole(header: Any, keyword: str) -> int:
    try:
        return int(header.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


@dataclass(frozen=True, eq=False)
class SliceGrid:
    """The grid of a stack of slices.

    Parameters
    ----------
    geometry
        x runs along a row, y down a column, z from slice to slice along their normal.
    order
        Numbers of the slices along the normal.
    moved_voxels, moved_mm
        How far the corner of a slice is, at most, from where its own header places it.
    """

    geometry: Geometry
    order: npt.NDArray[np.intp]
    moved_voxels: float
    moved_mm: float

    def notes(self) -> tuple[str, ...]:
        """A note if the slices' headers differ by rounding that can be seen."""
        if self.moved_mm <= 10 * ROUNDING_MM:
            return ()
        rounding = f"up to {self.moved_mm:.3f} mm ({self.moved_voxels:.3f} of a voxel) at a corner"
        return (f"the headers of the slices differ by rounding: {rounding}",)


def check_headers(files: Sequence[Path], frames: Sequence[Sequence[int]] = ()) -> SliceGrid:
    """Grid of a series without reading its pixels; the parameters and errors are those of `read_series`."""
    headers: list[Any] = []
    try:
        for index, path in enumerate(files):
            header = read_header(path)
            by_frame = dict(frame_headers(header)) if frames else {}
            headers += [by_frame[number] for number in frames[index]] if frames else [header]
    except (InvalidDicomError, *HEADER_ERRORS) as failure:
        raise Unusable("the header of a slice cannot be read", "a place in every slice", "Export it again") from failure
    return fit_grid(SlicePlaces.of(headers))


def check_numbers(orientations: Floats, positions: Floats) -> None:
    """Check that directions are two unit vectors at right angles, and that places are in a scanner.

    Parameters
    ----------
    orientations, positions
        As in `SlicePlaces`; `Unusable` if they are not.
    """
    remedy = "Export the series again"
    if not (np.abs(positions) <= FARTHEST_MM).all():
        raise Unusable("a position that is not in a scanner", f"coordinates within {FARTHEST_MM:.0f} mm", remedy)
    vectors = np.where(np.isfinite(orientations), orientations, 0.0).clip(-2.0, 2.0).reshape(-1, 2, 3)
    products = vectors @ vectors.transpose(0, 2, 1)
    if np.abs(products - np.eye(2)).max() > RIGHT_ANGLE_TOLERANCE:
        raise Unusable("an orientation that no image has", "two unit vectors at right angles", remedy)


def fit_grid(places: SlicePlaces) -> SliceGrid:
    """Find the grid that the slices of a stack share.

    Directions and spacings are the medians of the slices'. The distance of slices is the median of the slopes between
    any two of them (Theil, 1950), which neither rounding nor one slice out of place moves.

    Raises
    ------
    Unusable
        If slices are too few, missing, doubled or unevenly spaced, or differ in direction, spacing or place by more
        than a tenth of a voxel at a corner.
    """
    count = len(places.positions)
    if count < MINIMUM_SLICES:
        raise Unusable(f"a series of {count} slices", f"at least {MINIMUM_SLICES} slices", AGAIN)
    check_numbers(places.orientations, places.positions)
    row, column = _directions(places.orientations)
    normal = np.cross(row, column)
    along = places.positions @ normal
    order = np.argsort(along, kind="stable")
    _check_gaps(along[order])
    steps = np.arange(count)
    slice_mm = _slope(along[order])
    first_mm = float(np.median(along[order] - slice_mm * steps))
    spacing = np.median(places.spacings, axis=0)
    _check_sizes(np.array([*spacing, slice_mm]))
    in_plane = np.array([np.median(places.positions @ axis) for axis in (row, column)])
    origin = row * in_plane[0] + column * in_plane[1] + normal * first_mm
    geometry = Geometry(
        (places.columns, places.rows, count),
        (float(spacing[1]), float(spacing[0]), slice_mm),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(v) for v in np.column_stack([row, column, normal]).ravel()),
    )
    moved = _check_corners(places, order, geometry)
    return SliceGrid(geometry, order, *moved)


def _directions(orientations: Floats) -> tuple[Floats, Floats]:
    """Row and column direction of the stack: the medians, made two unit vectors at right angles."""
    row, column = np.median(orientations, axis=0).reshape(2, 3)
    row = row / np.linalg.norm(row)
    column = column - row * (row @ column)
    return row, column / np.linalg.norm(column)


def _slope(along: Floats) -> float:
    """Median slope of sorted places over their numbers."""
    i, j = np.triu_indices(len(along), 1)
    return float(np.median((along[j] - along[i]) / (j - i)))


def _check_gaps(along: Floats) -> None:
    """Refuse slices that are doubled, missing or uneven; `along` is sorted, in mm."""
    gaps = np.diff(along)
    doubled = int((gaps <= SAME_PLACE_MM).sum())
    if doubled:
        raise Unusable(f"{doubled} slices lie at the place of another one", "one slice at each place", AGAIN)
    gap = float(np.median(gaps))
    steps = np.rint(gaps / gap)
    missing = int(np.maximum(steps - 1, 0).sum())
    tolerance = MOST_MOVED_VOXELS * gap
    if missing and np.all(np.abs(gaps - steps * gap) <= np.maximum(steps, 1) * tolerance):
        raise Unusable(
            f"{missing} slices missing inside a series of {len(along)}, "
            f"where the gap of {gap:.2f} mm widens to {gaps.max():.2f} mm",
            "one slice at each place",
            AGAIN,
        )
    numbers = np.arange(len(along))
    slice_mm = _slope(along)
    off = along - slice_mm * numbers
    farthest = float(np.abs(off - np.median(off)).max())
    if slice_mm <= 0 or farthest > MOST_MOVED_VOXELS * slice_mm:
        raise Unusable(
            f"slice gaps from {gaps.min():.2f} to {gaps.max():.2f} mm, which put a slice {farthest / slice_mm:.2f} of "
            "their distance off an even stack",
            f"an even stack, within {MOST_MOVED_VOXELS} of the distance of slices",
            AGAIN,
        )


def _check_sizes(sizes_mm: Floats) -> None:
    if not (np.isfinite(sizes_mm).all() and sizes_mm.min() >= SMALLEST_MM and sizes_mm.max() <= LARGEST_MM):
        raise Unusable(
            f"voxels of {' x '.join(f'{size:.3g}' for size in sizes_mm)} mm",
            f"sizes from {SMALLEST_MM} to {LARGEST_MM:.0f} mm",
            "Export the series again",
        )


def _check_corners(places: SlicePlaces, order: npt.NDArray[np.intp], geometry: Geometry) -> tuple[float, float]:
    """Largest distance of a corner from the grid, in voxels along an axis and in mm; `Unusable` if too large."""
    corners = np.array([(x, y) for x in (0, places.columns - 1) for y in (0, places.rows - 1)], dtype=float)
    affine = geometry.affine_lps()
    index = np.column_stack([corners, np.zeros(len(corners)), np.ones(len(corners))])
    on_grid = (index @ affine[:3].T)[None] + np.arange(len(order))[:, None, None] * affine[:3, 2]
    own = _corners(places.positions, places.orientations, places.spacings, corners)[order]
    moved = own - on_grid
    in_voxels = np.abs(moved @ np.linalg.inv(affine[:3, :3]).T).max()
    if in_voxels > MOST_MOVED_VOXELS:
        raise Unusable(
            f"{_culprit(places, geometry, corners)}, which puts a corner {in_voxels:.2f} of a voxel off one grid",
            f"slices on one grid, within {MOST_MOVED_VOXELS} of a voxel",
            AGAIN,
        )
    return float(in_voxels), float(np.linalg.norm(moved, axis=2).max())


def _corners(positions: Floats, orientations: Floats, spacings: Floats, corners: Floats) -> Floats:
    """Places of corner voxels (column, row) of each slice, shape (slices, corners, 3)."""
    along_row = orientations[:, None, :3] * spacings[:, 1, None, None] * corners[None, :, 0, None]
    down_column = orientations[:, None, 3:] * spacings[:, 0, None, None] * corners[None, :, 1, None]
    return positions[:, None] + along_row + down_column


def _culprit(places: SlicePlaces, geometry: Geometry, corners: Floats) -> str:
    """What differs between the slices, in words: their directions, else their spacing, else their place."""
    extent = corners.max(axis=0)[:, None] * np.median(places.spacings, axis=0)[::-1, None]
    turned = np.abs(places.orientations - np.median(places.orientations, axis=0)).reshape(-1, 2, 3).max(axis=0) * extent
    if turned.max() > MOST_MOVED_VOXELS * min(geometry.spacing_xyz_mm):
        return f"slices whose directions differ by up to {_angle(places.orientations):.2f} degrees"
    stretched = np.abs(places.spacings - np.median(places.spacings, axis=0)).max(axis=0)[::-1] * corners.max(axis=0)
    if (stretched > MOST_MOVED_VOXELS * np.asarray(geometry.spacing_xyz_mm[:2])).any():
        return f"slices whose pixel spacing differs by up to {np.ptp(places.spacings, axis=0).max():.3g} mm"
    in_plane = places.positions @ np.reshape(geometry.direction, (3, 3))[:, :2]
    return f"slices shifted within their plane by up to {np.ptp(in_plane, axis=0).max():.2f} mm"


def _angle(orientations: Floats) -> float:
    """Largest angle between the directions of two slices, in degrees, from the median's."""
    vectors = orientations.reshape(-1, 2, 3)
    middle = np.median(vectors, axis=0)
    cosines = (vectors * middle).sum(axis=2) / np.linalg.norm(vectors, axis=2) / np.linalg.norm(middle, axis=1)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())
