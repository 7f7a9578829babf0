"""How much samples of a smooth anatomy tell about a field, and which order of field they speak for."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEAST_CORRELATION = 0.05
"""Shifts are followed until the residual's correlation falls below this."""


def correlation_volume(residual: FloatArray, tissue: npt.NDArray[np.bool_]) -> float:
    """How many neighbouring samples say the same: the sum of the residual's correlation over all shifts.

    Anatomy is smooth, so neighbours are not independent witnesses of a field. The sum is taken along each axis up to
    the first shift without correlation, and multiplied.

    Parameters
    ----------
    residual
        What field and classes leave over at the tissue samples, shape (samples,).
    tissue
        Whether a sample is tissue, shape (nz, ny, nx).
    """
    cube = np.zeros(tissue.shape)
    cube[tissue] = residual - residual.mean()
    variance = float((cube[tissue] ** 2).mean()) or 1.0
    lengths = [
        _correlation_length(np.moveaxis(cube, axis, 0), np.moveaxis(tissue, axis, 0), variance) for axis in range(3)
    ]
    return math.prod(lengths)


def _correlation_length(along: FloatArray, inside: npt.NDArray[np.bool_], variance: float) -> float:
    total = 1.0
    for shift in range(1, along.shape[0] // 2):
        pairs = max(int(np.count_nonzero(inside[shift:] & inside[:-shift])), 1)
        # Samples outside hold 0, so they add nothing to the sum.
        correlation = float(np.vdot(along[shift:], along[:-shift])) / (variance * pairs)
        if correlation < LEAST_CORRELATION:
            break
        total += 2 * correlation
    return total


def log_evidence(
    likelihood: float, weights: FloatArray, basis: FloatArray, coefficients: FloatArray, precision: FloatArray
) -> float:
    """Laplace's approximation of the log-evidence of a field.

    Parameters
    ----------
    likelihood
        Log-likelihood, of independent samples.
    weights
        Inverse variance of each sample, in independent samples, shape (samples,).
    basis
        The field's products at the samples, shape (samples, products); none where there is no field.
    coefficients, precision
        The field, and the prior's precision, shape (products,).

    Source
    ------
    MacKay, Bayesian interpolation, Neural Computation 4(3):415-447, 1992, equation 4.4.
    """
    if coefficients.size == 0:
        return likelihood
    roots = basis * np.sqrt(weights)[:, None]
    _, log_determinant = np.linalg.slogdet(roots.T @ roots + np.diag(precision))
    penalty = float(coefficients @ (precision * coefficients))
    return likelihood - 0.5 * (penalty + float(log_determinant) - float(np.log(precision).sum()))
