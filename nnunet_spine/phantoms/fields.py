"""Smooth random fields over physical space, the same wherever and on whatever grid they are sampled."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]

_PERIOD = 32


def float32(values: npt.ArrayLike) -> FloatArray:
    """`values` as an array of single precision."""
    return np.asarray(values, np.float32)


@lru_cache(maxsize=64)
def _lattice(seed: int, stream: int) -> FloatArray:
    """Periodic lattice of smoothed white noise with mean 0 and standard deviation 1."""
    white = np.random.default_rng([seed, stream]).standard_normal((_PERIOD,) * 3)
    smooth = ndimage.gaussian_filter(white, 0.8, mode="wrap")
    return float32((smooth - smooth.mean()) / smooth.std())


def smooth_noise(
    x: FloatArray, y: FloatArray, z: FloatArray, *, seed: int, stream: int, scale_mm: tuple[float, float, float]
) -> FloatArray:
    """Noise of about unit variance at points in space.

    Parameters
    ----------
    x, y, z
        Coordinates in mm, of one shape.
    seed, stream
        Choose the field.
    scale_mm
        Distance of lattice points along x, y and z: features are about twice as large.

    Returns
    -------
    Array of the shape of `x`.
    """
    where = np.stack([x / scale_mm[0], y / scale_mm[1], z / scale_mm[2]])
    return float32(ndimage.map_coordinates(_lattice(seed, stream), where, order=1, mode="grid-wrap", output=np.float32))


def level_noise(level: FloatArray, *, seed: int, stream: int) -> FloatArray:
    """A standard normal number for each vertebra.

    Parameters
    ----------
    level
        Number of the vertebra, any shape; whole, and may be negative.
    seed, stream
        Choose the numbers.
    """
    table = np.random.default_rng([seed, stream]).standard_normal(_PERIOD).astype(np.float32)
    return float32(table[level.astype(np.int64) % _PERIOD])
