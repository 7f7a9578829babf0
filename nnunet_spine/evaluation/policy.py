"""What a case scores where a mask is empty, absent or unusable: one table for the verdict, one for every metric."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class MaskState(StrEnum):
    """What was found where a mask should be."""

    PRESENT = "present"
    EMPTY = "empty"
    MISSING = "missing"
    UNUSABLE = "unusable"


class Verdict(StrEnum):
    """What becomes of a case."""

    MEASURED = "measured"
    """Every metric is computed, and the criterion decides on detection."""
    MISS = "miss"
    """A tumor without a usable prediction of anything: Dice 0, not detected."""
    NEGATIVE = "negative"
    """No tumor in the reference: no Dice and no detection; counts towards specificity."""
    EXCLUDED = "excluded"
    """Cannot be judged: the case is named and counts nowhere."""


VERDICTS: Mapping[tuple[MaskState, MaskState], Verdict] = MappingProxyType(
    {
        **{(reference, prediction): Verdict.EXCLUDED for reference in MaskState for prediction in MaskState},
        **{(MaskState.PRESENT, prediction): Verdict.MISS for prediction in MaskState},
        (MaskState.PRESENT, MaskState.PRESENT): Verdict.MEASURED,
        (MaskState.EMPTY, MaskState.PRESENT): Verdict.NEGATIVE,
        (MaskState.EMPTY, MaskState.EMPTY): Verdict.NEGATIVE,
    }
)
"""Verdict by the state of (reference, prediction).

With a tumor in the reference, all that is not a usable prediction is a miss: leaving it out would raise every mean.
Without one there is nothing to detect or to overlap with; a usable prediction is then right where it is empty.
"""

_NOTHING: Mapping[Verdict, float | None] = {Verdict.MISS: 0.0, Verdict.NEGATIVE: None, Verdict.EXCLUDED: None}
_UNDEFINED: Mapping[Verdict, float | None] = {Verdict.MISS: None, Verdict.NEGATIVE: None, Verdict.EXCLUDED: None}

SCORES: Mapping[str, Mapping[Verdict, float | None]] = MappingProxyType(
    {
        "dice": _NOTHING,
        "iou": _NOTHING,
        "recall": _NOTHING,
        "nsd_1mm": _NOTHING,
        "nsd_2mm": _NOTHING,
        "precision": _UNDEFINED,
        "hd95_mm": _UNDEFINED,
        "centroid_distance_mm": _UNDEFINED,
    }
)
"""What each metric scores where the case is not measured; None is "not defined", and leaves every mean.

A miss finds nothing of the tumor and of its surface: 0. Nothing predicted has no precision, no surface to be away
from, and no centroid; a number in their place (the image's diagonal, say) would be made up, so a mean of these
three is one over the cases that have a prediction, and is to be read beside the sensitivity.

Volumes and counts need no rule: an empty mask has volume 0, no lesion and no false positive. A prediction that is
missing or unusable has no volume and no difference of volume, and counts as none of either. A predicted component in
an empty reference is a false positive. Where the reference is missing or unusable, nothing is scored.
"""


def scores(verdict: Verdict) -> dict[str, float | None]:
    """What each metric scores by a verdict other than MEASURED."""
    return {name: by_verdict[verdict] for name, by_verdict in SCORES.items()}
