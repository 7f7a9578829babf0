"""Fitting a volume to the common grid: resize by one in-plane factor, then centred padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput


def fitted_shape(shape: Sequence[int], grid: Sequence[int]) -> tuple[int, int, int]:
    """Shape of a volume after its resize, before padding.

    One factor serves both in-plane axes, the largest with which the slice fits
    the grid, so no case is distorted in its plane. Slices are resampled only
    where there are more than the grid has.

    Parameters
    ----------
    shape
        Voxels (slice, y, x).
    grid
        Voxels of the common grid (slice, y, x).

    Raises
    ------
    BadInput
        Where a side is not at least 1.
    """
    if min(*shape, *grid) < 1:
        raise BadInput(f"A volume of {tuple(shape)} cannot be fitted to a grid of {tuple(grid)} (slice, y, x).")
    slices, height, width = shape
    factor = min(grid[1] / height, grid[2] / width)
    return (
        min(slices, grid[0]),
        min(grid[1], max(1, round(height * factor))),
        min(grid[2], max(1, round(width * factor))),
    )


def slice_axis(shape: Sequence[int], spacing_mm: Sequence[float]) -> int:
    """Axis from slice to slice: that of the largest spacing, and of the fewest voxels where spacings are alike.

    Parameters
    ----------
    shape
        Voxels of a volume.
    spacing_mm
        Spacing in mm, in the same order; to 0.001 mm.
    """
    return max(range(len(shape)), key=lambda axis: (round(float(spacing_mm[axis]), 3), -shape[axis]))


def pad_to_grid(array: npt.NDArray[np.generic], grid: Sequence[int], value: float = 0.0) -> npt.NDArray[np.generic]:
    """Pad the last three axes to the grid, the content centred, exactly as nnU-Net's predictor pads.

    Parameters
    ----------
    array
        Shape (..., slice, y, x), no side larger than the grid.
    grid
        Voxels (slice, y, x).
    value
        Intensity of the padding.
    """
    from acvl_utils.cropping_and_padding.padding import pad_nd_image  # imports torch, which little else here needs

    padded: npt.NDArray[np.generic] = pad_nd_image(array, tuple(grid), "constant", {"constant_values": value})
    return padded
