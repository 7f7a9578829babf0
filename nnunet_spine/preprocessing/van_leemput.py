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
the field's coefficients, a start from the differences of neighbours, and the
choice of the polynomial's order by evidence, so that no field is found where
there is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.evidence import correlation_volume, log_evidence
from nnunet_spine.preprocessing.foreground import Samples, sample
from nnunet_spine.preprocessing.intensity import FloatArray, finite_float32
from nnunet_spine.preprocessing.mixture import Mixture, expect, starting_mixture, update
from nnunet_spine.preprocessing.neighbours import slope_equations

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]

CLASSES = 8
"""Classes of the mixture; fewer than 4 leave tissues joined, whose contrast is then taken for a field."""

ORDERS = (0, 2, 3, 4)
"""Orders of the polynomial that compete; 0 is no field."""

FIELD_SD = 0.4
"""Prior SD of a coefficient of degree 1, in log units: a field that varies by a factor of about 1.5."""

TOLERANCE = 1e-3
"""The fit stops when the penalised log-likelihood per sample gains less than this."""

MOST_ITERATIONS = 30

MARGIN = 0.1
"""Where there is no tissue, the log-field leaves its range in tissue by this share of it at most."""

LEAST_SAMPLES = 100
MINIMUM_SIDE = 4


class StopReason(StrEnum):
    """Why the estimation ended."""

    CONVERGED = "converged"
    MOST_ITERATIONS = "most iterations"
    CONSTANT = "constant image"
    NO_TISSUE = "no tissue found"


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
    likelihood
        Log-likelihood at the end.
    evidence
        Logarithm of the model's evidence (Laplace), on independent samples.
    stop
        Why it ended.
    """

    order: int
    coefficients: Vector
    mixture: Mixture
    posteriors: Matrix
    objective: tuple[float, ...]
    likelihood: float
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
    check_thickness(image)
    lowest = image.min()
    if lowest == image.max():
        return _identity(image, StopReason.CONSTANT, 0.0)
    samples = sample(image, spacing_mm, zero=min(float(lowest), 0.0))
    share = float(samples.tissue.mean())
    if samples.tissue.sum() < LEAST_SAMPLES:
        return _identity(image, StopReason.NO_TISSUE, share)
    fits = fit_orders(samples, image.shape, classes=classes, orders=orders)
    return _estimate(image.shape, samples, fits, share)


def check_thickness(image: FloatArray) -> None:
    """Refuse what is no volume or has under `MINIMUM_SIDE` voxels on an axis: there is nothing to fit a field to.

    Raises
    ------
    BadInput
        Where that is so.
    """
    if image.ndim != 3 or min(image.shape) < MINIMUM_SIDE:
        raise BadInput(
            f"A volume of {image.shape} (z, y, x) is too thin for bias-field correction: at least {MINIMUM_SIDE} "
            "voxels on each of three axes are needed. Leave the case out, or plan with `--bias none`."
        )


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
    least, most = at_samples.min(), at_samples.max()
    field = polynomial.evaluate(best.coefficients, shape, best.order)
    np.clip(field, least - MARGIN * (most - least), most + MARGIN * (most - least), out=field)
    field -= np.float32(at_samples.mean())
    np.exp(field, out=field)
    return FieldEstimate(field, best, best.stop, share, float(np.exp(high - low)), confidence)


def fit_orders(samples: Samples, shape: Sequence[int], *, classes: int, orders: Sequence[int]) -> list[Fit]:
    """Fit each order from the field that differences of neighbours show, and weigh its evidence.

    A start without a field would not do: the classes settle in places of the image before a strong field is found.

    Parameters
    ----------
    samples
        Of the volume.
    shape
        Of the volume, (z, y, x).
    classes, orders
        As for `estimate_field`.
    """
    logs = np.log(samples.values[samples.tissue])
    highest = max(orders)
    products = polynomial.design(samples.indices, shape, highest, samples.tissue)
    matrix, right_side = slope_equations(logs, products, samples.tissue, prior_precision(highest))
    bases: list[Matrix] = []
    fits: list[Fit] = []
    for order in orders:
        size = len(polynomial.exponents(order))
        basis = np.ascontiguousarray(products[:, :size])
        coefficients: Vector = np.linalg.solve(matrix[:size, :size], right_side[:size]).astype(np.float64)
        bases.append(basis)
        fits.append(_fit(logs, basis, order, starting_mixture(logs - basis @ coefficients, classes), coefficients))
    residual = logs - bases[-1] @ fits[-1].coefficients - fits[-1].posteriors @ fits[-1].mixture.means
    volume = correlation_volume(residual, samples.tissue)
    return [_weighed(fit, basis, volume) for fit, basis in zip(fits, bases, strict=True)]


def _weighed(fit: Fit, basis: Matrix, volume: float) -> Fit:
    """The fit with its evidence, `volume` samples counting as one."""
    precision = prior_precision(fit.order)
    weights = fit.posteriors @ (1 / fit.mixture.variances) / volume
    evidence = log_evidence(fit.likelihood / volume, weights, basis, fit.coefficients, precision)
    return replace(fit, evidence=evidence)


def prior_precision(order: int) -> Vector:
    """Precision of the Gaussian prior on each coefficient: higher degrees are expected to be smaller."""
    degrees = np.array([sum(e) for e in polynomial.exponents(order)], dtype=np.float64)
    precision: Vector = (degrees / FIELD_SD) ** 2
    return precision


def _fit(logs: Vector, basis: Matrix, order: int, mixture: Mixture, coefficients: Vector) -> Fit:
    """Expectation-maximisation from a start; each half-step raises the penalised log-likelihood."""
    precision = prior_precision(order)
    objective: list[float] = []
    stop = StopReason.MOST_ITERATIONS
    flat = logs - basis @ coefficients
    posteriors, likelihood = expect(flat, mixture)
    for _ in range(MOST_ITERATIONS):
        objective.append(likelihood - 0.5 * float(coefficients @ (precision * coefficients)))
        if len(objective) > 1 and objective[-1] - objective[-2] < TOLERANCE * logs.size:
            stop = StopReason.CONVERGED
            break
        mixture = update(flat, posteriors)
        coefficients = _field(logs, basis, precision, posteriors, mixture)
        flat = logs - basis @ coefficients
        posteriors, likelihood = expect(flat, mixture)
    return Fit(order, coefficients, mixture, posteriors, tuple(objective), likelihood, -np.inf, stop)


def _field(logs: Vector, basis: Matrix, precision: Vector, posteriors: Matrix, mixture: Mixture) -> Vector:
    """Coefficients by weighted, penalised least squares on what the classes leave over."""
    if basis.shape[1] == 0:
        return np.empty(0)
    weights = posteriors @ (1 / mixture.variances)
    left_over = weights * logs - posteriors @ (mixture.means / mixture.variances)
    roots = basis * np.sqrt(weights)[:, None]
    hessian = np.diag(precision) + roots.T @ roots
    return np.asarray(np.linalg.solve(hessian, basis.T @ left_over), np.float64)
