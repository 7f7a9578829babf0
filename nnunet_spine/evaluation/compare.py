"""Models side by side: the same cases in the same folds, paired per case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.output import write_together
from nnunet_spine.evaluation.results import CaseResult, Evaluation, name_some, read_evaluation
from nnunet_spine.files import csv_text, json_text
from nnunet_spine.manifest import MANIFEST_FILE

COMPARISON_FILE = "comparison.json"
PAIRED_FILE = "paired.csv"
NO_TEST = "No statistical test was made: the counts and differences describe these cases only."
VOLUME_TOLERANCE = 1e-6
"""Relative difference of a reference's volume above which two evaluations did not use one reference."""


@dataclass(frozen=True)
class PairedSummary:
    """One model against the first, over the cases that both judged.

    Parameters
    ----------
    baseline, model
        Keys of the two models.
    cases
        Number of pairs.
    mean_difference, median_difference
        Of Dice, model minus baseline; None without a pair.
    better, equal, worse
        Cases in which the model's Dice is above, exactly equal to, below the baseline's.
    detected_by_both, only_baseline, only_model, neither
        Cases by who detected them.
    """

    baseline: str
    model: str
    cases: int
    mean_difference: float | None
    median_difference: float | None
    better: int
    equal: int
    worse: int
    detected_by_both: int
    only_baseline: int
    only_model: int
    neither: int


@dataclass(frozen=True)
class Comparison:
    """Evaluations of the same cases.

    Parameters
    ----------
    models
        Evaluation by label, the baseline first.
    notes
        Caveats to show on top.
    """

    models: Mapping[str, Evaluation]
    notes: tuple[str, ...] = ()

    @property
    def keys(self) -> dict[str, str]:
        """A letter for each label: A for the baseline."""
        return dict(zip(self.models, ascii_uppercase, strict=False))

    @property
    def paired(self) -> tuple[PairedSummary, ...]:
        """Each other model against the baseline."""
        (first, baseline), *others = self.models.items()
        return tuple(
            summarise_pairs(_pairs(baseline, model), baseline=self.keys[first], model=self.keys[label])
            for label, model in others
        )

    def rows(self) -> list[dict[str, Any]]:
        """Rows of paired.csv, a row for each case; differences are model minus baseline."""
        keys = list(self.keys.values())
        rows = []
        for results in zip(*(model.results for model in self.models.values()), strict=True):
            row: dict[str, Any] = {name: getattr(results[0], name) for name in ("case", "patient", "fold")}
            by_key = dict(zip(keys, results, strict=True))
            row |= {f"dice_{key}": result.dice for key, result in by_key.items()}
            row |= {f"difference_{key}_minus_A": _difference(results[0], by_key[key]) for key in keys[1:]}
            row |= {f"detected_{key}": result.detected for key, result in by_key.items()}
            rows.append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        """Content of comparison.json."""
        return {
            "notes": [*self.notes, NO_TEST],
            "models": [
                {"key": self.keys[label], "label": label, **_without_cases(model)}
                for label, model in self.models.items()
            ],
            "paired": [asdict(summary) for summary in self.paired],
            "cases": self.rows(),
        }


def compare(models: Mapping[str, Evaluation], *, notes: Sequence[str] = ()) -> Comparison:
    """Set models side by side.

    Parameters
    ----------
    models
        Two or more evaluations by label; the first is the baseline.
    notes
        Caveats to pass through, such as "far from trained: no conclusion".

    Raises
    ------
    BadInput
        Where there are fewer than two models or more than 26, or they were not judged on the same cases, folds,
        patients, references and criterion.
    """
    if not 2 <= len(models) <= len(ascii_uppercase):
        raise BadInput(f"{len(models)} evaluations were given. Give from 2 to {len(ascii_uppercase)}.")
    (first, baseline), *others = models.items()
    for label, model in others:
        difference = _first_difference(baseline, model)
        if difference:
            raise BadInput(
                f"{label} cannot be compared with {first}: {difference}. Evaluate both on the same references, splits "
                "and table of cases."
            )
    return Comparison(models, tuple(notes))


