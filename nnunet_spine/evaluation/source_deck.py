"""The source deck's published table, and which of its figures no reading can reproduce.

A printed figure stands for the interval that rounds to it. Other figures of the
table confine it to a second interval. Where the two do not meet, under any
reading considered, the figure is inconsistent with its own table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product, zip_longest

from nnunet_spine.evaluation.results import Evaluation
from nnunet_spine.evaluation.tables import rate, table_rows

DECIMALS = 2
"""Decimals of the Dice figures. The deck drops a trailing zero: its 0.3 and 0.2 are read as 0.30 and 0.20."""


class Column(StrEnum):
    """Figures of a row that can be checked."""

    SENSITIVITY = "sensitivity"
    DICE_MEAN = "overall mean Dice"
    DICE_SD = "overall Dice SD"
    TRUE_POSITIVE_DICE_MEAN = "true-positive mean Dice"
    TRUE_POSITIVE_DICE_SD = "true-positive Dice SD"


@dataclass(frozen=True)
class Interval:
    """Closed interval of possible values."""

    low: float
    high: float

    @classmethod
    def rounding_to(cls, value: float, decimals: int = DECIMALS) -> Interval:
        """Values that are printed as `value` with so many decimals."""
        half = 0.5 * 10.0**-decimals
        return cls(value - half, value + half)

    def meets(self, other: Interval) -> bool:
        """Whether both have a value in common, to floating-point accuracy."""
        slack = 1e-9
        return self.low <= other.high + slack and other.low <= self.high + slack

    def common(self, other: Interval) -> Interval:
        """Values in both; `self` where there is none."""
        return Interval(max(self.low, other.low), min(self.high, other.high)) if self.meets(other) else self

    def scaled(self, factor: float) -> Interval:
        """All values times a positive factor."""
        return Interval(self.low * factor, self.high * factor)

    def describe(self, decimals: int) -> str:
        """As "0.217 to 0.224", or one number where both ends agree."""
        low, high = f"{self.low:.{decimals}f}", f"{self.high:.{decimals}f}"
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True)
class PublishedFold:
    """A fold's row as published.

    Parameters
    ----------
    fold
        The deck's number, from 1.
    cases, detected
        Counts.
    percent
        Printed sensitivity.
    dice_mean, dice_sd, true_positive_dice_mean, true_positive_dice_sd
        Printed figures.
    """

    fold: int
    cases: int
    detected: int
    percent: int
    dice_mean: float
    dice_sd: float
    true_positive_dice_mean: float
    true_positive_dice_sd: float

    @property
    def name(self) -> str:
        """Name of the row."""
        return f"fold {self.fold}"

    @property
    def proportion(self) -> float:
        """Detected cases over cases."""
        return self.detected / self.cases


@dataclass(frozen=True)
class PublishedAverage:
    """The average row as published."""

    percent: float
    dice_mean: float
    dice_sd: float
    true_positive_dice_mean: float
    true_positive_dice_sd: float

    name = "average"


FOLDS = (
    PublishedFold(1, 15, 11, 73, 0.35, 0.27, 0.47, 0.21),
    PublishedFold(2, 15, 12, 80, 0.42, 0.30, 0.52, 0.24),
    PublishedFold(3, 15, 8, 53, 0.18, 0.24, 0.33, 0.20),
    PublishedFold(4, 13, 8, 62, 0.36, 0.33, 0.58, 0.23),
)
AVERAGE = PublishedAverage(66.5, 0.33, 0.27, 0.48, 0.22)


@dataclass(frozen=True)
class Inconsistency:
    """A printed figure that no reading reproduces.

    Parameters
    ----------
    row
        "fold 3" or "average", in the deck's numbers.
    column
        The figure.
    printed
        As printed.
    readings
        What was tried, and the interval that it allows.
    decimals
        With which the intervals are worth printing.
    """

    row: str
    column: Column
    printed: str
    readings: tuple[tuple[str, Interval], ...]
    decimals: int

    def describe(self) -> str:
        """One sentence for a footnote."""
        tried = "; ".join(f"{interval.describe(self.decimals)} ({name})" for name, interval in self.readings)
        return f"{self.row}, {self.column} {self.printed}: no reading gives it. Possible: {tried}."


Readings = dict[str, Interval]


def inconsistencies() -> list[Inconsistency]:
    """Printed figures of the source deck's table that the rest of the table rules out, in the table's order."""
    found = [item for fold in FOLDS for item in _fold_inconsistencies(fold)]
    return [*found, *_average_inconsistencies()]


def overall_sd(
    fold: PublishedFold, *, ddof: int = 0, true_positive_ddof: int = 0, sd: Interval | None = None
) -> Interval:
    """Overall SDs that a fold's other figures allow, a missed case counting as Dice 0.

    Parameters
    ----------
    fold
        The row.
    ddof, true_positive_ddof
        By which the overall and the true-positive SD are taken to be computed.
    sd
        True-positive SDs to allow; None takes those that round to the printed one.

    Returns
    -------
    Interval
        From the variance of a mixture: a proportion p of detected cases with mean m and SD s has, together with the
        zeros, the variance p s^2 + p (1 - p) m^2.
    """
    p, n, d = fold.proportion, fold.cases, fold.detected
    by_overall = Interval.rounding_to(fold.dice_mean).scaled(1 / p)
    mean = Interval.rounding_to(fold.true_positive_dice_mean).common(by_overall)
    sd = sd or Interval.rounding_to(fold.true_positive_dice_sd)

    def at(m: float, s: float) -> float:
        """Overall SD for one mean and SD of the detected cases."""
        within = s**2 * (d - true_positive_ddof) / d
        return math.sqrt((p * within + p * (1 - p) * m**2) * n / (n - ddof))

    return Interval(at(mean.low, sd.low), at(mean.high, sd.high))


def _check(row: str, column: Column, printed: float, decimals: int, readings: Readings) -> list[Inconsistency]:
    """The inconsistency, or nothing where one of the readings allows the printed figure."""
    interval = Interval.rounding_to(printed, decimals)
    if any(reading.meets(interval) for reading in readings.values()):
        return []
    return [Inconsistency(row, column, f"{printed:.{decimals}f}", tuple(readings.items()), decimals + 1)]


def _fold_inconsistencies(fold: PublishedFold) -> list[Inconsistency]:
    share = Interval(100 * fold.proportion, 100 * fold.proportion)
    product_of_two = Interval.rounding_to(fold.true_positive_dice_mean).scaled(fold.proportion)
    sds = {
        f"ddof {ddof}, true-positive ddof {tp_ddof}": overall_sd(fold, ddof=ddof, true_positive_ddof=tp_ddof)
        for ddof, tp_ddof in product((0, 1), repeat=2)
    }
    return [
        *_check(fold.name, Column.SENSITIVITY, fold.percent, 0, {"detected / cases": share}),
        *_check(
            fold.name, Column.DICE_MEAN, fold.dice_mean, DECIMALS, {"sensitivity x true-positive Dice": product_of_two}
        ),
        *_check(fold.name, Column.DICE_SD, fold.dice_sd, DECIMALS, sds),
    ]


def _average_inconsistencies() -> list[Inconsistency]:
    cases, detected = [f.cases for f in FOLDS], [f.detected for f in FOLDS]
    dice = [Interval.rounding_to(f.dice_mean) for f in FOLDS]
    dice_sd = [Interval.rounding_to(f.dice_sd) for f in FOLDS]
    possible_sd = [overall_sd(f).common(sd) for f, sd in zip(FOLDS, dice_sd, strict=True)]
    tp = [Interval.rounding_to(f.true_positive_dice_mean) for f in FOLDS]
    tp_sd = [Interval.rounding_to(f.true_positive_dice_sd) for f in FOLDS]
    rates = [100 * f.proportion for f in FOLDS]
    pooled_rate = 100 * sum(detected) / sum(cases)
    sensitivity = {
        "mean of the four printed percentages": _mean([Interval(f.percent, f.percent) for f in FOLDS]),
        "mean of the four exact rates": _mean([Interval(r, r) for r in rates]),
        f"pooled {sum(detected)}/{sum(cases)}": Interval(pooled_rate, pooled_rate),
    }
    sds = {
        "mean of the four printed SDs": _mean(dice_sd),
        "mean of the four possible SDs": _mean(possible_sd),
        "pooled over all cases": _pooled_sd(dice, possible_sd, cases),
    }
    tp_sds = {"mean of the four": _mean(tp_sd), "pooled": _pooled_sd(tp, tp_sd, detected)}
    row = AVERAGE.name
    means = {"mean of the four": _mean(dice), "pooled": _mean(dice, cases)}
    tp_means = {"mean of the four": _mean(tp), "pooled": _mean(tp, detected)}
    return [
        *_check(row, Column.SENSITIVITY, AVERAGE.percent, 1, sensitivity),
        *_check(row, Column.DICE_MEAN, AVERAGE.dice_mean, DECIMALS, means),
        *_check(row, Column.DICE_SD, AVERAGE.dice_sd, DECIMALS, sds),
        *_check(row, Column.TRUE_POSITIVE_DICE_MEAN, AVERAGE.true_positive_dice_mean, DECIMALS, tp_means),
        *_check(row, Column.TRUE_POSITIVE_DICE_SD, AVERAGE.true_positive_dice_sd, DECIMALS, tp_sds),
    ]


def _mean(intervals: Sequence[Interval], weights: Sequence[int] | None = None) -> Interval:
    shares = [w / sum(weights) for w in weights] if weights else [1 / len(intervals)] * len(intervals)
    parts = [i.scaled(share) for i, share in zip(intervals, shares, strict=True)]
    return Interval(sum(p.low for p in parts), sum(p.high for p in parts))


def _pooled_sd(means: Sequence[Interval], sds: Sequence[Interval], counts: Sequence[int]) -> Interval:
    """SDs (ddof 0) of all cases together, by intervals, hence rather too wide than too narrow."""
    squares = [Interval(m.low**2 + s.low**2, m.high**2 + s.high**2) for m, s in zip(means, sds, strict=True)]
    square, mean = _mean(squares, counts), _mean(means, counts)
    return Interval(math.sqrt(max(0.0, square.low - mean.high**2)), math.sqrt(square.high - mean.low**2))


ONE_DECIMAL_REMARK = (
    "The deck drops a trailing zero: its 0.3 and 0.2 are read as 0.30 and 0.20. Only if the 0.2 for the true-positive "
    "SD of fold 3 were rounded to one decimal would the 0.24 beside it be possible."
)
BESIDE_HEADER = ("", "cases", "sensitivity", "overall Dice", "true-positive Dice")


def rows_beside(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Our rows and the deck's in turn: fold by fold, then the averages; an asterisk marks an inconsistent figure."""
    *ours, our_average = table_rows(evaluation)
    rows = [row for pair in zip_longest(ours, published_rows()[:-1]) for row in pair if row is not None]
    return [*rows, our_average, published_rows()[-1]]


