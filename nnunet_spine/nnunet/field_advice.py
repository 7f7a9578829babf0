"""What the bias fields of a data set's cases come to, and whether correcting them is advised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from nnunet_spine.protocol import BiasMethod

ADVISED_SHARE = 0.25
"""Correction is advised where at least this share of the cases has a field; it leaves the other cases as they are."""

TERMS = "95th over 5th percentile of the field in tissue, before gamma"


@dataclass(frozen=True)
class CaseField:
    """The field that Van Leemput's method sees in one case; all None where none could be measured.

    Parameters
    ----------
    case
        Identifier of the case.
    strength
        95th over 5th percentile of the field in tissue, before gamma; 1 is no field.
    confidence
        Probability that there is a field at all, by the evidence.
    order
        Of its polynomial; 0 is no field, or one that is too weak to be corrected.
    stop
        Why the estimation ended, or what kept it from being made.
    """

    case: str
    strength: float | None
    confidence: float | None
    order: int | None
    stop: str


@dataclass(frozen=True)
class FieldAdvice:
    """The fields of all cases in short.

    Parameters
    ----------
    measured
        Cases that could be measured.
    strengths
        Strengths of the cases with a field, growing.
    not_measured
        Why a case could not be measured, by its identifier.
    """

    measured: int
    strengths: tuple[float, ...]
    not_measured: dict[str, str]

    @property
    def advised(self) -> bool:
        """Whether correction is advised."""
        return self.measured > 0 and len(self.strengths) >= ADVISED_SHARE * self.measured

    def describe(self, method: BiasMethod) -> str:
        """One sentence for a reader, beside the method that the plans name."""
        if not self.measured:
            return "no bias field could be measured in any case: no advice"
        found = f"bias fields found in {len(self.strengths)} of {self.measured} cases"
        if self.strengths:
            low, high = self.strengths[0], self.strengths[-1]
            found += f", median strength x{median(self.strengths):.2f}, x{low:.2f} to x{high:.2f} ({TERMS})"
        off = method is BiasMethod.NONE
        if self.advised:
            return f"{found}: correction advised{'; these plans switch it off' if off else ''}"
        return f"{found}: correction not advised{'' if off else '; consider `--bias none`'}"

    def as_json(self, method: BiasMethod) -> dict[str, Any]:
        """Plain values, for a plans file."""
        return {
            "measured": self.measured,
            "with_field": len(self.strengths),
            "strength_is": TERMS,
            "strength_median": round(median(self.strengths), 3) if self.strengths else None,
            "strength_range": [self.strengths[0], self.strengths[-1]] if self.strengths else None,
            "not_measured": self.not_measured,
            "correction_advised": self.advised,
            "advice": self.describe(method),
        }


def advise(fields: Sequence[CaseField]) -> FieldAdvice:
    """Summarise the fields of all cases."""
    return FieldAdvice(
        measured=sum(field.strength is not None for field in fields),
        strengths=tuple(sorted(field.strength for field in fields if field.strength is not None and field.order)),
        not_measured={field.case: field.stop for field in fields if field.strength is None},
    )
