"""Bias-field correction by the cited method: a tissue mixture and a polynomial field, fitted together.

The logarithm of the image is a tissue's mean plus the log-field plus noise.
Tissues are the classes of a Gaussian mixture; the log-field is a polynomial.
Expectation-maximisation alternates between the classes of the voxels and the
parameters, the field being the weighted least-squares fit to what the classes
leave over.

Source: Van Leemput, Maes, Vandermeulen, Suetens, "Automated model-based bias
field correction of MR images of the brain", IEEE TMI 18(10):885-896, 1999; and
"Automated model-based tissue classification of MR images of the brain",
18(10):897-908. Ours, and not theirs: no atlas (the spine has none), a prior on
the field's coefficients, and the choice of the polynomial's order by evidence,
so that no field is found where there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.foreground import Samples, sample
from nnunet_spine.preprocessing.intensity import FloatArray, finite_float32

CLASSES = 5
"""Classes of the mixture; fewer than 4 leave tissues joined, whose contrast is then taken for a field."""

ORDERS = (0, 2, 3, 4)
"""Orders of the polynomial that compete; 0 is no field."""

FIELD_SD = 0.25
"""Prior SD of a coefficient of degree 1, in log units: a field that varies by a factor of about 1.3."""

TOLERANCE = 1e-4
"""The fit stops when the penalised log-likelihood per sample gains less than this."""

MOST_ITERATIONS = 40
LEAST_VARIANCE = 0.02**2
"""A class narrower than 2 % would be a single grey value."""

LEAST_SAMPLES = 100
MINIMUM_SIDE = 4


class StopReason(StrEnum):
    """Why the estimation ended."""

    CONVERGED = "converged"
    MOST_ITERATIONS = "most iterations"
    CONSTANT = "constant image"
    NO_TISSUE = "no tissue found"


@dataclass(frozen=True, eq=False)
class Mixture:
    """Classes of the log intensities without the field: mean, variance and weight of each."""

    means: npt.NDArray[np.float64]
    variances: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model of one order.

    Parameters
    ----------
    order
        Of the polynomial.
    coefficients
        Of the log-field, by `polynomial.exponents`.
    mixture
        The classes.
    posteriors
        Probability of each class for each sample, shape (samples, classes).
    objective
        Penalised log-likelihood after each iteration.
    evidence
        Logarithm of the model's evidence (Laplace), on independent samples.
    stop
        Why it ended.
    """

    order: int
    coefficients: npt.NDArray[np.float64]
    mixture: Mixture
    posteriors: npt.NDArray[np.float64]
    objective: tuple[float, ...]
    evidence: float
    stop: StopReason


@dataclass(frozen=True, eq=False)
class FieldEstimate:
    """The estimated field and how sure it is.

    Parameters
    ----------
    field
        Multiplicative, above 0, shape of the image, float32; its geometric mean over the tissue samples is 1.
    fit
        The chosen model; None where nothing was estimated.
    stop
        Why the estimation ended.
    tissue_share
        Share of the samples that is tissue.
    strength
        95th over 5th percentile of the field at tissue samples; 1 is no field.
    confidence
        Posterior probability that there is a field, 0 to 1.
    """

    field: FloatArray
    fit: Fit | None
    stop: StopReason
    tissue_share: float
    strength: float
    confidence: float


def estimate_field(
    array: FloatArray, spacing_mm: Sequence[float], *, classes: int = CLASSES, orders: Sequence[int] = ORDERS
) -> FieldEstimate:
    """Estimate the multiplicative bias field of a volume.

    Parameters
    ----------
    array
        Intensities, shape (z, y, x); where the smallest is below 0, it is moved to 0.
    spacing_mm
        Spacing (z, y, x), in mm.
    classes
        Classes of the mixture.
    orders
        Orders that compete; 0 is no field.

    Raises
    ------
    BadInput
        Where the image is not finite, or has under `MINIMUM_SIDE` voxels on an axis.
    """
    image = finite_float32(array)
    if image.ndim != 3 or min(image.shape) < MINIMUM_SIDE:
        raise BadInput(
            f"A volume of {image.shape} (z, y, x) is too thin for bias-field correction: at least {MINIMUM_SIDE} "
            "voxels on each of three axes are needed. Leave the case out, or plan with `--bias none`."
        )
    lowest = image.min()
    if lowest == image.max():
        return _identity(image, StopReason.CONSTANT, 0.0)
    samples = sample(image - lowest if lowest < 0 else image, spacing_mm)
    share = float(samples.tissue.mean())
    if samples.tissue.sum() < LEAST_SAMPLES:
        return _identity(image, StopReason.NO_TISSUE, share)
    fits = fit_orders(samples, image.shape, classes=classes, orders=orders)
    return _estimate(image.shape, samples, fits, share)


