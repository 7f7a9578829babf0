"""Sampling a volume on a coarse grid, and telling tissue from air by the noise level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

SAMPLE_SPACING_MM = 3.0
"""Least distance of samples: fields are smooth over centimetres."""

MOST_SAMPLES = 3500
"""Beyond this the distance grows: more samples cost time and tell no more of a smooth field."""

DARK_SHARE = 0.05
"""Share of the darkest samples that are looked at for air."""

AIR_MEAN_TO_SD = 3.5
"""Air is noise alone: mean over SD is 1.91 for Rayleigh noise, 2.7 after gamma 0.7; tissue has more."""

RAYLEIGH_MEAN = 1.2533
"""Mean of Rayleigh noise over its sigma: sqrt(pi/2)."""

TISSUE_FROM_SIGMAS = 2.2
"""Samples below this many noise sigmas are air or carry no signal."""

NO_AIR_QUANTILE = 0.01
"""Without air in view, only this share of the darkest samples is left out."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a volume on a regular coarse grid.

    Parameters
    ----------
    indices
        Positions along z, y and x, in voxels.
    values
        Mean of the 3x3 neighbours in the plane, shape (nz, ny, nx).
    tissue
        Whether a sample is tissue, the same shape.
    noise_sigma
        Estimated noise of one voxel; 0 where no air is in view.
    """

    indices: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]
    values: npt.NDArray[np.float64]
    tissue: npt.NDArray[np.bool_]
    noise_sigma: float


def sample(image: npt.NDArray[np.float32], spacing_mm: Sequence[float], *, zero: float = 0.0) -> Samples:
    """Sample a volume on a coarse, centred grid and find tissue.

    Parameters
    ----------
    image
        Intensities at or above `zero`, shape (z, y, x), at least 4 voxels on each axis.
    spacing_mm
        Spacing (z, y, x), in mm.
    zero
        Intensity that counts as 0.
    """
    strides = _strides(image.shape, spacing_mm)
    indices = tuple(_centred(n, stride) for n, stride in zip(image.shape, strides, strict=True))
    # float64: sums over neighbours must not overflow where the image uses the whole range of float32.
    neighbours = np.stack(
        [
            image[np.ix_(indices[0], indices[1] + dy, indices[2] + dx)].astype(np.float64) - zero
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
    )
    values = neighbours.mean(axis=0)
    sigma = _noise_sigma(values, neighbours.std(axis=0, ddof=1))
    positive = values[values > 0]
    if sigma > 0:
        least = TISSUE_FROM_SIGMAS * sigma
    else:
        least = float(np.quantile(positive, NO_AIR_QUANTILE)) if positive.size else np.inf
    return Samples((indices[0], indices[1], indices[2]), values, values > max(least, 0.0), sigma)


def _strides(shape: Sequence[int], spacing_mm: Sequence[float]) -> list[int]:
    distance = SAMPLE_SPACING_MM
    while True:
        strides = [max(1, round(distance / float(s))) for s in spacing_mm]
        if prod(_centred(n, stride).size for n, stride in zip(shape, strides, strict=True)) <= MOST_SAMPLES:
            return strides
        distance *= 1.03


def _centred(length: int, stride: int) -> npt.NDArray[np.intp]:
    """Positions from 1 to length - 2, `stride` apart, the same counted from either end.

    A flipped axis then meets the same voxels. On an axis without a middle voxel, the two positions beside the middle
    are an odd number apart, so an even stride is one less there.
    """
    if length % 2:
        before = np.arange((length - 1) // 2, 0, -stride, dtype=np.intp)
        return np.concatenate([before[:0:-1], length - 1 - before])
    half_gap = (stride - 1) // 2 + 1
    before = np.arange(length // 2 - half_gap, 0, -stride, dtype=np.intp)
    if before.size == 0:
        before = np.ones(1, np.intp)
    return np.concatenate([before[::-1], length - 1 - before])


def _noise_sigma(values: npt.NDArray[np.float64], spreads: npt.NDArray[np.float64]) -> float:
    """Noise of a voxel from the darkest samples, or 0 where these are no air."""
    inside = values > 0
    if not inside.any():
        return 0.0
    dark = inside & (values <= np.quantile(values[inside], DARK_SHARE))
    mean, spread = float(np.median(values[dark])), float(np.median(spreads[dark]))
    if spread <= 0 or mean / spread > AIR_MEAN_TO_SD:
        return 0.0
    return mean / RAYLEIGH_MEAN
