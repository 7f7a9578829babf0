"""Which of many images may be alike, by their block means: all pairs at once, before a few are compared closely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

BLOCK = 3
"""Lattice points along an axis of a block."""

LEAST_COVERED = 0.5
"""A block counts where this share of its points has values."""

MAYBE = 0.8
"""Correlation of block means below which two images are not alike.

Of images that correlate by 0.95, the block means do by at least 0.8 where they hold a quarter of the variance: what is
left unexplained, 0.05, is at most a fifth of that quarter. Of spine images they hold more than half.
"""

FEWEST_BLOCKS = 30
"""Two images that share fewer blocks are compared closely."""

MOST_VALUES = 1e8
"""Beyond this many in all, as where one image lies far from the others, all pairs are compared closely."""

Lattice = tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]
"""Values (z, y, x), NaN off the image, and the index of the first of them."""


def maybe_alike(lattices: Sequence[Lattice]) -> npt.NDArray[np.bool_]:
    """Whether each two of the images may correlate by 0.95 or more, shape (images, images).

    Parameters
    ----------
    lattices
        Of one grid that goes on without end.
    """
    blocks = [_block_means(*lattice) for lattice in lattices]
    low = np.min([first for _, first in blocks], axis=0)
    high = np.max([first + means.shape for means, first in blocks], axis=0)
    if float(np.prod((high - low).astype(float))) * len(blocks) > MOST_VALUES:
        return np.ones((len(blocks), len(blocks)), bool)
    table = np.full((len(blocks), *(high - low)), np.nan, np.float32)
    for row, (means, first) in zip(table, blocks, strict=True):
        row[tuple(slice(a, a + n) for a, n in zip(first - low, means.shape, strict=True))] = means
    return _correlate_or_share_little(table.reshape(len(blocks), -1))


def _block_means(values: npt.NDArray[np.floating], first: npt.NDArray[np.int64]) -> Lattice:
    start = first // BLOCK
    before = first - BLOCK * start
    after = -(before + values.shape) % BLOCK
    padded = np.pad(values.astype(np.float32), list(zip(before, after, strict=True)), constant_values=np.nan)
    z, y, x = (n // BLOCK for n in padded.shape)
    cut = padded.reshape(z, BLOCK, y, BLOCK, x, BLOCK)
    count = np.isfinite(cut).sum(axis=(1, 3, 5))
    means = np.nansum(cut, axis=(1, 3, 5)) / np.maximum(count, 1)
    return np.where(count >= LEAST_COVERED * BLOCK**3, means, np.nan), start


def _correlate_or_share_little(table: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Pearson's correlation of each two rows where both are finite, by products of matrices."""
    inside = np.isfinite(table)
    there = inside.astype(np.float32)
    values = np.where(inside, table, 0)
    values -= there * (values.sum(axis=1) / np.maximum(there.sum(axis=1), 1))[:, None]
    values /= np.maximum(np.abs(values).max(axis=1, initial=0.0), 1e-12)[:, None]
    shared = there @ there.T
    count = np.maximum(shared, 1)
    sums, squares = values @ there.T, values**2 @ there.T
    covariance = values @ values.T - sums * sums.T / count
    variance = np.maximum(squares - sums**2 / count, 0)
    alike = covariance >= MAYBE * np.sqrt(variance * variance.T)
    result: npt.NDArray[np.bool_] = alike | (shared < FEWEST_BLOCKS)
    return result
