"""The worst cases with reasons that were measured, and how often each reason holds among the others too."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from nnunet_spine.evaluation.facts import FEWEST, CaseFacts
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.strata import thirds
from nnunet_spine.evaluation.tables import rate
from nnunet_spine.json_entries import Entry

WORST_CASES_FILE = "worst_cases.csv"
WORST_SHARE = 0.25
"""The worst cases are those that were not detected, and as many more of the lowest Dice as make this share."""

LEAST_SEPARATION = 0.4
"""Below this, the lesion hardly shows: no intensity threshold has sensitivity + specificity - 1 of as much."""

LEAST_CEILING = 0.8
"""A Dice after the resize and back below which the network's grid is too coarse for the lesion."""

MOST_OF_THE_REST = 0.5
"""A reason that holds for more than this share of the other cases is none."""

MORE_OFTEN = 1.5
"""Nor is one whose share among the worst is less than this many times that among the rest."""


class Cause(StrEnum):
    """What can make a case hard."""

    SMALL = "small lesion"
    LOW_CONTRAST = "low contrast"
    AT_BORDER = "cut by the view"
    TYPE_UNSEEN = "tumor type unseen"
    MAKER_UNSEEN = "maker unseen"
    ELSEWHERE = "prediction elsewhere"
    COARSE_GRID = "coarse grid"
    BIAS_FIELD = "strong bias field"


@dataclass(frozen=True)
class Reason:
    """A cause measured on one case.

    Parameters
    ----------
    cause
        Which.
    value, threshold
        What was measured, and the limit that it lies beyond where the reason holds.
    holds
        Whether it lies beyond.
    """

    cause: Cause
    value: float
    threshold: float
    holds: bool

    @property
    def sentence(self) -> str:
        """In words, with value and threshold."""
        return _SENTENCES[self.cause].format(value=self.value, threshold=self.threshold)


_SENTENCES: Mapping[Cause, str] = MappingProxyType(
    {
        Cause.SMALL: "the lesion is small: {value:.2f} ml, the lowest third being below {threshold:.2f} ml",
        Cause.LOW_CONTRAST: "the lesion hardly stands out: separation {value:.2f} of 1 from the tissue around it, "
        "below {threshold:.2f}",
        Cause.AT_BORDER: "the lesion reaches the border of the image with {value:.0f} voxels",
        Cause.TYPE_UNSEEN: "its fold trained on {value:.0f} cases of this tumor type",
        Cause.MAKER_UNSEEN: "its fold trained on {value:.0f} cases of this maker",
        Cause.ELSEWHERE: "the prediction lies elsewhere: its centroid is {value:.0f} mm from the lesion's, which "
        "reaches {threshold:.0f} mm",
        Cause.COARSE_GRID: "the network's grid is coarse for it: Dice {value:.2f} after the resize and back, below "
        "{threshold:.2f}",
        Cause.BIAS_FIELD: "the bias field is strong: x{value:.2f}, the highest third being from x{threshold:.2f}",
    }
)


class Weight(StrEnum):
    """What a reason's frequency says."""

    MORE_FREQUENT = "more often in the worst"
    COMMON = "in most of the rest too"
    NOT_MORE_FREQUENT = "not more often"
    NOT_JUDGED = f"n < {FEWEST}: not judged"


@dataclass(frozen=True)
class Frequency:
    """How often a reason holds.

    Parameters
    ----------
    cause
        The reason.
    worst, of_worst, rest, of_rest
        Cases in which it holds, of those in which it was measured.
    """

    cause: Cause
    worst: int
    of_worst: int
    rest: int
    of_rest: int

    @property
    def weight(self) -> Weight:
        """Whether the reason tells the worst cases from the rest; counts only, no test."""
        if min(self.of_worst, self.of_rest) < FEWEST:
            return Weight.NOT_JUDGED
        if self.rest / self.of_rest > MOST_OF_THE_REST:
            return Weight.COMMON
        share, of_rest = self.worst / self.of_worst, self.rest / self.of_rest
        more = share > 0 and share >= MORE_OFTEN * of_rest
        return Weight.MORE_FREQUENT if more else Weight.NOT_MORE_FREQUENT

    def cells(self) -> tuple[str, ...]:
        """Cells of its row below `FREQUENCY_HEADER`."""
        return (self.cause.value, rate(self.worst, self.of_worst), rate(self.rest, self.of_rest), self.weight.value)

    @classmethod
    def from_entry(cls, content: Entry) -> Frequency:
        """Read what `to_json` gave; `BadInput` if it is something else."""
        counts = [content.get(name).count() for name in ("worst", "of_worst", "rest", "of_rest")]
        return cls(content.get("cause").choice(Cause), *counts)

    def to_json(self) -> dict[str, Any]:
        """The counts and what they say."""
        counts = {name: getattr(self, name) for name in ("worst", "of_worst", "rest", "of_rest")}
        return {"cause": self.cause.value, **counts, "weight": self.weight.value}


@dataclass(frozen=True)
class WorstCase:
    """One of the worst cases with everything measured on it."""

    facts: CaseFacts
    reasons: tuple[Reason, ...]


FREQUENCY_HEADER = ("reason", "worst", "rest", "")
COLUMNS = ("case", "patient", "fold", "dice", "detected", "reason", "value", "threshold", "holds", "weight", "sentence")


