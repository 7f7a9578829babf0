"""Figures of each fold and of all folds together, with what they leave open: spread, quartiles, 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_spine.evaluation.intervals import (
    CONFIDENCE,
    FEWEST_FOR_BOOTSTRAP,
    ConfidenceInterval,
    bca_of_mean,
    clopper_pearson,
)
from nnunet_spine.evaluation.patients import dice_by_patient, spared_by_patient
from nnunet_spine.evaluation.results import CaseResult, Evaluation, Group
from nnunet_spine.protocol import PROTOCOL

UNIT = (
    "The unit is the patient: its Dice is the mean over its judged cases, it is detected when any of its cases is, and "
    "false positives are summed over its cases."
)
METHODS = (
    "Intervals of mean Dice are BCa bootstrap intervals over patients; of rates, Clopper-Pearson's. Quartiles are "
    f"interpolated linearly; SDs have ddof {PROTOCOL.dice_sd_ddof}."
)


@dataclass(frozen=True)
class Proportion:
    """A rate of patients with its exact 95 % interval; both None without a patient."""

    count: int
    total: int

    @property
    def rate(self) -> float | None:
        """Count over total."""
        return self.count / self.total if self.total else None

    @property
    def interval(self) -> ConfidenceInterval | None:
        """Clopper-Pearson's."""
        return clopper_pearson(self.count, self.total)


@dataclass(frozen=True)
class DiceSummary:
    """Distribution of the patients' Dice; None where a figure is not defined.

    Parameters
    ----------
    mean, sd, median, lower_quartile, upper_quartile
        Over patients, a missed one counting 0.
    interval
        95 % interval of the mean; None with fewer than 3 patients or where all are equal.
    """

    mean: float | None = None
    sd: float | None = None
    median: float | None = None
    lower_quartile: float | None = None
    upper_quartile: float | None = None
    interval: ConfidenceInterval | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> DiceSummary:
        """Figures of one value for each patient."""
        array = np.asarray(values, dtype=np.float64)
        if not array.size:
            return cls()
        sd = float(array.std(ddof=PROTOCOL.dice_sd_ddof)) if array.size > PROTOCOL.dice_sd_ddof else None
        lower, median, upper = (float(q) for q in np.quantile(array, (0.25, 0.5, 0.75)))
        return cls(float(array.mean()), sd, median, lower, upper, bca_of_mean(array))


@dataclass(frozen=True)
class GroupSummary:
    """Summary of some cases.

    Parameters
    ----------
    cases, patients
        Judged cases, and their patients.
    dice
        Of the patients.
    sensitivity
        Detected patients of those with a tumor.
    specificity
        Patients without a tumor in whom nothing was marked, of those without a tumor.
    false_positives_per_patient
        Components that meet no reference lesion, per patient with a measured case; None where nothing was measured.
    """

    cases: int
    patients: int
    dice: DiceSummary
    sensitivity: Proportion
    specificity: Proportion
    false_positives_per_patient: float | None

    @classmethod
    def of(cls, results: Sequence[CaseResult]) -> GroupSummary:
        """Summary of `results`."""
        group, spared = Group.of(results), spared_by_patient(results)
        return cls(
            cases=group.cases,
            patients=group.patients,
            dice=DiceSummary.of(list(dice_by_patient(results).values())),
            sensitivity=Proportion(group.detected, group.patients),
            specificity=Proportion(sum(spared.values()), len(spared)),
            false_positives_per_patient=_false_positives_per_patient(results),
        )

    def row(self) -> dict[str, Any]:
        """The figures in one flat object, as evaluation.json and summary.csv hold them."""
        return {
            "cases": self.cases,
            "patients": self.patients,
            "dice_mean": self.dice.mean,
            **_bounds("dice_mean", self.dice.interval),
            "dice_sd": self.dice.sd,
            "dice_median": self.dice.median,
            "dice_lower_quartile": self.dice.lower_quartile,
            "dice_upper_quartile": self.dice.upper_quartile,
            "detected": self.sensitivity.count,
            "sensitivity": self.sensitivity.rate,
            **_bounds("sensitivity", self.sensitivity.interval),
            "negatives": self.specificity.total,
            "true_negatives": self.specificity.count,
            "specificity": self.specificity.rate,
            **_bounds("specificity", self.specificity.interval),
            "false_positives_per_patient": self.false_positives_per_patient,
        }


@dataclass(frozen=True)
class Summary:
    """Summaries by fold number, and of all folds together."""

    folds: Mapping[int, GroupSummary]
    pooled: GroupSummary

    @property
    def groups(self) -> dict[str, GroupSummary]:
        """Each summary by the name of its row."""
        return {**{f"fold {number}": group for number, group in self.folds.items()}, "pooled": self.pooled}

    @property
    def notes(self) -> list[str]:
        """What the figures mean, and why an interval is not there."""
        return [
            UNIT,
            METHODS,
            *[f"{name}: {why}" for name, group in self.groups.items() if (why := _no_interval(group))],
        ]

    def rows(self) -> list[dict[str, Any]]:
        """Rows of summary.csv."""
        return [{"group": name, **group.row()} for name, group in self.groups.items()]

    def to_json(self) -> dict[str, Any]:
        """Content of "summary" in evaluation.json."""
        return {
            "confidence": CONFIDENCE,
            "folds": [{"fold": number, **group.row()} for number, group in self.folds.items()],
            "pooled": self.pooled.row(),
            "notes": self.notes,
        }


def summarise(evaluation: Evaluation) -> Summary:
    """Summaries of an evaluation's folds, and of all its cases together."""
    folds = {k: GroupSummary.of([r for r in evaluation.results if r.fold == k]) for k in evaluation.fold_numbers}
    return Summary(folds, GroupSummary.of(evaluation.results))


def _false_positives_per_patient(results: Sequence[CaseResult]) -> float | None:
    measured = [(r.patient, m) for r in results if (m := r.measures) is not None]
    if not measured:
        return None
    found = sum(m.false_positive_components for _, m in measured)
    return found / len({patient for patient, _ in measured})


def _bounds(name: str, interval: ConfidenceInterval | None) -> dict[str, float | None]:
    return {
        f"{name}_low": interval.low if interval else None,
        f"{name}_high": interval.high if interval else None,
    }


def _no_interval(group: GroupSummary) -> str:
    if group.dice.interval or not group.patients:
        return ""
    if group.patients < FEWEST_FOR_BOOTSTRAP:
        return f"no interval of the mean Dice with fewer than {FEWEST_FOR_BOOTSTRAP} patients."
    return "no interval of the mean Dice, since all patients have the same Dice."
