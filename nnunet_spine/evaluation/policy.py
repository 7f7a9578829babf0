"""What a case scores where a mask is empty, absent or unusable: one table."""

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
    """Dice is computed, and the criterion decides on detection."""
    MISS = "miss"
    """Dice 0, not detected."""
    EXCLUDED = "excluded"
    """No Dice and no detection: the case is named and counts nowhere."""


_BY_PREDICTION = {
    MaskState.PRESENT: Verdict.MEASURED,
    MaskState.EMPTY: Verdict.MISS,
    MaskState.MISSING: Verdict.MISS,
    MaskState.UNUSABLE: Verdict.MISS,
}

VERDICTS: Mapping[tuple[MaskState, MaskState], Verdict] = MappingProxyType(
    {
        (reference, prediction): by_prediction if reference is MaskState.PRESENT else Verdict.EXCLUDED
        for reference in MaskState
        for prediction, by_prediction in _BY_PREDICTION.items()
    }
)
"""Verdict by the state of (reference, prediction).

Without a tumor in the reference there is nothing to detect or to overlap with, whatever was predicted. With one, all
that is not a usable prediction is a miss: leaving it out would raise every mean.
"""