@dataclass(frozen=True)
class WorstCases:
    """The worst cases, lowest Dice first, the number judged, and the frequency of each reason that was measured."""

    cases: tuple[WorstCase, ...]
    judged: int
    frequencies: tuple[Frequency, ...]

    def probable(self, case: WorstCase) -> list[Reason]:
        """Reasons that hold for a case and are not as frequent among the rest, or too few to say."""
        telling = {f.cause for f in self.frequencies if f.weight in (Weight.MORE_FREQUENT, Weight.NOT_JUDGED)}
        return [reason for reason in case.reasons if reason.holds and reason.cause in telling]

    def describe(self, case: WorstCase) -> str:
        """One line: case, Dice, probable reasons."""
        reasons = "; ".join(reason.sentence for reason in self.probable(case)) or "no reason found in what was measured"
        result = case.facts.result
        missed = "" if result.detected else ", not detected"
        nothing = "" if result.prediction is MaskState.PRESENT else f", prediction {result.prediction.value}"
        return f"{result.case} (Dice {case.facts.dice:.2f}{missed}{nothing}): {reasons}."

    def frequency_rows(self) -> list[tuple[str, ...]]:
        """Rows below `FREQUENCY_HEADER`."""
        return [frequency.cells() for frequency in self.frequencies]

    def heading(self) -> str:
        """What the list is."""
        return (
            f"Worst cases: {len(self.cases)} of {self.judged}, those not detected and those of the lowest Dice up to a "
            "quarter. Reasons are measured; one that holds for most of the rest, or not "
            f"{MORE_OFTEN:g} times as often as there, is not given. These are counts, not a test."
        )

    def csv_rows(self) -> list[dict[str, Any]]:
        """Rows of worst_cases.csv: one for each case and reason measured on it, or one without a reason."""
        weights = {f.cause: f.weight.value for f in self.frequencies}
        rows: list[dict[str, Any]] = []
        for case in self.cases:
            result = case.facts.result
            named = {name: getattr(result, name) for name in ("case", "patient", "fold", "dice", "detected")}
            rows += [{**named, **_reason_json(reason), "weight": weights[reason.cause]} for reason in case.reasons] or [
                named
            ]
        return rows

    def to_json(self) -> dict[str, Any]:
        """Value of the key "worst_cases" in evaluation.json."""
        return {
            "definition": self.heading(),
            "cases": [
                {
                    "case": case.facts.result.case,
                    "dice": case.facts.dice,
                    "probable": [reason.sentence for reason in self.probable(case)],
                    "reasons": [_reason_json(reason) for reason in case.reasons],
                }
                for case in self.cases
            ],
            "frequencies": [f.to_json() for f in self.frequencies],
        }


def find_worst(facts: Sequence[CaseFacts]) -> WorstCases:
    """Tell the worst cases from the rest, and measure what may explain them.

    Parameters
    ----------
    facts
        The judged cases.
    """
    measure = _measures(facts)
    ordered = sorted(facts, key=lambda f: (f.dice, bool(f.result.detected), f.result.case))
    missed = [f for f in ordered if not f.result.detected]
    found = [f for f in ordered if f.result.detected]
    worst = missed + found[: max(math.ceil(WORST_SHARE * len(facts)) - len(missed), 0)]
    worst.sort(key=lambda f: (f.dice, f.result.case))
    names = {f.result.case for f in worst}
    reasons = {f.result.case: tuple(measure(f)) for f in facts}
    return WorstCases(
        cases=tuple(WorstCase(f, reasons[f.result.case]) for f in worst),
        judged=len(facts),
        frequencies=tuple(_frequencies(reasons, names)),
    )


def _frequencies(reasons: Mapping[str, Sequence[Reason]], worst: set[str]) -> Iterator[Frequency]:
    for cause in Cause:
        held: dict[bool, list[bool]] = {True: [], False: []}
        for case, measured in reasons.items():
            held[case in worst] += [reason.holds for reason in measured if reason.cause is cause]
        if held[True] or held[False]:
            bad, good = held[True], held[False]
            yield Frequency(cause, sum(bad), len(bad), sum(good), len(good))


def _measures(facts: Sequence[CaseFacts]) -> Callable[[CaseFacts], Iterator[Reason]]:
    """What measures a case; sizes and fields against thirds of `facts`."""
    sizes = thirds([f.result.reference_volume_ml for f in facts])
    strengths = thirds([f.field_strength for f in facts])

    def measure(fact: CaseFacts) -> Iterator[Reason]:
        """Each reason that could be measured."""
        seen, volume_ml = fact.seen, fact.result.reference_volume_ml
        distance_mm = fact.result.measures.centroid_distance_mm if fact.result.measures else None
        separation = seen.appearance.separation if seen.appearance else None
        yield from _below(Cause.SMALL, volume_ml, sizes[0] if sizes else None)
        yield from _below(Cause.LOW_CONTRAST, separation, LEAST_SEPARATION)
        yield from _from(Cause.AT_BORDER, seen.border_voxels, 1)
        yield from _below(Cause.TYPE_UNSEEN, fact.trained_on_type, 1)
        yield from _below(Cause.MAKER_UNSEEN, fact.trained_on_maker, 1)
        yield from _from(Cause.ELSEWHERE, distance_mm, seen.half_length_mm)
        yield from _below(Cause.COARSE_GRID, fact.ceiling_dice, LEAST_CEILING)
        yield from _from(Cause.BIAS_FIELD, fact.field_strength, strengths[-1] if strengths else None)

    return measure


def _below(cause: Cause, value: float | None, threshold: float | None) -> Iterator[Reason]:
    if value is not None and threshold is not None:
        yield Reason(cause, float(value), float(threshold), value < threshold)


def _from(cause: Cause, value: float | None, threshold: float | None) -> Iterator[Reason]:
    if value is not None and threshold is not None:
        yield Reason(cause, float(value), float(threshold), value >= threshold)


def _reason_json(reason: Reason) -> dict[str, Any]:
    names = {"reason": reason.cause.value, "value": reason.value, "threshold": reason.threshold}
    return {**names, "holds": reason.holds, "sentence": reason.sentence}
