"""The tissue mixture: Gaussian classes of log intensity, with both half-steps of expectation-maximisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

LEAST_VARIANCE = 0.02**2
"""A class narrower than 2 % would be a single grey value."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """Classes of the log intensities without the field: mean, variance and weight of each."""

    means: FloatArray
    variances: FloatArray
    weights: FloatArray


def starting_mixture(flat: FloatArray, classes: int) -> Mixture:
    """Classes of equal size, their means at the middles of quantile bins.

    Parameters
    ----------
    flat
        Log intensities without the field, shape (samples,).
    classes
        How many.
    """
    means = np.quantile(flat, (np.arange(classes) + 0.5) / classes)
    variance = max(LEAST_VARIANCE, float(flat.var()) / classes**2)
    return Mixture(means, np.full(classes, variance), np.full(classes, 1.0 / classes))


def expect(flat: FloatArray, mixture: Mixture) -> tuple[FloatArray, float]:
    """Probability of each class for each sample, and the log-likelihood.

    Parameters
    ----------
    flat
        Log intensities without the field, shape (samples,).
    mixture
        The classes.

    Returns
    -------
    posteriors
        Shape (samples, classes).
    likelihood
        Logarithm, summed over the samples.
    """
    # Classes first: sums over them then run along whole rows.
    scores = flat - mixture.means[:, None]
    scores *= scores
    scores *= (-0.5 / mixture.variances)[:, None]
    scores += (np.log(mixture.weights) - 0.5 * np.log(2 * np.pi * mixture.variances))[:, None]
    top = scores.max(axis=0)
    scores -= top
    np.exp(scores, out=scores)
    total = scores.sum(axis=0)
    scores /= total
    return scores.T, float((top + np.log(total)).sum())


def update(flat: FloatArray, posteriors: FloatArray) -> Mixture:
    """The likeliest classes, given their probabilities for each sample."""
    mass = posteriors.sum(axis=0) + 1e-9
    means = (flat @ posteriors) / mass
    variances = np.maximum((flat**2 @ posteriors) / mass - means**2, LEAST_VARIANCE)
    return Mixture(means, variances, mass / mass.sum())
