"""Sampling a volume on a coarse grid, and telling tissue from air by the noise level."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_spine.preprocessing.geometry import slice_axis

SAMPLE_SPACING_MM = 4.5
"""Wanted distance of samples: fields are smooth over centimetres."""

MINIMUM_SIDE = 4
"""Voxels that a volume must have on each axis."""

LEAST_POWER = 0.3
"""Least share of its square that a sample keeps when the noise's part is taken off."""

THICK_SLICES = 1.5
"""Slices are thick where the largest spacing is more than this many times the smallest."""

MOST_SAMPLES = 6000
"""Beyond this many in tissue, the distance grows: more samples cost time and tell no more of a smooth field."""

LEAST_SHARE = 0.2
"""Least share of tissue for which the grid is made denser."""

DARK_SHARE = 0.05
"""Share of the darkest samples that are looked at for air."""

AIR_MEAN_TO_SD = 3.5
"""Air is noise alone: mean over SD is 1.91 for Rayleigh noise, 2.7 after gamma 0.7; tissue has more."""

RAYLEIGH_MEAN = 1.2533
"""Mean of Rayleigh noise over its sigma: sqrt(pi/2)."""

TISSUE_FROM_SIGMAS = 2.4
"""Samples below this many noise sigmas are air or carry no signal."""

NO_AIR_QUANTILE = 0.01
"""Without air in view, only this share of the darkest samples is left out."""


Positions = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples of a volume on a regular coarse grid.

    Parameters
    ----------
    indices
        Positions along z, y and x, in voxels.
    values
        Mean of the 3x3 neighbours in the slice, shape (nz, ny, nx); in tissue, what noise adds is taken off.
    tissue
        Whether a sample is tissue, the same shape.
    noise_sigma
        Estimated noise of one voxel; 0 where no air is in view.
    threshold
        Intensity above which a sample is tissue.
    """

    indices: Positions
    values: npt.NDArray[np.float64]
    tissue: npt.NDArray[np.bool_]
    noise_sigma: float
    threshold: float

    @property
    def tissue_share(self) -> float:
        """Share of the samples that are tissue."""
        return float(self.tissue.mean())

    @property
    def logs(self) -> npt.NDArray[np.float64]:
        """Log intensities in tissue, shape (tissue samples,)."""
        return np.asarray(np.log(self.values[self.tissue]), np.float64)

    def in_tissue(self, volume: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values of a volume (z, y, x) at the tissue samples, in the order of `logs`."""
        at_samples: npt.NDArray[np.float32] = volume[np.ix_(*self.indices)][self.tissue]
        return at_samples


def sample_positions(
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    sample_spacing_mm: float = SAMPLE_SPACING_MM,
    most: float = MOST_SAMPLES,
) -> Positions:
    """Positions of the samples along z, y and x, in voxels.

    Parameters
    ----------
    shape
        Voxels (z, y, x), at least `MINIMUM_SIDE` on each axis.
    spacing_mm
        Spacing (z, y, x), in mm.
    sample_spacing_mm
        Wanted distance of samples, in mm; it grows where there would be more than `most`.
    most
        Most positions.
    """
    wanted = np.full(3, sample_spacing_mm, np.float64)
    if max(spacing_mm) > THICK_SLICES * min(spacing_mm):
        # As many samples, but closer from slice to slice: the anatomy of neighbouring slices is alike.
        wanted *= 2 ** (1 / 3)
        wanted[int(np.argmax(spacing_mm))] /= 2
    while True:
        strides = [max(1, round(d / float(s))) for d, s in zip(wanted, spacing_mm, strict=True)]
        z, y, x = (_centred(n, stride) for n, stride in zip(shape, strides, strict=True))
        if z.size * y.size * x.size <= most:
            return z, y, x
        wanted *= 1.1


def sample(
    image: npt.NDArray[np.float32],
    spacing_mm: Sequence[float],
    *,
    zero: float = 0.0,
    sample_spacing_mm: float = SAMPLE_SPACING_MM,
) -> Samples:
    """Sample a volume on a coarse, centred grid and find tissue.

    Parameters
    ----------
    image
        Intensities at or above `zero`, shape (z, y, x), at least `MINIMUM_SIDE` voxels on each axis.
    spacing_mm
        Spacing (z, y, x), in mm.
    zero
        Intensity that counts as 0.
    sample_spacing_mm
        See `sample_positions`.
    """
    indices = sample_positions(image.shape, spacing_mm, sample_spacing_mm)
    samples = _sample_at(indices, image, spacing_mm, zero)
    # Where air fills much of the view, a denser grid leaves as many samples in tissue.
    most = MOST_SAMPLES / max(LEAST_SHARE, samples.tissue_share)
    denser = sample_positions(image.shape, spacing_mm, sample_spacing_mm, most)
    if [along.size for along in denser] == [along.size for along in indices]:
        return samples
    return _sample_at(denser, image, spacing_mm, zero)


def _sample_at(indices: Positions, image: npt.NDArray[np.float32], spacing_mm: Sequence[float], zero: float) -> Samples:
    # float64: sums over neighbours must not overflow where the image uses the whole range of float32.
    neighbours = np.stack(
        [
            image[np.ix_(indices[0] + dz, indices[1] + dy, indices[2] + dx)].astype(np.float64) - zero
            for dz, dy, dx in _in_plane_offsets(image.shape, spacing_mm)
        ]
    )
    # Rounded, so that equal means stay equal in whatever order they were summed, as after a flip.
    values = neighbours.mean(axis=0).astype(np.float32).astype(np.float64)
    sigma = _noise_sigma(values, neighbours.std(axis=0, ddof=1))
    positive = values[values > 0]
    if sigma > 0:
        threshold = TISSUE_FROM_SIGMAS * sigma
    else:
        threshold = float(np.quantile(positive, NO_AIR_QUANTILE)) if positive.size else np.inf
    tissue = values > threshold
    if sigma > 0:
        values = np.where(tissue, _without_noise(neighbours, values, sigma), values)
    return Samples(indices, values, tissue, sigma, threshold)


def _in_plane_offsets(shape: Sequence[int], spacing_mm: Sequence[float]) -> list[tuple[int, int, int]]:
    """Offsets (z, y, x) of a voxel's 3x3 neighbours in its slice, in whatever order the axes are stored."""
    across = slice_axis(shape, spacing_mm)
    z, y, x = ((0,) if axis == across else (-1, 0, 1) for axis in range(3))
    return list(itertools.product(z, y, x))


def _without_noise(
    neighbours: npt.NDArray[np.float64], values: npt.NDArray[np.float64], sigma: float
) -> npt.NDArray[np.float64]:
    """Signal from magnitudes: the mean of their squares is the signal's square and 2 sigma^2.

    Source: Gudbjartsson and Patz, The Rician distribution of noisy MRI data, MRM 34:910-914, 1995.
    """
    power = (neighbours**2).mean(axis=0) - 2 * sigma**2
    signal: npt.NDArray[np.float64] = np.sqrt(np.maximum(power, LEAST_POWER * values**2))
    return signal


def _centred(length: int, stride: int) -> npt.NDArray[np.intp]:
    """Positions from 1 to length - 2, about and at most `stride` apart, the same from both ends.

    A flipped axis then meets the same voxels. An odd number of positions needs a voxel in the middle of the axis.
    """
    span = length - 3
    count = max(1, -(-span // stride)) + 1
    if count % 2 and span % 2:
        count += 1
    first_half = np.rint(np.arange((count + 1) // 2) * span / max(count - 1, 1)).astype(np.intp)
    return 1 + np.unique(np.concatenate([first_half, span - first_half]))


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
