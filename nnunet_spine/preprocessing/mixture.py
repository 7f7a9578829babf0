"""Expectation-maximisation of tissue classes and a polynomial log-field together.

The logarithm of the image is a tissue's mean plus the log-field plus noise. Tissues are the classes of a Gaussian
mixture; the log-field is a sum of basis functions, whose coefficients have a Gaussian prior. Each half-step raises
the penalised log-likelihood.

Source: Van Leemput, Maes, Vandermeulen, Suetens, "Automated model-based bias field correction of MR images of the
brain", IEEE TMI 18(10):885-896, 1999, sections II and III. Without their atlas, and with the prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

TOLERANCE = 1e-3
"""The fit stops when the penalised log-likelihood per sample gains less than this."""

MOST_ITERATIONS = 40
LEAST_VARIANCE = 0.02**2
"""A class narrower than 2 % would be a single grey value."""

LEAST_MASS = 1e-9
"""What an empty class keeps of a sample, so that its mean is defined."""


@dataclass(frozen=True, eq=False)
class Classes:
    """Classes of the log intensities without the field: mean, variance and weight of each."""

    means: FloatArray
    variances: FloatArray
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class Prior:
    """Gaussian prior on the field's coefficients: its mean and its precision matrix."""

    mean: FloatArray
    precision: FloatArray

    def penalty(self, coefficients: FloatArray) -> float:
        """Minus the prior's logarithm, without its constant."""
        off = coefficients - self.mean
        return 0.5 * float(off @ self.precision @ off)


@dataclass(frozen=True, eq=False)
class MixtureFit:
    """Fitted classes and field.

    Parameters
    ----------
    coefficients
        Of the basis functions.
    classes
        The mixture.
    posteriors
        Probability of each class for each sample, shape (classes, samples).
    objective
        Penalised log-likelihood at the start of each iteration, and at the end.
    converged
        Whether it ended by the tolerance.
    """

    coefficients: FloatArray
    classes: Classes
    posteriors: FloatArray
    objective: tuple[float, ...]
    converged: bool


def fit_mixture(logs: FloatArray, basis: FloatArray, prior: Prior, classes: int) -> MixtureFit:
    """Fit classes and field to log intensities, from the prior's mean on.

    Parameters
    ----------
    logs
        Log intensities, shape (samples,).
    basis
        Basis functions at the samples, shape (functions, samples); none for no field.
    prior
        Of the coefficients.
    classes
        Number of classes.
    """
    coefficients, scratch = prior.mean, np.empty_like(basis)
    flat = logs - coefficients @ basis
    mixture = _start(flat, classes)
    posteriors, likelihood = _expect(flat, mixture)
    objective = [likelihood - prior.penalty(coefficients)]
    converged = False
    while not converged and len(objective) <= MOST_ITERATIONS:
        mixture = _classes(flat, posteriors)
        coefficients = _field(logs, basis, prior, posteriors, mixture, scratch)
        flat = logs - coefficients @ basis
        posteriors, likelihood = _expect(flat, mixture)
        objective.append(likelihood - prior.penalty(coefficients))
        converged = objective[-1] - objective[-2] < TOLERANCE * logs.size
    return MixtureFit(coefficients, mixture, posteriors, tuple(objective), converged)


def _start(flat: FloatArray, classes: int) -> Classes:
    """Classes of equal size: their means at the middles of quantile bins."""
    means = np.quantile(flat, (np.arange(classes) + 0.5) / classes)
    variance = max(LEAST_VARIANCE, float(flat.var()) / classes**2)
    return Classes(means, np.full(classes, variance), np.full(classes, 1.0 / classes))


def _expect(flat: FloatArray, classes: Classes) -> tuple[FloatArray, float]:
    """Posteriors of the classes for log intensities without the field, and the log-likelihood."""
    scores = flat - classes.means[:, None]
    scores *= scores
    scores *= -0.5 / classes.variances[:, None]
    scores += (np.log(classes.weights) - 0.5 * np.log(2 * np.pi * classes.variances))[:, None]
    top = scores.max(axis=0)
    scores -= top
    np.exp(scores, out=scores)
    total = scores.sum(axis=0)
    scores /= total
    return scores, float((top + np.log(total)).sum())


def _classes(flat: FloatArray, posteriors: FloatArray) -> Classes:
    mass = posteriors.sum(axis=1) + LEAST_MASS
    means = (posteriors @ flat) / mass
    # Around the means: the difference of two squares would lose the digits of a narrow class.
    variances = np.array([p @ (flat - m) ** 2 for p, m in zip(posteriors, means, strict=True)]) / mass
    return Classes(means, np.maximum(variances, LEAST_VARIANCE), mass / mass.sum())


def _field(
    logs: FloatArray,
    basis: FloatArray,
    prior: Prior,
    posteriors: FloatArray,
    classes: Classes,
    scratch: FloatArray,
) -> FloatArray:
    """Coefficients by weighted, penalised least squares on what the classes leave over.

    `scratch` has the shape of `basis`: memory asked for anew each time costs more than the product that it holds.
    """
    if not len(basis):
        return prior.mean
    weights = (1 / classes.variances) @ posteriors
    left_over = weights * logs - (classes.means / classes.variances) @ posteriors
    hessian = np.multiply(basis, weights, out=scratch) @ basis.T + prior.precision
    return np.asarray(np.linalg.solve(hessian, basis @ left_over + prior.precision @ prior.mean), np.float64)
