"""Which evaluations can be paired, their pairs of cases, and the counts and differences of these."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.evaluation.results import CaseResult, Evaluation, name_some
from nnunet_spine.grids import ROUNDING_MM
from nnunet_spine.grids import difference as grid_difference

VOLUME_TOLERANCE = 1e-6
"""Relative difference of a reference's volume above which two evaluations did not use one reference.

Of evaluations that recorded no grid of the reference.
"""


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


def summarise_pairs(
    pairs: Sequence[tuple[CaseResult, CaseResult]], *, baseline: str = "A", model: str = "B"
) -> PairedSummary:
    """Differences and counts of pairs (baseline, model), each with a Dice."""
    differences = np.array([d for a, b in pairs if (d := difference(a, b)) is not None])
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


def pairs_of(baseline: Evaluation, model: Evaluation) -> list[tuple[CaseResult, CaseResult]]:
    """Pairs of cases that both judged."""
    both = zip(baseline.results, model.results, strict=True)
    return [(a, b) for a, b in both if a.dice is not None and b.dice is not None]


def difference(a: CaseResult, b: CaseResult) -> float | None:
    """Dice of the second minus that of the first; None where one has none."""
    return None if a.dice is None or b.dice is None else b.dice - a.dice


def first_difference(a: Evaluation, b: Evaluation) -> str:
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
        "had different references": [f"{c} ({why})" for c in ours if (why := _reference_differs(ours[c], theirs[c]))],
    }
    return "; ".join(f"these cases {what}: {name_some(cases)}" for what, cases in checks.items() if cases)


def _reference_differs(a: CaseResult, b: CaseResult) -> str:
    """How the references of a case differ in two evaluations, or ""."""
    if a.reference_volume_ml is None or b.reference_volume_ml is None:
        return "" if a.reference is b.reference else f"{a.reference.value} and {b.reference.value}"
    one, other = a.reference_grid, b.reference_grid
    if one is None or other is None:
        same = math.isclose(a.reference_volume_ml, b.reference_volume_ml, rel_tol=VOLUME_TOLERANCE)
        return "" if same else f"{a.reference_volume_ml:.4g} and {b.reference_volume_ml:.4g} ml"
    if not one.geometry.same_grid(other.geometry):
        return grid_difference(other.geometry, one.geometry)
    return "" if one.voxels == other.voxels else f"{one.voxels} and {other.voxels} voxels"


def rounded_references(a: Evaluation, b: Evaluation) -> str:
    """A sentence on references whose headers differ by rounding alone in two evaluations of one set; "" if none do."""
    moved = {
        ours.case: ours.reference_grid.geometry.gap_mm(theirs.reference_grid.geometry)
        for ours, theirs in zip(a.results, b.results, strict=True)
        if ours.reference_grid and theirs.reference_grid
    }
    rounded = {case: gap_mm for case, gap_mm in moved.items() if gap_mm > ROUNDING_MM}
    if not rounded:
        return ""
    return (
        f"the headers of these references place voxels up to {max(rounded.values()):.3f} mm apart, which was taken for "
        f"rounding: {name_some(list(rounded))}."
    )