def _identity(image: FloatArray, stop: StopReason, share: float) -> FieldEstimate:
    return FieldEstimate(np.ones(image.shape, np.float32), None, stop, share, 1.0, 0.0)


def _estimate(shape: tuple[int, ...], samples: Samples, fits: Sequence[Fit], share: float) -> FieldEstimate:
    best = max(fits, key=lambda fit: fit.evidence)
    gains = np.array([fit.evidence - best.evidence for fit in fits])
    odds = np.exp(gains)
    confidence = float(sum(odds[i] for i, fit in enumerate(fits) if fit.order > 0) / odds.sum())
    if best.order == 0:
        return FieldEstimate(np.ones(shape, np.float32), best, best.stop, share, 1.0, confidence)
    at_samples = polynomial.design(samples.indices, shape, best.order, samples.tissue) @ best.coefficients
    low, high = np.percentile(at_samples, (5, 95))
    field = polynomial.evaluate(best.coefficients, shape, best.order)
    field -= np.float32(at_samples.mean())
    np.exp(field, out=field)
    return FieldEstimate(field, best, best.stop, share, float(np.exp(high - low)), confidence)


def fit_orders(samples: Samples, shape: Sequence[int], *, classes: int, orders: Sequence[int]) -> list[Fit]:
    """Fit each order and weigh its evidence; the lowest field has two starts, higher ones go on from the likelier.

    One start knows no field. The other takes all slow variation for field, which a strong coil's is: from the first
    alone, the classes settle in places of the image before a strong field is found.
    """
    logs = np.log(samples.values[samples.tissue])
    bases = {
        order: polynomial.design(samples.indices, shape, order, samples.tissue) if order else np.empty((logs.size, 0))
        for order in orders
    }
    fits: list[Fit] = []
    for order, basis in bases.items():
        if fits and fits[-1].order > 0:
            known = np.concatenate([fits[-1].coefficients, np.zeros(basis.shape[1] - fits[-1].coefficients.size)])
            fits.append(_fit(logs, basis, order, fits[-1].mixture, known))
            continue
        starts = [np.zeros(basis.shape[1])] + ([_slow_variation(logs, basis)] if order else [])
        tried = [_fit(logs, basis, order, _start(logs - basis @ start, classes), start) for start in starts]
        fits.append(max(tried, key=lambda fit: fit.objective[-1]))
    volume = correlation_volume(_residual(logs, bases[fits[-1].order], fits[-1]), samples.tissue)
    return [replace(fit, evidence=_evidence(logs, bases[fit.order], fit, volume)) for fit in fits]


