"""Slices as pictures: which slices to show, the grey picture, the outline of a mask. Pure functions on arrays.

Arrays are (z, y, x) of a stored sagittal case: axis 0 is the slice, y grows to inferior, x to posterior.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import contourpy
import numpy as np
import numpy.typing as npt
from PIL import Image

MARGIN_MM = 40.0
"""Shown around the masks, for orientation."""

SMALLEST_SIDE_MM = 160.0
LONGEST_SIDE_PIXELS = 288
GREY_LEVELS = 64
"""A sixth bit of noise is not seen, and would make the report a third larger."""

WINDOW_PERCENTILES = (1.0, 99.5)


@dataclass(frozen=True)
class Window:
    """In-plane part of a volume, in voxels; `stop` is exclusive."""

    y_start: int
    y_stop: int
    x_start: int
    x_stop: int

    def of(self, plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """That part of a slice (y, x)."""
        return plane[self.y_start : self.y_stop, self.x_start : self.x_stop]

    def size_mm(self, spacing_yx_mm: tuple[float, float]) -> tuple[float, float]:
        """Height and width, in mm."""
        return (
            (self.y_stop - self.y_start) * spacing_yx_mm[0],
            (self.x_stop - self.x_start) * spacing_yx_mm[1],
        )


def largest_slice(mask: npt.NDArray[np.bool_]) -> int | None:
    """Index on axis 0 of the slice with the largest area, the first where several are equal; None for an empty mask."""
    areas = np.count_nonzero(mask, axis=(1, 2))
    return int(np.argmax(areas)) if areas.any() else None


def window_around(
    masks: Sequence[npt.NDArray[np.bool_]], shape_yx: tuple[int, int], spacing_yx_mm: tuple[float, float]
) -> Window:
    """Smallest window that holds all masks with a margin, at least `SMALLEST_SIDE_MM` a side where the image has it.

    Parameters
    ----------
    masks
        Boolean arrays (z, y, x); the whole slice is taken where all are empty.
    shape_yx, spacing_yx_mm
        Of the image.
    """
    seen = np.zeros(shape_yx, dtype=bool)
    for mask in masks:
        seen |= mask.any(axis=0)
    if not seen.any():
        return Window(0, shape_yx[0], 0, shape_yx[1])
    y_start, y_stop = _side(np.flatnonzero(seen.any(axis=1)), shape_yx[0], spacing_yx_mm[0])
    x_start, x_stop = _side(np.flatnonzero(seen.any(axis=0)), shape_yx[1], spacing_yx_mm[1])
    return Window(y_start, y_stop, x_start, x_stop)


def grey_png(plane: npt.NDArray[Any], low: float, high: float) -> bytes:
    """PNG of a slice, `low` black and `high` white, scaled down to `LONGEST_SIDE_PIXELS` where it is larger.

    Parameters
    ----------
    plane
        Array (y, x).
    low, high
        Intensities; see `grey_range`.
    """
    scaled = np.clip((plane.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
    levels = np.rint(np.rint(scaled * (GREY_LEVELS - 1)) * 255 / (GREY_LEVELS - 1))
    picture = Image.fromarray(levels.astype(np.uint8))
    stream = io.BytesIO()
    fitted(picture, Image.Resampling.BOX).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def fitted(picture: Image.Image, resampling: Image.Resampling) -> Image.Image:
    """The picture, scaled down to `LONGEST_SIDE_PIXELS` where it is larger."""
    factor = LONGEST_SIDE_PIXELS / max(picture.size)
    if factor >= 1:
        return picture
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, resampling)


def grey_range(array: npt.NDArray[Any]) -> tuple[float, float]:
    """Intensities to show black and white: percentiles of every fourth voxel of a volume (z, y, x)."""
    low, high = np.percentile(array[:, ::2, ::2], WINDOW_PERCENTILES)
    return float(low), float(high)


def outline_path(plane: npt.NDArray[np.bool_], spacing_yx_mm: tuple[float, float]) -> str:
    """Outline of a mask as the data of an SVG path, in mm from the corner of the first voxel; "" for an empty mask.

    Parameters
    ----------
    plane
        Boolean array (y, x).
    spacing_yx_mm
        Of the array.
    """
    padded = np.pad(plane, 1).astype(np.float64)
    lines = contourpy.contour_generator(z=padded, line_type=contourpy.LineType.Separate).lines(0.5)
    # A vertex is an index into the padded array; voxel i is centred at (i + 0.5) times the spacing.
    to_mm = np.array([spacing_yx_mm[1], spacing_yx_mm[0]])
    parts = []
    for line in lines:
        points = (np.asarray(line) - 0.5) * to_mm
        parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points[:-1]) + "Z")
    return "".join(parts)


def _side(indices: npt.NDArray[np.intp], size: int, spacing_mm: float) -> tuple[int, int]:
    margin = round(MARGIN_MM / spacing_mm)
    start, stop = int(indices[0]) - margin, int(indices[-1]) + 1 + margin
    short = max(0, round(SMALLEST_SIDE_MM / spacing_mm) - (stop - start))
    start, stop = start - short // 2, stop + short - short // 2
    # A window that leaves the image is pushed back before it is cut, so that it keeps its size where it can.
    shift = max(0, -start) - max(0, stop - size)
    return max(0, start + shift), min(size, stop + shift)
