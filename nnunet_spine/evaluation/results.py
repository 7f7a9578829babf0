"""What an evaluation holds: results per case, figures per fold, the average; and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.measures import MEASURE_COLUMNS, MEASURE_FIELDS, CaseMeasures
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.files import read_json
from nnunet_spine.protocol import PROTOCOL, Criterion

EVALUATION_FILE = "evaluation.json"
NAMED_AT_MOST = 10
EMPTY_PREDICTION = "the prediction is empty."
"""What stands as the problem of a missed case in which nothing was predicted."""


@dataclass(frozen=True)
class CaseResult:
    """Judgement of one case.

    Parameters
    ----------
    case, patient
        Pseudonymous identifiers.
    fold
        Fold that tests the case, nnU-Net's number.
    dice
        0 to 1; None where the case is excluded.
    detected
        By the criterion; None where the case is excluded.
    reference, prediction
        What was found in the place of each mask.
    reference_volume_ml, prediction_volume_ml
        Volumes; None where the mask is missing or unusable.
    problem
        Why the work on this case is not complete, or "".
    note
        What a reader should know besides, or "".
    measures
        The other metrics; None where the case was not measured.
    """

    case: str
    patient: str
    fold: int
    dice: float | None
    detected: bool | None
    reference: MaskState
    prediction: MaskState
    reference_volume_ml: float | None = None
    prediction_volume_ml: float | None = None
    problem: str = ""
    note: str = ""
    measures: CaseMeasures | None = None

    @property
    def negative(self) -> bool:
        """Whether the reference is empty and the prediction usable: the case counts towards specificity."""
        return self.reference is MaskState.EMPTY and self.prediction in (MaskState.PRESENT, MaskState.EMPTY)

    @property
    def missing(self) -> bool:
        """Whether there was no prediction."""
        return self.prediction is MaskState.MISSING

    def to_json(self) -> dict[str, Any]:
        """The fields, those of `measures` flat beside them, and `missing`."""
        own = {**asdict(replace(self, measures=None)), "missing": self.missing}
        own.pop("measures")
        return {**own, **(self.measures.to_json() if self.measures else dict.fromkeys(MEASURE_COLUMNS))}


@dataclass(frozen=True)
class Figures:
    """The figures of a row of the table; None where one is not defined.

    Parameters
    ----------
    sensitivity
        Detected patients over patients, 0 to 1.
    dice_mean, dice_sd
        Over all judged cases, misses counting 0.
    true_positive_dice_mean, true_positive_dice_sd
        Over the detected cases.
    """

    sensitivity: float | None
    dice_mean: float | None
    dice_sd: float | None
    true_positive_dice_mean: float | None
    true_positive_dice_sd: float | None


@dataclass(frozen=True)
class Group:
    """Figures of some cases, with their counts.

    Parameters
    ----------
    cases
        Judged cases with a tumor; negative and excluded ones are not counted.
    patients
        Patients of these cases.
    detected
        Patients with at least one detected case.
    excluded
        Cases that could not be judged.
    figures
        The figures.
    negatives
        Cases with an empty reference and a usable prediction.
    true_negatives
        Those of them in which nothing was predicted.
    """

    cases: int
    patients: int
    detected: int
    excluded: int
    figures: Figures
    negatives: int = 0
    true_negatives: int = 0

    @property
    def specificity(self) -> float | None:
        """True negatives over negatives, of cases; None without one."""
        return self.true_negatives / self.negatives if self.negatives else None

    @classmethod
    def of(cls, results: Sequence[CaseResult]) -> Group:
        """Figures of `results`; SDs divide by n - `PROTOCOL.dice_sd_ddof`."""
        judged = [r for r in results if r.dice is not None]
        patients = {r.patient for r in judged}
        detected = {r.patient for r in judged if r.detected}
        mean, sd = _mean_and_sd([r.dice for r in judged if r.dice is not None])
        tp_mean, tp_sd = _mean_and_sd([r.dice for r in judged if r.dice is not None and r.detected])
        sensitivity = len(detected) / len(patients) if patients else None
        figures = Figures(sensitivity, mean, sd, tp_mean, tp_sd)
        negatives = [r.prediction for r in results if r.negative]
        excluded = len(results) - len(judged) - len(negatives)
        true = negatives.count(MaskState.EMPTY)
        return cls(len(judged), len(patients), len(detected), excluded, figures, len(negatives), true)

    def to_json(self) -> dict[str, Any]:
        """Counts and figures in one object."""
        counts = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "figures"}
        return {**counts, "specificity": self.specificity, **asdict(self.figures)}


@dataclass(frozen=True)
class Evaluation:
    """Judgement of one model by cross-validation.

    Parameters
    ----------
    results
        One for each test case, by fold and case.
    fold_numbers
        nnU-Net's numbers of the folds, ascending; a fold may be without cases.
    criterion
        When a case counts as detected.
    problems
        Why the work is not complete, besides what stands in `results`.
    notes
        What a reader should know, besides what stands in `results`.
    tools
        Name and version of what measured, by what was measured.
    """

    results: tuple[CaseResult, ...]
    fold_numbers: tuple[int, ...]
    criterion: Criterion = PROTOCOL.criterion
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def folds(self) -> dict[int, Group]:
        """Figures by fold number."""
        return {k: Group.of([r for r in self.results if r.fold == k]) for k in self.fold_numbers}

    @property
    def mean_of_folds(self) -> Figures:
        """Plain mean of the folds' figures, SDs included; a fold in which a figure is not defined is left out of it."""
        folds = [group.figures for group in self.folds.values()]
        return Figures(**{f.name: _mean_of_defined([getattr(row, f.name) for row in folds]) for f in fields(Figures)})

    @property
    def pooled(self) -> Group:
        """Figures over the cases of all folds together."""
        return Group.of(self.results)

    def all_problems(self, *, accept_empty: bool = False) -> list[str]:
        """Each reason why the work is not complete, those of cases preceded by the case.

        With `accept_empty`, a prediction in which nothing was found is none: it is a model's answer.
        """
        accepted = {"", EMPTY_PREDICTION} if accept_empty else {""}
        return [*self.problems, *[f"{r.case}: {r.problem}" for r in self.results if r.problem not in accepted]]

    def all_notes(self) -> list[str]:
        """Each thing that a reader should know, those of cases preceded by the case."""
        return [*self.notes, *[f"{r.case}: {r.note}" for r in self.results if r.note]]

    def to_json(self) -> dict[str, Any]:
        """Content of evaluation.json.

        `average` holds `mean_of_folds`, the plain mean of the fold values, and `pooled`, over the cases of all folds
        together. Values that are not defined are null. SDs have the ddof in `dice_sd_ddof`.
        """
        return {
            "criterion": self.criterion.value,
            "dice_sd_ddof": PROTOCOL.dice_sd_ddof,
            "tools": dict(self.tools),
            "cases": [result.to_json() for result in self.results],
            "folds": [{"fold": k, **group.to_json()} for k, group in self.folds.items()],
            "average": {"mean_of_folds": asdict(self.mean_of_folds), "pooled": self.pooled.to_json()},
            "problems": list(self.problems),
            "notes": list(self.notes),
        }