def _slow_variation(logs: npt.NDArray[np.float64], basis: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Coefficients that fit the log intensities as if there were one tissue."""
    with_mean = np.column_stack([basis, np.ones(logs.size)])
    return np.asarray(np.linalg.lstsq(with_mean, logs, rcond=None)[0][:-1], np.float64)


def _start(logs: npt.NDArray[np.float64], classes: int) -> Mixture:
    """Classes of equal size: their means at the middles of quantile bins."""
    means = np.quantile(logs, (np.arange(classes) + 0.5) / classes)
    variance = max(LEAST_VARIANCE, float(logs.var()) / classes**2)
    return Mixture(means, np.full(classes, variance), np.full(classes, 1.0 / classes))


def prior_precision(order: int) -> npt.NDArray[np.float64]:
    """Precision of the Gaussian prior on each coefficient: higher degrees are expected to be smaller."""
    degrees = np.array([sum(e) for e in polynomial.exponents(order)], dtype=np.float64)
    precision: npt.NDArray[np.float64] = (degrees / FIELD_SD) ** 2
    return precision


def _fit(
    logs: npt.NDArray[np.float64],
    basis: npt.NDArray[np.float64],
    order: int,
    mixture: Mixture,
    coefficients: npt.NDArray[np.float64],
) -> Fit:
    """Expectation-maximisation from a start; each half-step raises the penalised log-likelihood."""
    precision = prior_precision(order)
    objective: list[float] = []
    stop = StopReason.MOST_ITERATIONS
    posteriors, likelihood = _expect(logs - basis @ coefficients, mixture)
    for _ in range(MOST_ITERATIONS):
        objective.append(likelihood - 0.5 * float(coefficients @ (precision * coefficients)))
        if len(objective) > 1 and objective[-1] - objective[-2] < TOLERANCE * logs.size:
            stop = StopReason.CONVERGED
            break
        mixture = _classes(logs - basis @ coefficients, posteriors)
        coefficients = _field(logs, basis, precision, posteriors, mixture)
        posteriors, likelihood = _expect(logs - basis @ coefficients, mixture)
    return Fit(order, coefficients, mixture, posteriors, tuple(objective), -np.inf, stop)


def _expect(flat: npt.NDArray[np.float64], mixture: Mixture) -> tuple[npt.NDArray[np.float64], float]:
    """Posteriors of the classes for log intensities without the field, and the log-likelihood."""
    scores = (flat[:, None] - mixture.means) ** 2
    scores *= -0.5 / mixture.variances
    scores += np.log(mixture.weights) - 0.5 * np.log(2 * np.pi * mixture.variances)
    top = scores.max(axis=1, keepdims=True)
    scores -= top
    np.exp(scores, out=scores)
    total = scores.sum(axis=1, keepdims=True)
    scores /= total
    return scores, float((top + np.log(total)).sum())


def _classes(flat: npt.NDArray[np.float64], posteriors: npt.NDArray[np.float64]) -> Mixture:
    mass = posteriors.sum(axis=0) + 1e-9
    means = (flat @ posteriors) / mass
    variances = np.maximum((flat**2 @ posteriors) / mass - means**2, LEAST_VARIANCE)
    return Mixture(means, variances, mass / mass.sum())


def _field(
    logs: npt.NDArray[np.float64],
    basis: npt.NDArray[np.float64],
    precision: npt.NDArray[np.float64],
    posteriors: npt.NDArray[np.float64],
    mixture: Mixture,
) -> npt.NDArray[np.float64]:
    """Coefficients by weighted, penalised least squares on what the classes leave over."""
    if basis.shape[1] == 0:
        return np.empty(0)
    weights = posteriors @ (1 / mixture.variances)
    left_over = weights * logs - posteriors @ (mixture.means / mixture.variances)
    hessian = basis.T @ (weights[:, None] * basis)
    hessian[np.diag_indices_from(hessian)] += precision
    return np.asarray(np.linalg.solve(hessian, basis.T @ left_over), np.float64)


def _residual(logs: npt.NDArray[np.float64], basis: npt.NDArray[np.float64], fit: Fit) -> npt.NDArray[np.float64]:
    """What field and expected class leave over."""
    flat = logs - basis @ fit.coefficients
    residual: npt.NDArray[np.float64] = flat - fit.posteriors @ fit.mixture.means
    return residual


def correlation_volume(residual: npt.NDArray[np.float64], tissue: npt.NDArray[np.bool_]) -> float:
    """How many neighbouring samples say the same: the sum of the residual's correlation over all shifts.

    Anatomy is smooth, so neighbours are not independent witnesses of a field. The sum is taken along each axis up to
    the first shift without correlation, and multiplied.
    """
    cube = np.zeros(tissue.shape)
    cube[tissue] = residual - residual.mean()
    variance = float((cube[tissue] ** 2).mean()) or 1.0
    volume = 1.0
    for axis in range(3):
        along, inside = np.moveaxis(cube, axis, 0), np.moveaxis(tissue, axis, 0)
        total = 1.0
        for shift in range(1, tissue.shape[axis] // 2):
            both = inside[shift:] & inside[:-shift]
            if not both.any():
                break
            correlation = float((along[shift:] * along[:-shift])[both].mean()) / variance
            if correlation < 0.05:
                break
            total += 2 * correlation
        volume *= total
    return volume


def _evidence(logs: npt.NDArray[np.float64], basis: npt.NDArray[np.float64], fit: Fit, volume: float) -> float:
    """Laplace's approximation of the log-evidence, `volume` samples counting as one."""
    precision = prior_precision(fit.order)
    _, likelihood = _expect(logs - basis @ fit.coefficients, fit.mixture)
    penalty = 0.5 * float(fit.coefficients @ (precision * fit.coefficients))
    if fit.order == 0:
        return likelihood / volume
    weights = fit.posteriors @ (1 / fit.mixture.variances) / volume
    hessian = basis.T @ (weights[:, None] * basis)
    hessian[np.diag_indices_from(hessian)] += precision
    _, log_determinant = np.linalg.slogdet(hessian)
    return likelihood / volume - penalty - 0.5 * (float(log_determinant) - float(np.log(precision).sum()))
