"""What an evaluation holds: results per case, figures per fold, the average; and its JSON form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_spine.evaluation.measures import MEASURE_COLUMNS, MEASURE_FIELDS, CaseMeasures
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.files import is_folder
from nnunet_spine.grids import Geometry
from nnunet_spine.json_entries import Entry, read_entry
from nnunet_spine.protocol import PROTOCOL, Criterion

EVALUATION_FILE = "evaluation.json"
NAMED_AT_MOST = 10
EMPTY_PREDICTION = "the prediction is empty."
"""What stands as the problem of a missed case in which nothing was predicted."""

REMEDY = "It is not an evaluation as `nnunet-spine evaluate` writes it. Evaluate again with this version."
MOST_FOLDS, MOST_ML = 10_000, 1e9
_MEASURED_KEY = "reference_lesions"
"""Absent or null in the row of a case that was not measured, as in all rows before there were measures."""


@dataclass(frozen=True)
class ReferenceGrid:
    """What shows whether two evaluations used one reference.

    Parameters
    ----------
    voxels
        Voxels of the reference's mask.
    geometry
        Its grid.
    """

    voxels: int
    geometry: Geometry

    def to_json(self) -> dict[str, Any]:
        """Make the keys of a case in evaluation.json."""
        return {"reference_voxels": self.voxels, "reference_grid": asdict(self.geometry)}

    @classmethod
    def of_entry(cls, row: Entry) -> ReferenceGrid | None:
        """Read what `to_json` gave; None if an earlier version wrote the evaluation."""
        grid, voxels = row.given("reference_grid"), row.given("reference_voxels")
        if grid is None or voxels is None:
            return None
        size = _numbers(grid.get("size_xyz"), 3, 1, 1e6)
        spacing = _numbers(grid.get("spacing_xyz_mm"), 3, 1e-6, 1e6)
        origin = _numbers(grid.get("origin_xyz_mm"), 3, -1e6, 1e6)
        direction = _numbers(grid.get("direction"), 9, -1.001, 1.001)
        geometry = Geometry(
            (int(size[0]), int(size[1]), int(size[2])),
            (spacing[0], spacing[1], spacing[2]),
            (origin[0], origin[1], origin[2]),
            direction,
        )
        return cls(voxels.count(), geometry)


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
    reference_grid
        Size and grid of the reference; None where it is missing or unusable, or was not recorded.
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
    reference_grid: ReferenceGrid | None = None

    @property
    def negative(self) -> bool:
        """Whether the reference is empty and the prediction usable: the case counts towards specificity."""
        return self.reference is MaskState.EMPTY and self.prediction in (MaskState.PRESENT, MaskState.EMPTY)

    @property
    def missing(self) -> bool:
        """Whether there was no prediction."""
        return self.prediction is MaskState.MISSING

    def to_json(self) -> dict[str, Any]:
        """The fields, those of `measures` and `reference_grid` flat beside them, and `missing`."""
        own = {**asdict(replace(self, measures=None, reference_grid=None)), "missing": self.missing}
        for nested in NESTED:
            own.pop(nested)
        measures = self.measures.to_json() if self.measures else dict.fromkeys(MEASURE_COLUMNS)
        return {**own, **measures, **(self.reference_grid.to_json() if self.reference_grid else _NO_GRID)}


_NO_GRID = {"reference_voxels": None, "reference_grid": None}
NESTED = ("measures", "reference_grid")
"""Fields of a `CaseResult` that hold several values."""


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
        If it is missing, or not as `nnunet-spine evaluate` writes it; file and key are named.
    """
    content = read_entry(path / EVALUATION_FILE if is_folder(path) else path, REMEDY)
    folds = [fold.get("fold").count(0, MOST_FOLDS) for fold in content.get("folds").items()]
    results = sorted((_case_of(row) for row in content.get("cases").items()), key=lambda r: (r.fold, r.case))
    _check_cases(content, results, folds)
    tools = content.given("tools")
    return Evaluation(
        results=tuple(results),
        fold_numbers=tuple(folds),
        criterion=content.get("criterion").choice(Criterion),
        problems=tuple(entry.text() for entry in content.get("problems").items()),
        notes=tuple(entry.text() for entry in content.get("notes").items()),
        tools={name: entry.text() for name, entry in tools.members().items()} if tools else {},
    )


def _check_cases(content: Entry, results: Sequence[CaseResult], folds: Sequence[int]) -> None:
    found = Counter(result.case for result in results)
    if twice := sorted(case for case, count in found.items() if count > 1):
        raise content.refuse(f"lists a case twice: {name_some(twice)}")
    if len(set(folds)) < len(folds):
        raise content.get("folds").refuse("lists a fold twice")
    if elsewhere := [result.case for result in results if result.fold not in folds]:
        raise content.refuse(f"has cases of a fold that `folds` does not list: {name_some(elsewhere)}")


def name_some(items: Sequence[str], most: int = NAMED_AT_MOST) -> str:
    """The first items in a sentence, and how many more there are."""
    more = len(items) - most
    return ", ".join(items[:most]) + (f" and {more} more" if more > 0 else "")


def _case_of(row: Entry) -> CaseResult:
    dice = row.get("dice").optional(_share)
    result = CaseResult(
        case=row.get("case").file_name(),
        patient=row.get("patient").name(),
        fold=row.get("fold").count(0, MOST_FOLDS),
        dice=dice,
        detected=row.get("detected").optional(Entry.truth),
        reference=row.get("reference").choice(MaskState),
        prediction=row.get("prediction").choice(MaskState),
        reference_volume_ml=row.get("reference_volume_ml").optional(_size),
        prediction_volume_ml=row.get("prediction_volume_ml").optional(_size),
        problem=row.get("problem").text(),
        note=row.get("note").text(),
        measures=_measures_of(row),
        reference_grid=ReferenceGrid.of_entry(row),
    )
    if (result.dice is None) != (result.detected is None):
        raise row.refuse("has one of dice and detected; expected both or none")
    return result


def _share(entry: Entry) -> float:
    return entry.number(0, 1 + 1e-9)  # a rate may be rounded up


def _size(entry: Entry) -> float:
    return entry.number(0, MOST_ML)


def _numbers(entry: Entry, count: int, low: float, high: float) -> tuple[float, ...]:
    items = entry.items()
    if len(items) != count:
        raise entry.refuse(f"has {len(items)} numbers; expected {count}")
    return tuple(item.number(low, high) for item in items)


def _measures_of(row: Entry) -> CaseMeasures | None:
    """Measures of a case; None if it was not measured."""
    if row.given(_MEASURED_KEY) is None:
        return None
    return CaseMeasures(**{name: _READ_MEASURE.get(name, _finite)(row.get(name)) for name in MEASURE_FIELDS})


def _finite(entry: Entry) -> float | None:
    return entry.optional(Entry.number)


_READ_MEASURE: Mapping[str, Callable[[Entry], Any]] = {
    **{name: lambda entry: entry.optional(_share) for name in ("iou", "precision", "recall", "nsd_1mm", "nsd_2mm")},
    **{f.name: Entry.count for f in fields(CaseMeasures) if f.type == "int"},
    "false_positive_volume_ml": _size,
}
"""How measures that are not any number are read."""


def _mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    ddof = PROTOCOL.dice_sd_ddof
    mean = float(np.mean(values)) if values else None
    return mean, float(np.std(values, ddof=ddof)) if len(values) > ddof else None


def _mean_of_defined(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
