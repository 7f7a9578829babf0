"""What a reader must be told of a bias-field correction: its figures, and where it had better not be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from nnunet_spine.preprocessing.bias import BiasCorrection
from nnunet_spine.preprocessing.van_leemput import LEAST_FIELD, LEAST_SAMPLES, FieldEstimate, StopReason
from nnunet_spine.protocol import BiasMethod

CONFIDENT = 0.95
"""Least probability of a field with which nothing is said."""

IMPLAUSIBLE_STRENGTH = 20.0
"""Beyond this, a field is doubted. A surface coil on the lumbar spine gave x5; ours, no measured limit."""


class Concern(StrEnum):
    """Why a correction changed nothing, or had better be looked at."""

    CONSTANT = "constant"
    NO_TISSUE = "no_tissue"
    NO_FIELD = "no_field"
    WEAK_FIELD = "weak_field"
    LOW_CONFIDENCE = "low_confidence"
    IMPLAUSIBLE_STRENGTH = "implausible_strength"
    NOT_CONVERGED = "not_converged"
    NO_CONFIDENCE_KNOWN = "no_confidence_known"
    NEGATIVE_INTENSITIES = "negative_intensities"


@dataclass(frozen=True)
class Advice:
    """One concern, in words."""

    concern: Concern
    text: str


@dataclass(frozen=True)
class Findings:
    """A correction without its arrays.

    Parameters
    ----------
    changed
        Whether a field was divided out.
    strength
        95th over 5th percentile of that field in tissue.
    confidence
        Probability that there is a field at all; None where the method gives none.
    order
        Of the polynomial; None where the method has none.
    iterations, stop
        How long the estimation went on, and why it ended; None where the method does not say.
    tissue_share
        Share of the samples that are tissue; None where none was looked for.
    advice
        What to mind; most corrections need none.
    """

    changed: bool
    strength: float
    confidence: float | None
    order: int | None
    iterations: int | None
    stop: StopReason | None
    tissue_share: float | None
    advice: tuple[Advice, ...]


def findings(correction: BiasCorrection) -> Findings:
    """Figures and advice of a correction."""
    estimate = correction.estimate
    samples = correction.samples
    return Findings(
        changed=not correction.is_identity,
        strength=correction.strength,
        confidence=estimate.confidence if estimate else None,
        order=estimate.order if estimate else None,
        iterations=estimate.iterations if estimate else None,
        stop=estimate.stop if estimate else None,
        tissue_share=samples.tissue_share if samples else None,
        advice=tuple(_advice(correction)),
    )


def _advice(correction: BiasCorrection) -> Iterator[Advice]:
    if correction.estimate:
        yield from _of_estimate(correction.estimate)
    elif correction.method is BiasMethod.N4:
        yield from _of_n4(correction)
    if correction.strength > IMPLAUSIBLE_STRENGTH:
        yield Advice(
            Concern.IMPLAUSIBLE_STRENGTH,
            f"a field of x{correction.strength:.3g} is implausibly strong; look at the pictures before using it",
        )
    if correction.zero < 0 and not correction.is_identity:
        yield Advice(
            Concern.NEGATIVE_INTENSITIES,
            f"the smallest intensity, {correction.zero:g}, was taken for no signal; corrected = (measured - smallest) "
            "/ field + smallest",
        )


def _of_estimate(estimate: FieldEstimate) -> Iterator[Advice]:
    if estimate.stop is StopReason.CONSTANT:
        yield Advice(Concern.CONSTANT, "all voxels are equal; the image is unchanged")
    elif estimate.stop is StopReason.NO_TISSUE:
        yield Advice(Concern.NO_TISSUE, f"{_NO_TISSUE}; the image is unchanged")
    elif estimate.fitted_strength == 1:
        yield Advice(Concern.NO_FIELD, "no field was found; the image is unchanged")
    elif estimate.order == 0:
        yield Advice(
            Concern.WEAK_FIELD,
            f"the field found, x{estimate.fitted_strength:.2f}, is as weak as what slow anatomy gives (SD below "
            f"{100 * LEAST_FIELD:.0f} %); the image is unchanged",
        )
    elif estimate.confidence < CONFIDENT:
        yield Advice(
            Concern.LOW_CONFIDENCE,
            f"that there is a field is not sure (confidence {estimate.confidence:.2f}); compare with the uncorrected "
            "image before using it",
        )
    if estimate.stop is StopReason.MOST_ITERATIONS:
        yield Advice(Concern.NOT_CONVERGED, "the fit had not settled at its last iteration")


def _of_n4(correction: BiasCorrection) -> Iterator[Advice]:
    yield Advice(
        Concern.NO_CONFIDENCE_KNOWN, "N4 does not tell whether there is a field at all; it gives one for any image"
    )
    if correction.samples is None or correction.samples.tissue.sum() < LEAST_SAMPLES:
        yield Advice(Concern.NO_TISSUE, f"{_NO_TISSUE}; the strength says little")


_NO_TISSUE = f"fewer than {LEAST_SAMPLES} samples of tissue were found: noise alone, or a very small volume"