def summarise_pairs(
    pairs: Sequence[tuple[CaseResult, CaseResult]], *, baseline: str = "A", model: str = "B"
) -> PairedSummary:
    """Differences and counts of pairs (baseline, model), each with a Dice."""
    differences = np.array([d for a, b in pairs if (d := _difference(a, b)) is not None])
    detected = [(bool(a.detected), bool(b.detected)) for a, b in pairs]
    return PairedSummary(
        baseline=baseline,
        model=model,
        cases=len(pairs),
        mean_difference=float(differences.mean()) if differences.size else None,
        median_difference=float(np.median(differences)) if differences.size else None,
        better=int((differences > 0).sum()),
        equal=int((differences == 0).sum()),
        worse=int((differences < 0).sum()),
        detected_by_both=detected.count((True, True)),
        only_baseline=detected.count((True, False)),
        only_model=detected.count((False, True)),
        neither=detected.count((False, False)),
    )


def write_comparison(folder: Path, comparison: Comparison, manifest: Mapping[str, Any]) -> None:
    """Write comparison.json, paired.csv and manifest.json.

    Parameters
    ----------
    folder
        Created where absent.
    comparison
        What to write.
    manifest
        From `nnunet_spine.manifest.make_manifest`.
    """
    rows = comparison.rows()
    columns = list(rows[0]) if rows else ["case", "patient", "fold"]
    write_together(
        folder,
        {
            PAIRED_FILE: csv_text(columns, rows),
            MANIFEST_FILE: json_text(manifest),
            COMPARISON_FILE: json_text(comparison.to_json()),
        },
    )


def _pairs(baseline: Evaluation, model: Evaluation) -> list[tuple[CaseResult, CaseResult]]:
    both = zip(baseline.results, model.results, strict=True)
    return [(a, b) for a, b in both if a.dice is not None and b.dice is not None]


def _difference(a: CaseResult, b: CaseResult) -> float | None:
    return None if a.dice is None or b.dice is None else b.dice - a.dice


def _without_cases(evaluation: Evaluation) -> dict[str, Any]:
    return {key: value for key, value in evaluation.to_json().items() if key != "cases"}


def _first_difference(a: Evaluation, b: Evaluation) -> str:
    """What keeps two evaluations from being paired, or ""."""
    if a.fold_numbers != b.fold_numbers:
        return f"their folds are {list(a.fold_numbers)} and {list(b.fold_numbers)}"
    if a.criterion.value != b.criterion.value:
        return f"their criteria are {a.criterion} and {b.criterion}"
    ours, theirs = ({r.case: r for r in e.results} for e in (a, b))
    if only := sorted(set(ours) ^ set(theirs)):
        return f"only one of them has the cases {name_some(only)}"
    checks = {
        "differ in fold": [c for c in ours if ours[c].fold != theirs[c].fold],
        "differ in patient": [c for c in ours if ours[c].patient != theirs[c].patient],
        "had different references": [c for c in ours if not _same_reference(ours[c], theirs[c])],
    }
    return "; ".join(f"these cases {what}: {name_some(cases)}" for what, cases in checks.items() if cases)


def _same_reference(a: CaseResult, b: CaseResult) -> bool:
    if a.reference_volume_ml is None or b.reference_volume_ml is None:
        return a.reference is b.reference
    return math.isclose(a.reference_volume_ml, b.reference_volume_ml, rel_tol=VOLUME_TOLERANCE)


def label_models(paths: Sequence[Path], labels: Sequence[str] | None = None) -> dict[str, Evaluation]:
    """Read evaluations and label them.

    Parameters
    ----------
    paths
        Files evaluation.json.
    labels
        One for each; None takes the names of the files' folders.

    Raises
    ------
    NotFound, BadInput
        Where a file cannot be used, or there is not one different label for each.
    """
    names = list(labels) if labels else [path.absolute().parent.name for path in paths]
    if len(names) != len(paths):
        raise BadInput(f"{len(paths)} evaluations and {len(names)} labels were given. Give one label for each.")
    if len(set(names)) != len(names):
        raise BadInput(f"The labels are {', '.join(names)}. Give a different one to each model by --labels.")
    return {name: read_evaluation(path) for name, path in zip(names, paths, strict=True)}
