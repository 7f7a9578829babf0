"""What the order of acquisition says of contrast agent: of two like series, the later one is after it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from nnunet_spine.dataset_conversion.dicom_headers import Series, number_of, numbers_of, text_of
from nnunet_spine.dataset_conversion.series_choice import Judgement, with_sign

LIKE_TIMES = 0.1
"""Repetition and echo times of like series differ by at most this fraction."""

SAME_TIME_SECONDS = 1.0
"""Times of acquisition that differ by no more are one."""

LIKE_PLACE_MM = 40.0
"""Middles of the stacks of like series are at most this far apart."""


def with_timing(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Judgements of one study, with "timing" as a sign of contrast agent.

    A sagittal T1 that was acquired after a like one without sign of contrast agent is after it: for the series that
    have other signs as a confirmation, else for the last one, where no series of the study has any sign.
    """
    told = any(judgement.contrast_signs for judgement in judgements)
    judged = []
    for judgement in judgements:
        later = judgement.is_sagittal_t1 and any(_is_followed(other, judgement) for other in judgements)
        counts = later and (bool(judgement.contrast.score) or (not told and _may_be_after(judgement)))
        judged.append(with_sign(judgement, "timing", "later than a like series") if counts else judgement)
    return judged


def acquired_at(header: Any) -> float | None:
    """When a series was acquired, in seconds that compare within a study; None if it is not known.

    The value is private. Times are written with or without fractions and colons, so text does not compare.
    """
    for date, time in (("AcquisitionDate", "AcquisitionTime"), ("SeriesDate", "SeriesTime")):
        if text_of(header, time):
            return _seconds(text_of(header, date), text_of(header, time))
    moment = text_of(header, "FrameAcquisitionDateTime") or text_of(header, "FrameReferenceDateTime")
    return _seconds(moment[:8], moment[8:])


def _seconds(date: str, time: str) -> float | None:
    """Seconds of a date (DA) and a time (TM, or the rest of a DT) since the year 0; a missing date counts as 0."""
    clock = re.fullmatch(r"(\d\d):?(\d\d)?:?(\d\d(?:\.\d*)?)?(?:[+-]\d{4})?", time.strip())
    if not clock:
        return None
    hours, minutes, seconds = (float(part or 0) for part in clock.groups())
    try:
        days = datetime.strptime(date.replace(".", ""), "%Y%m%d").toordinal() if date else 0
    except ValueError:
        days = 0
    return 86400.0 * days + 3600 * hours + 60 * minutes + seconds


def _may_be_after(judgement: Judgement) -> bool:
    """Whether nothing says that it is before contrast agent."""
    return judgement.contrast.words == "no sign of contrast agent"


def _is_followed(earlier: Judgement, later: Judgement) -> bool:
    """Whether the first is a like series without contrast agent, acquired before the second."""
    times = acquired_at(earlier.series.header), acquired_at(later.series.header)
    return (
        earlier is not later
        and earlier.is_sagittal_t1
        and not earlier.contrast.score
        and times[0] is not None
        and times[1] is not None
        and times[1] - times[0] > SAME_TIME_SECONDS
        and _alike(earlier.series, later.series)
    )


def _alike(one: Series, other: Series) -> bool:
    for keyword in ("RepetitionTime", "EchoTime"):
        values = number_of(one.header, keyword) or 0.0, number_of(other.header, keyword) or 0.0
        if abs(values[0] - values[1]) > LIKE_TIMES * max(values):
            return False
    middle, others = _middle(one), _middle(other)
    return middle is None or others is None or bool(np.linalg.norm(np.subtract(middle, others)) <= LIKE_PLACE_MM)


def _middle(series: Series) -> tuple[float, ...] | None:
    positions = [numbers_of(one.header, "ImagePositionPatient", 3) for one in series.slices]
    known = [position for position in positions if position is not None]
    return tuple(np.mean(known, axis=0)) if known else None
