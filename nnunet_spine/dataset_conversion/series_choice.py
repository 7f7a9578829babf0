"""Which series of a study is the sagittal T1 after contrast: by tags and geometry first, by words second."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_spine.dataset_conversion.dicom_headers import Series, number_of, text_of

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

_AFTER_CONTRAST = re.compile(
    r"gad|\bgd\b|\+ ?c\b|\bc ?\+|\+ ?gd|\bpost(?!er)|\bkm\b|\bce\b|\bmdc\b|contrast|kontrast|enhanced"
)
_BEFORE_CONTRAST = re.compile(
    r"\bpre\b|precontrast|nativ|\bohne\b|without|w/o|\bnon?[ -]?con|unenhanced|\bbefore\b|\bplain\b|- ?c\b"
)
_T1_WORDS = re.compile(r"\bt1")
_OTHER_WEIGHTING_WORDS = re.compile(r"\bt2|\bpd\b|stir|dwi|\bdiff|flair")
_SUBTRACTION = re.compile(r"subtract|\bsub\b")
_NO_AGENT = {"", "none", "no", "n", "0", "nil", "without", "no contrast"}


@dataclass(frozen=True)
class Finding:
    """What one question found: a score of 0 means no, and the words say what was found."""

    score: int
    words: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """The answers for one series."""

    series: Series
    orientation: Finding
    weighting: Finding
    contrast: Finding
    derived: bool

    @property
    def qualifies(self) -> bool:
        """Whether it is a sagittal T1 after contrast."""
        return all(finding.score for finding in (self.orientation, self.weighting, self.contrast))

    @property
    def score(self) -> int:
        """How sure the answers are; an image derived from others comes after its original."""
        return self.orientation.score + self.weighting.score + self.contrast.score - int(self.derived)

    def describe(self) -> str:
        """One phrase such as "series 5: sagittal, T1, after contrast"."""
        found = ", ".join(finding.words for finding in (self.orientation, self.weighting, self.contrast))
        return f"series {self.series.number} ({found})"


def description_of(header: Any) -> str:
    """Series description and protocol name in lower case, underscores as spaces."""
    return f"{text_of(header, 'SeriesDescription')} | {text_of(header, 'ProtocolName')}".lower().replace("_", " ")


def judge(series: Series) -> Judgement:
    """Answer orientation, weighting and contrast for one MR series."""
    header = series.header
    image_type = [str(value).upper() for value in header.get("ImageType") or []]
    return Judgement(
        series, orientation_of(header), weighting_of(header), contrast_of(header), derived="DERIVED" in image_type[:1]
    )


def orientation_of(header: Any) -> Finding:
    """Whether the slices are sagittal, by the cross product of the row and column directions (LPS)."""
    try:
        cosines = np.asarray([float(v) for v in header.get("ImageOrientationPatient") or []])
    except (TypeError, ValueError):
        cosines = np.empty(0)
    if cosines.shape != (6,):
        return Finding(0, "no orientation")
    normal = np.abs(np.cross(cosines[:3], cosines[3:]))
    plane = ("sagittal", "coronal", "axial")[int(np.argmax(normal))]
    return Finding(BY_TAG if plane == "sagittal" else 0, plane)


def weighting_of(header: Any) -> Finding:
    """Whether the series is T1-weighted, by its times (ms); by words only where the times are absent."""
    repetition, echo, inversion = (
        number_of(header, keyword) for keyword in ("RepetitionTime", "EchoTime", "InversionTime")
    )
    if repetition is None or echo is None:
        words = description_of(header)
        if _T1_WORDS.search(words) and not _OTHER_WEIGHTING_WORDS.search(words):
            return Finding(BY_WORDS, "T1 by its description")
        return Finding(0, "no echo and repetition time")
    is_t1 = _is_t1(repetition, echo, inversion or 0.0, gradient="GR" in text_of(header, "ScanningSequence"))
    times = f"TR {repetition:.0f} ms, TE {echo:.0f} ms" + (f", TI {inversion:.0f} ms" if inversion else "")
    return Finding(BY_TAG, "T1") if is_t1 else Finding(0, f"not T1 ({times})")


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
    words = description_of(header)
    if _SUBTRACTION.search(words) or "SUBTRACT" in text_of(header, "ImageType").upper():
        return Finding(0, "a subtraction")
    if _BEFORE_CONTRAST.search(words):
        return Finding(0, "before contrast")
    agent = text_of(header, "ContrastBolusAgent").lower()
    tagged = agent not in _NO_AGENT or bool(header.get("ContrastBolusAgentSequence"))
    dosed = any((number_of(header, k) or 0.0) > 0.0 for k in ("ContrastBolusVolume", "ContrastBolusTotalDose"))
    score = BY_TAG * (tagged or dosed) + BY_WORDS * bool(_AFTER_CONTRAST.search(words))
    return Finding(score, "after contrast" if score else "no sign of contrast agent")


def best(judgements: Sequence[Judgement]) -> list[Judgement]:
    """The series that qualify with the highest score; more than one means that the headers do not decide."""
    qualified = [judgement for judgement in judgements if judgement.qualifies]
    top = max((judgement.score for judgement in qualified), default=0)
    return [judgement for judgement in qualified if judgement.score == top]
