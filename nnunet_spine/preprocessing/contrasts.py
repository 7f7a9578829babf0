"""The slow field in the differences of neighbouring samples.

Neighbours are mostly of one tissue, and then differ by the field and by noise alone; where they are of two tissues,
they differ by much more, to either side. A robust fit therefore reads the field without knowing the tissues, and,
unlike a mixture over the whole image, does not take a tissue that lies on one side for a field.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.foreground import Samples

FloatArray = npt.NDArray[np.float64]

LAGS = (1, 2)
"""Distances of neighbours, in samples: at 1 noise weighs more, beyond 2 fewer neighbours are of one tissue."""

ROUNDS = 8
"""Rounds of reweighting; more change the field by under 0.2 %."""

WEIGHING_ORDER = 3
"""Order of the polynomial by which neighbours of one tissue are told from others."""

LEAST_PER_PRODUCT = 10
"""Least number of differences for each product of the polynomial."""

LEAST_SPREAD = 0.01
"""Least SD of differences within a tissue, in log units."""

BLOCK_MM = 40.0
"""Side of the blocks that are taken for independent of one another."""

CAUTION = 10.0
"""How many times its estimated variance a coefficient is given, since slow gradients of anatomy span several blocks.

Set on synthetic and real volumes: at 6, half of the hard volumes without a field are given one; at 14, fields of 20 %
stay in a real one."""


@dataclass(frozen=True, eq=False)
class ContrastFit:
    """A polynomial of one order, fitted to differences.

    Parameters
    ----------
    order
        Of the polynomial; 0 is no field.
    coefficients
        Of the log-field, by `polynomial.exponents`.
    precision
        Information in the differences on the coefficients, as if differences were independent.
    ratio
        Mean square of the coefficients in units of their variance; 1 is what no field gives.
    evidence
        Log evidence over that of no field; minus infinity where the ratio is no more than no field gives.
    """

    order: int
    coefficients: FloatArray
    precision: FloatArray
    ratio: float
    evidence: float

    @property
    def shrunken(self) -> FloatArray:
        """Coefficients drawn towards no field, the more the less they stand out."""
        return self.coefficients * (1 - 1 / self.ratio) if self.ratio > 1 else np.zeros_like(self.coefficients)


@dataclass(frozen=True, eq=False)
class _Differences:
    """Differences of log intensity and of the basis (products, differences), by block; where each block starts."""

    logs: FloatArray
    basis: npt.NDArray[np.float32]
    starts: npt.NDArray[np.intp]


def fit_contrasts(
    samples: Samples, shape: Sequence[int], spacing_mm: Sequence[float], orders: Sequence[int]
) -> list[ContrastFit]:
    """Fit each order to the differences of neighbouring tissue samples.

    Parameters
    ----------
    samples
        Samples of the volume.
    shape, spacing_mm
        Of the volume, (z, y, x).
    orders
        Orders to fit; no field, 0, is always among the fits.

    Returns
    -------
    No field, then a fit for each order; no field alone where there are too few neighbours to tell.

    Source
    ------
    Evidence and shrinkage: the g-prior with g at its likeliest (George and Foster, Biometrika 87:731-747, 2000), on
    the sandwich variance over blocks (Liang and Zeger, Biometrika 73:13-22, 1986).
    """
    fits = [ContrastFit(0, np.empty(0), np.empty((0, 0)), 1.0, 0.0)]
    highest = max(orders, default=0)
    if highest == 0:
        return fits
    differences = _differences(samples, shape, spacing_mm, highest)
    if differences.logs.size < LEAST_PER_PRODUCT * len(differences.basis) or not differences.logs.any():
        return fits
    weights = _weights(differences, polynomial.size(min(highest, WEIGHING_ORDER)))
    scratch = np.empty_like(differences.basis)
    information = _information(differences.basis, weights, scratch)
    towards = differences.basis @ (weights * differences.logs).astype(np.float32)
    for order in orders:
        if order > 0:
            size = polynomial.size(order)
            fits.append(_fit(differences, weights, information[:size, :size], towards[:size], order, scratch))
    return fits


def _differences(samples: Samples, shape: Sequence[int], spacing_mm: Sequence[float], order: int) -> _Differences:
    tissue = samples.tissue
    logs = np.zeros(tissue.shape)
    logs[tissue] = samples.logs
    products = polynomial.products(samples.indices, shape, order)
    basis = products.reshape(len(products), tissue.size).T.astype(np.float32, order="C")  # a sample's values together
    places, numbers = _block_places(samples, shape, spacing_mm), np.arange(tissue.size).reshape(tissue.shape)
    parts = [
        (numbers[near][both], numbers[far][both], _block_numbers(places, near, far)[both])
        for near, far in _neighbours(tissue.shape)
        if (both := tissue[near] & tissue[far]).any()
    ]
    if not parts:
        return _Differences(np.empty(0), np.empty((len(products), 0), np.float32), np.empty(0, np.intp))
    every_near, every_far, blocks = map(np.concatenate, zip(*parts, strict=True))
    by_block = np.argsort(blocks, kind="stable")
    first, second = every_near[by_block], every_far[by_block]
    basis_differences = basis[second]
    basis_differences -= basis[first]
    starts = np.flatnonzero(np.diff(blocks[by_block], prepend=-1))
    return _Differences(logs.ravel()[second] - logs.ravel()[first], basis_differences.T, starts)


def _neighbours(shape: Sequence[int]) -> Iterator[tuple[tuple[slice, ...], tuple[slice, ...]]]:
    """Slices that put each sample beside its neighbour, for each axis and distance."""
    for axis, length in enumerate(shape):
        for lag in LAGS:
            if lag < length:
                near, far = [slice(None)] * 3, [slice(None)] * 3
                near[axis], far[axis] = slice(None, -lag), slice(lag, None)
                yield tuple(near), tuple(far)


def _block_places(samples: Samples, shape: Sequence[int], spacing_mm: Sequence[float]) -> list[FloatArray]:
    """Distance of each sample from the middle of each axis, in blocks; shapes that broadcast to the grid."""
    places = []
    for axis, (indices, length, spacing) in enumerate(zip(samples.indices, shape, spacing_mm, strict=True)):
        along = (indices - (length - 1) / 2) * float(spacing) / BLOCK_MM
        places.append(along.reshape([-1 if a == axis else 1 for a in range(3)]))
    return [np.broadcast_to(place, samples.tissue.shape) for place in places]


def _block_numbers(
    places: Sequence[FloatArray], near: tuple[slice, ...], far: tuple[slice, ...]
) -> npt.NDArray[np.intp]:
    """Number of the block in which the middle of each pair lies; a flip keeps the pairs of a block together."""
    number = np.zeros(places[0][near].shape, np.intp)
    for place in places:
        middle = (place[near] + place[far]) / 2
        # Away from the middle of the axis on both sides, so that halves round alike after a flip.
        number = number * 1000 + 500 + (np.sign(middle) * np.floor(np.abs(middle) + 0.5)).astype(np.intp)
    return number


def _weights(differences: _Differences, size: int) -> FloatArray:
    """Weight of each difference: the probability that both samples are of one tissue, over the variance within it.

    Differences are a mixture of a narrow and a wide Gaussian about the field's.
    """
    logs, basis = differences.logs.astype(np.float32), differences.basis[:size]
    both = np.concatenate([basis, logs[None]])
    scratch, squares = np.empty_like(both), logs**2
    narrow = max(LEAST_SPREAD, float(np.quantile(np.abs(logs), 0.3)))
    wide, share = float(np.sqrt(squares.mean(dtype=np.float64))), 0.5
    for _ in range(ROUNDS):
        wide = max(wide, 1.5 * narrow)
        exponent = np.minimum(squares * np.float32((narrow**-2 - wide**-2) / 2), np.float32(50))
        same = 1 / (1 + np.float32((1 - share) / share * narrow / wide) * np.exp(exponent))
        moments = _information(both, same, scratch)
        residual = logs - _solve(moments[:-1, :-1], moments[:-1, -1]).astype(np.float32) @ basis
        squares = residual**2
        alike, total = float(same.sum(dtype=np.float64)), float(squares.sum(dtype=np.float64))
        within = float(same @ squares)
        share = float(np.clip(alike / same.size, 0.05, 0.95))
        narrow = max(LEAST_SPREAD, math.sqrt(within / alike))
        wide = math.sqrt(max(total - within, 0.0) / max(same.size - alike, 1e-9))
    return np.asarray(same, np.float64) / narrow**2


def _information(
    basis: npt.NDArray[np.float32], weights: npt.NDArray[np.floating], scratch: npt.NDArray[np.float32]
) -> FloatArray:
    # The product of an array and its own transpose takes half the work; memory asked for anew, more than it.
    weighted = np.multiply(basis, np.sqrt(weights).astype(np.float32), out=scratch)
    return np.asarray(weighted @ weighted.T, np.float64)


def _solve(information: FloatArray, towards: npt.NDArray[np.floating]) -> FloatArray:
    """Solution of the normal equations; directions without any information stay at 0."""
    ridge = 1e-5 * float(np.trace(information)) / len(information) + 1e-30
    return np.asarray(np.linalg.solve(information + ridge * np.eye(len(information)), towards), np.float64)


def _fit(
    differences: _Differences,
    weights: FloatArray,
    information: FloatArray,
    towards: npt.NDArray[np.float32],
    order: int,
    scratch: npt.NDArray[np.float32],
) -> ContrastFit:
    size = len(information)
    coefficients = _solve(information, towards)
    basis = differences.basis[:size]
    residual = differences.logs - coefficients.astype(np.float32) @ basis
    pulls = np.multiply(basis, (weights * residual).astype(np.float32), out=scratch[:size])
    pull = np.add.reduceat(pulls, differences.starts, axis=1)
    blocks = max(2, differences.starts.size)
    spread = float(np.trace(_solve(information, pull @ pull.T))) / size * blocks / (blocks - 1)
    ratio = float(coefficients @ information @ coefficients) / size / (CAUTION * max(spread, 1.0))
    evidence = 0.5 * size * (ratio - 1 - float(np.log(ratio))) if ratio > 1 else -np.inf
    return ContrastFit(order, coefficients, information, ratio, evidence)