def read_evaluation(path: Path) -> Evaluation:
    """Read an evaluation.json, or the one in a folder; the figures are computed anew from its cases.

    Raises
    ------
    NotFound, BadInput
        Where it is absent, or not as `nnunet-spine evaluate` writes it.
    """
    path = path / EVALUATION_FILE if path.is_dir() else path
    content = read_json(path)
    try:
        results = sorted((_case_of_json(row) for row in content["cases"]), key=lambda r: (r.fold, r.case))
        if len({r.case for r in results}) != len(results):
            raise ValueError("a case is listed twice")
        return Evaluation(
            results=tuple(results),
            fold_numbers=tuple(int(fold["fold"]) for fold in content["folds"]),
            criterion=Criterion(content["criterion"]),
            problems=tuple(content["problems"]),
            notes=tuple(content["notes"]),
            tools=dict(content.get("tools", {})),
        )
    except (TypeError, KeyError, ValueError) as error:
        raise BadInput(
            f"{path} is not an evaluation as `nnunet-spine evaluate` writes it ({error.__class__.__name__}: {error}). "
            "Evaluate again with this version."
        ) from error


def name_some(items: Sequence[str]) -> str:
    """The first items in a sentence, and how many more there are."""
    more = len(items) - NAMED_AT_MOST
    return ", ".join(items[:NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _case_of_json(row: Mapping[str, Any]) -> CaseResult:
    values = {f.name: row[f.name] for f in fields(CaseResult) if f.name != "measures"}
    states = {name: MaskState(values[name]) for name in ("reference", "prediction")}
    return CaseResult(**{**values, **states, "fold": int(values["fold"])}, measures=_measures_of_json(row))


def _measures_of_json(row: Mapping[str, Any]) -> CaseMeasures | None:
    """Measures of a case, or None where it was not measured, as before there were any."""
    if row.get("reference_lesions") is None:
        return None
    return CaseMeasures(**{name: row[name] for name in MEASURE_FIELDS})


def _mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    ddof = PROTOCOL.dice_sd_ddof
    mean = float(np.mean(values)) if values else None
    return mean, float(np.std(values, ddof=ddof)) if len(values) > ddof else None


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