def published_rows() -> list[tuple[str, ...]]:
    """The published table with an asterisk at each inconsistent figure; rows are called "deck fold 1" and so on."""
    flagged = {(item.row, item.column) for item in inconsistencies()}

    def cells(row: PublishedFold | PublishedAverage, cases: int, sensitivity: str) -> tuple[str, ...]:
        """Cells of a row, flagged."""

        def mark(*columns: Column) -> str:
            """An asterisk where any of the columns is inconsistent."""
            return "*" if any((row.name, column) in flagged for column in columns) else ""

        dice = f"{row.dice_mean:.2f} ± {row.dice_sd:.2f}{mark(Column.DICE_MEAN, Column.DICE_SD)}"
        tp_mark = mark(Column.TRUE_POSITIVE_DICE_MEAN, Column.TRUE_POSITIVE_DICE_SD)
        tp = f"{row.true_positive_dice_mean:.2f} ± {row.true_positive_dice_sd:.2f}{tp_mark}"
        return f"deck {row.name}", str(cases), sensitivity + mark(Column.SENSITIVITY), dice, tp

    folds = [cells(fold, fold.cases, rate(fold.detected, fold.cases)) for fold in FOLDS]
    return [*folds, cells(AVERAGE, sum(f.cases for f in FOLDS), f"{AVERAGE.percent} %")]


def footnotes() -> list[str]:
    """What the asterisks mean, one sentence for each."""
    return [
        "The source deck's cases are not ours: its figures stand here as published, not as a target.",
        *[f"* {item.describe()}" for item in inconsistencies()],
        ONE_DECIMAL_REMARK,
    ]


def average_sensitivity_note() -> str:
    """Why the published average sensitivity is not what the published folds give."""
    items = inconsistencies()
    item = next(i for i in items if (i.row, i.column) == (AVERAGE.name, Column.SENSITIVITY))
    readings = ", ".join(f"{interval.describe(1)} % ({name})" for name, interval in item.readings)
    return f"The source deck's average sensitivity of {item.printed} % is not reproduced; its folds give {readings}."
