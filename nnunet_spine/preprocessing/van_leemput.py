"""Bias-field correction by the cited method: a tissue mixture and a polynomial field, fitted together.

Source: Van Leemput, Maes, Vandermeulen, Suetens, "Automated model-based bias
field correction of MR images of the brain", IEEE TMI 18(10):885-896, 1999; and
"Automated model-based tissue classification of MR images of the brain",
18(10):897-908. Theirs is the model and its fit (`mixture`). They know from an
atlas where each tissue may lie; the spine has no atlas, and without one, a
tissue that lies on one side is taken for a field. In its place stands what
neighbouring samples tell of the field (`contrasts`): it chooses the
polynomial's order, 0 being no field, and is the prior of the coefficients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.contrasts import ContrastFit, fit_contrasts
from nnunet_spine.preprocessing.foreground import MINIMUM_SIDE, SAMPLE_SPACING_MM, Samples, sample
from nnunet_spine.preprocessing.intensity import FloatArray, finite_float32
from nnunet_spine.preprocessing.mixture import MixtureFit, Prior, fit_mixture
from nnunet_spine.preprocessing.threads import one_blas_thread

CLASSES = 8
"""Classes of the mixture; with too few, tissues are joined, whose contrast is then taken for a field."""

ORDERS = (0, 2, 3, 4)
"""Orders of the polynomial that compete; 0 is no field."""

LEAST_FIELD = 0.06
"""Least SD of the log-field in tissue; a weaker one is left alone, since slow anatomy gives as much without a field."""

LEAST_SAMPLES = 100


class StopReason(StrEnum):
    """Why the estimation ended."""

    CONVERGED = "converged"
    MOST_ITERATIONS = "most iterations"
    CONSTANT = "constant image"
    NO_TISSUE = "no tissue found"


@dataclass(frozen=True, eq=False)
class FieldEstimate:
    """The estimated field and how sure it is.

    Parameters
    ----------
    field
        Multiplicative, above 0, shape of the image, float32; its geometric mean over the tissue samples is 1.
    order
        Of its polynomial; 0 where no field was found, or one weaker than `LEAST_FIELD`: the field is then 1.
    fit
        Coefficients of the log-field (by `polynomial.exponents`), posteriors, and classes of the corrected samples'
        log intensities; None where nothing was estimated.
    stop
        Why it ended.
    strength
        95th over 5th percentile of the field in tissue.
    confidence
        Probability that there is a field at all, by the evidence; near 0 there is nothing to correct.
    fitted_strength
        Strength of the fitted field, also where it was left alone for being weak.
    samples
        That it was estimated from; None for a constant image.
    """

    field: FloatArray
    order: int
    fit: MixtureFit | None
    stop: StopReason
    strength: float
    confidence: float
    fitted_strength: float = 1.0
    samples: Samples | None = None

    @property
    def tissue_share(self) -> float:
        """Share of the samples that are tissue; 0 where none were taken."""
        return self.samples.tissue_share if self.samples else 0.0

    @property
    def iterations(self) -> int:
        """Iterations of the fit."""
        return len(self.fit.objective) - 1 if self.fit else 0


def estimate_field(
    array: FloatArray,
    spacing_mm: Sequence[float],
    *,
    classes: int = CLASSES,
    orders: Sequence[int] = ORDERS,
    sample_spacing_mm: float = SAMPLE_SPACING_MM,
) -> FieldEstimate:
    """Estimate the multiplicative bias field of a volume.

    Parameters
    ----------
    array
        Intensities, shape (z, y, x), slices along any axis; where the smallest is below 0, it is moved to 0.
    spacing_mm
        Spacing in mm, in the array's order of axes.
    classes
        Classes of the mixture.
    orders
        Orders that compete; no field always does.
    sample_spacing_mm
        Wanted distance of samples, in mm; see `foreground.sample_positions`.

    Raises
    ------
    BadInput
        Where the image is not finite, has under `MINIMUM_SIDE` voxels on an axis, or a spacing is not above 0.
    """
    image = finite_float32(array)
    check_volume(image, spacing_mm)
    lowest = image.min()
    if lowest == image.max():
        return no_field(image, StopReason.CONSTANT)
    samples = sample(image, spacing_mm, zero=min(float(lowest), 0.0), sample_spacing_mm=sample_spacing_mm)
    if samples.tissue.sum() < LEAST_SAMPLES:
        return replace(no_field(image, StopReason.NO_TISSUE), samples=samples)
    with one_blas_thread():
        contrasts = fit_contrasts(samples, image.shape, spacing_mm, orders)
        return _estimate(image.shape, samples, contrasts, classes)


def check_volume(image: FloatArray, spacing_mm: Sequence[float]) -> None:
    """Refuse what a field cannot be fitted to: no volume, one that is too thin, or a spacing that is none.

    Raises
    ------
    BadInput
        Where that is so.
    """
    if image.ndim != 3 or min(image.shape) < MINIMUM_SIDE:
        raise BadInput(
            f"A volume of {image.shape} (z, y, x) is too thin for bias-field correction: at least {MINIMUM_SIDE} "
            "voxels on each of three axes are needed. Leave the case out, or choose the bias method `none`."
        )
    if len(spacing_mm) != 3 or not all(0 < float(s) < math.inf for s in spacing_mm):
        raise BadInput(
            f"The spacing is {tuple(map(float, spacing_mm))} mm (z, y, x); three numbers above 0 are needed. Correct "
            "the image's header."
        )


def no_field(image: FloatArray, stop: StopReason) -> FieldEstimate:
    """What is told of an image in which nothing could be estimated."""
    return FieldEstimate(np.ones(image.shape, np.float32), 0, None, stop, 1.0, 0.0)


def _estimate(
    shape: tuple[int, ...], samples: Samples, contrasts: Sequence[ContrastFit], classes: int
) -> FieldEstimate:
    best = max(contrasts, key=lambda fit: fit.evidence)
    confidence = _probability_of_field(contrasts)
    products = polynomial.products(samples.indices, shape, best.order)
    basis = products.reshape(len(products), samples.tissue.size).take(np.flatnonzero(samples.tissue), axis=1)
    fit = fit_mixture(samples.logs, basis, Prior(best.shrunken, best.precision), classes)
    stop = StopReason.CONVERGED if fit.converged else StopReason.MOST_ITERATIONS
    at_samples = fit.coefficients @ basis
    mean = at_samples.mean()
    fit = replace(fit, classes=replace(fit.classes, means=fit.classes.means + mean))
    strength = strength_of(at_samples)
    if best.order == 0 or at_samples.std() < LEAST_FIELD:
        ones = np.ones(shape, np.float32)
        return FieldEstimate(ones, 0, fit, stop, 1.0, confidence, strength, samples)
    field = polynomial.evaluate(fit.coefficients, shape, best.order)
    field -= np.float32(mean)
    np.exp(field, out=field)
    return FieldEstimate(field, best.order, fit, stop, strength, confidence, strength, samples)


def strength_of(log_field: npt.NDArray[np.floating]) -> float:
    """95th over 5th percentile of a field, given by its logarithm in tissue; 1 where there is no tissue."""
    if not log_field.size:
        return 1.0
    low, high = np.percentile(log_field, (5, 95))
    return float(np.exp(high - low))


def _probability_of_field(contrasts: Sequence[ContrastFit]) -> float:
    """By the evidence of each order against no field, all as likely beforehand."""
    odds = np.logaddexp.reduce([fit.evidence for fit in contrasts if fit.order > 0], initial=-np.inf)
    return float(1 / (1 + np.exp(-np.clip(odds, -700, 700))))
