"""Which series of a study is the sagittal T1 after contrast: by tags and geometry first, by words second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from nnunet_spine.dataset_conversion.contrast_words import (
    contrast_by_words,
    is_elsewhere,
    is_localizer,
    is_projection,
    is_subtraction,
    weighting_by_words,
)
from nnunet_spine.dataset_conversion.dicom_headers import Series, number_of, numbers_of, text_of, words_in

BY_TAG = 2
BY_WORDS = 1

SPIN_ECHO_REPETITION_MS = 1200.0
"""Longest repetition time of a T1-weighted spin or gradient echo."""

SPIN_ECHO_ECHO_MS = 35.0
"""Longest echo time of a T1-weighted spin echo."""

GRADIENT_ECHO_ECHO_MS = 10.0
"""Longest echo time of a T1-weighted gradient echo; longer ones are T2*-weighted."""

INVERSION_MS = (300.0, 1300.0)
"""Inversion times of T1 FLAIR and MPRAGE; STIR's are shorter, T2 FLAIR's longer."""

INVERSION_REPETITION_MS = 3500.0
"""Longest repetition time of a T1-weighted inversion recovery."""

_NO_AGENT = {"", "none", "no", "n", "0", "nil", "without", "no contrast", "ohne", "sans", "no agent", "false"}
_KINDS = (
    ({"LOCALIZER"}, "a localizer"),
    ({"SUBTRACTION", "SUBTRACT", "SUB"}, "a subtraction"),
    ({"MIP", "MIN_IP", "MNIP", "PROJECTION IMAGE", "VOLREN"}, "a projection"),
    ({"SCREEN SAVE", "SCREENSAVE", "CSA REPORT"}, "a picture of a screen"),
    ({"ADC", "FA", "TRACEW", "PHASE MAP", "T1 MAP", "T2 MAP", "DENSITY MAP"}, "a computed map"),
    ({"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}, "a phase, real or imaginary image"),
    ({"FAT", "F", "FAT_FRACTION"}, "a fat image"),
    ({"OPP_PHASE", "OUT_PHASE", "OP"}, "an opposed-phase image"),
)
"""Values of Image Type that are never the image to use, after the first two."""


class Confidence(StrEnum):
    """How sure a choice is.

    HIGH: plane and weighting by geometry and times, contrast agent by two signs of tag, words and timing, and no other
    series that fits as well. MEDIUM: the same with one sign of contrast agent. LOW: the weighting by words alone,
    contrast agent by timing alone or not at all, a derived image, another body part, or another series that fits.
    """

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True)
class Finding:
    """What one question found: a score of 0 means no, and the words say what was found."""

    score: int
    words: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """The answers for one series.

    Parameters
    ----------
    series
        The series.
    orientation, weighting, contrast
        Answers.
    derived
        Whether it was computed from other images.
    kind
        Whether it is an image at all, and no localizer, subtraction or projection.
    contrast_signs
        What speaks for contrast agent: "tag", "words", "timing".
    elsewhere
        Whether the headers name another part of the body than the spine.
    """

    series: Series
    orientation: Finding
    weighting: Finding
    contrast: Finding
    derived: bool
    kind: Finding = Finding(BY_TAG, "an image")
    contrast_signs: tuple[str, ...] = ()
    elsewhere: bool = False

    @property
    def qualifies(self) -> bool:
        """Whether it is a sagittal T1 after contrast."""
        return self.is_sagittal_t1 and bool(self.contrast.score)

    @property
    def is_sagittal_t1(self) -> bool:
        """Whether it would qualify but for the contrast agent."""
        return all(finding.score for finding in (self.kind, self.orientation, self.weighting))

    @property
    def score(self) -> int:
        """How sure the answers are; an image derived from others comes after its original."""
        return self.orientation.score + self.weighting.score + self.contrast.score - int(self.derived)

    @property
    def confidence(self) -> Confidence:
        """How sure the series is to be one, whatever else the study holds."""
        if self.derived or self.elsewhere or self.weighting.score < BY_TAG or self.contrast_signs in ((), ("timing",)):
            return Confidence.LOW
        return Confidence.HIGH if len(self.contrast_signs) > 1 else Confidence.MEDIUM

    def describe(self) -> str:
        """One phrase such as "series 5 (sagittal, T1, after contrast)"."""
        findings = [self.orientation, self.weighting, self.contrast]
        if not self.kind.score and self.kind.words != self.contrast.words:
            findings.insert(0, self.kind)
        return f"{self.series.name} ({', '.join(finding.words for finding in findings)})"

    def reason(self) -> str:
        """Why it was taken, such as "series 5: sagittal, T1, contrast by tag and words"."""
        *others, last = self.contrast_signs or ("nothing",)
        signs = f"{', '.join(others)} and {last}" if others else last
        return f"{self.series.name}: {self.orientation.words}, {self.weighting.words}, contrast by {signs}"


def judge(series: Series) -> Judgement:
    """Answer kind, orientation, weighting and contrast for one MR series, or a part of one."""
    header = series.header
    derived = "DERIVED" in words_in(header, "ImageType")[:1]
    signs = contrast_signs(header)
    findings = orientation_of(header), weighting_of(header), contrast_of(header)
    return Judgement(series, *findings, derived, _whole(series) or kind_of(header), signs, is_elsewhere(header))


def _whole(series: Series) -> Finding | None:
    """What keeps a part of a series from being a volume of its own; None if nothing does."""
    if series.flaw:
        return Finding(0, series.flaw)
    if series.is_subset:
        return Finding(0, f"{series.places} of the {series.places_of_whole} slices of its stack")
    return None


def kind_of(header: Any) -> Finding:
    """Whether a series is an image, by Image Type and by its description."""
    values = words_in(header, "ImageType")[2:]
    for members, words in _KINDS:
        if members & set(values):
            return Finding(0, words)
    for found, words in (
        (is_localizer(header), "a localizer"),
        (is_subtraction(header), "a subtraction"),
        (is_projection(header), "a projection"),
    ):
        if found:
            return Finding(0, words)
    return Finding(BY_TAG, "an image")


def orientation_of(header: Any) -> Finding:
    """Plane of the slices, from the direction cosines alone."""
    cosines = numbers_of(header, "ImageOrientationPatient", 6)
    if cosines is None:
        return Finding(0, "no orientation")
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    plane = ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
    return Finding(BY_TAG if plane == "sagittal" else 0, plane)


def weighting_of(header: Any) -> Finding:
    """Whether the series is T1-weighted, by its times (ms) or its tag; by words only where these are absent."""
    repetition, echo, inversion = (
        number_of(header, keyword) for keyword in ("RepetitionTime", "EchoTime", "InversionTime")
    )
    named = weighting_by_words(header)
    if repetition is None or echo is None:
        if text_of(header, "AcquisitionContrast") == "T1":
            return Finding(BY_TAG, "T1")
        return Finding(BY_WORDS, "T1 by its description") if named else Finding(0, "no echo and repetition time")
    is_t1 = _is_t1(repetition, echo, inversion or 0.0, gradient="GR" in text_of(header, "ScanningSequence"))
    times = f"TR {repetition:.0f} ms, TE {echo:.0f} ms" + (f", TI {inversion:.0f} ms" if inversion else "")
    if not is_t1:
        return Finding(0, f"not T1 ({times})")
    return Finding(BY_WORDS, "T1 by its times, but not by its description") if named is False else Finding(BY_TAG, "T1")


def _is_t1(repetition_ms: float, echo_ms: float, inversion_ms: float, *, gradient: bool) -> bool:
    if echo_ms > (GRADIENT_ECHO_ECHO_MS if gradient else SPIN_ECHO_ECHO_MS):
        return False
    if inversion_ms > 0.0:
        return INVERSION_MS[0] <= inversion_ms <= INVERSION_MS[1] and repetition_ms <= INVERSION_REPETITION_MS
    return repetition_ms <= SPIN_ECHO_REPETITION_MS


def contrast_of(header: Any) -> Finding:
    """Whether contrast agent was given, by its tags and by the description.

    Words for "before contrast" outweigh the tags: some scanners write the agent into every series of an examination.
    """
    if is_subtraction(header) or any("SUBTRACT" in value for value in words_in(header, "ImageType")):
        return Finding(0, "a subtraction")
    if contrast_by_words(header) is False or text_of(header, "ContrastBolusAgentAdministered").upper() == "NO":
        return Finding(0, "before contrast")
    signs = contrast_signs(header)
    score = BY_TAG * ("tag" in signs) + BY_WORDS * ("words" in signs)
    return Finding(score, "after contrast" if score else "no sign of contrast agent")


def contrast_signs(header: Any) -> tuple[str, ...]:
    """What of "tag" and "words" speaks for contrast agent."""
    agent = text_of(header, "ContrastBolusAgent").lower()
    tagged = agent not in _NO_AGENT or bool(header.get("ContrastBolusAgentSequence"))
    dosed = any((number_of(header, k) or 0.0) > 0.0 for k in ("ContrastBolusVolume", "ContrastBolusTotalDose"))
    return ("tag",) * (tagged or dosed) + ("words",) * (contrast_by_words(header) is True)


def with_sign(judgement: Judgement, sign: str, words: str) -> Judgement:
    """The judgement with one more sign of contrast agent; `words` are told where it is the first."""
    contrast = judgement.contrast if judgement.contrast.score else Finding(BY_WORDS, words)
    return replace(judgement, contrast=contrast, contrast_signs=(*judgement.contrast_signs, sign))


def best(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The series that qualify with the highest score; more than one means that the headers do not decide."""
    qualified = [judgement for judgement in judgements if judgement.qualifies]
    top = max((judgement.score for judgement in qualified), default=0)
    return [judgement for judgement in qualified if judgement.score == top]
