"""Two trained models on the same patients: the tests of a pair of evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nnunet_spine.evaluation.paired_tests import hodges_lehmann, holm, mcnemar, signed_rank
from nnunet_spine.evaluation.patients import detected_by_patient, dice_by_patient
from nnunet_spine.evaluation.results import CaseResult

Pairs = Sequence[tuple[CaseResult, CaseResult]]


@dataclass(frozen=True)
class ModelTests:
    """One model against the first, over the patients that both judged; differences are model minus baseline.

    Parameters
    ----------
    baseline, model
        Keys of the two models.
    comparisons
        Number of comparisons that the Holm-adjusted values account for.
    patients, equal_patients
        All, and those without a difference of Dice.
    median_difference, median_difference_low, median_difference_high
        Hodges-Lehmann estimate with its 95 % interval; None where not defined.
    rank_biserial
        Effect size of the signed-rank test, -1 to 1.
    wilcoxon_p, wilcoxon_p_holm
        Exact two-sided p value, zeros handled as Pratt does; and adjusted.
    detected_by_both, only_baseline, only_model, neither
        Patients by who detected them.
    mcnemar_p, mcnemar_p_holm
        Exact two-sided p value of the discordant patients; and adjusted.
    """

    baseline: str
    model: str
    comparisons: int
    patients: int
    equal_patients: int
    median_difference: float | None
    median_difference_low: float | None
    median_difference_high: float | None
    rank_biserial: float
    wilcoxon_p: float
    wilcoxon_p_holm: float
    detected_by_both: int
    only_baseline: int
    only_model: int
    neither: int
    mcnemar_p: float
    mcnemar_p_holm: float


def compare_patients(pairs: Pairs, *, baseline: str = "A", model: str = "B") -> ModelTests:
    """Tests of the pairs (baseline, model) of judged cases, patient by patient; not yet adjusted."""
    ours, theirs = (dice_by_patient(side) for side in _sides(pairs))
    differences = np.array([theirs[patient] - ours[patient] for patient in ours])
    ranks, location = signed_rank(differences), hodges_lehmann(differences)
    detected = [detected_by_patient(side) for side in _sides(pairs)]
    counts = [(detected[0][patient], detected[1][patient]) for patient in ours]
    only_baseline, only_model = counts.count((True, False)), counts.count((False, True))
    p = mcnemar(only_baseline, only_model)
    return ModelTests(
        baseline=baseline,
        model=model,
        comparisons=1,
        patients=ranks.pairs,
        equal_patients=ranks.zeros,
        median_difference=location.estimate,
        median_difference_low=location.interval.low if location.interval else None,
        median_difference_high=location.interval.high if location.interval else None,
        rank_biserial=ranks.rank_biserial,
        wilcoxon_p=ranks.p,
        wilcoxon_p_holm=ranks.p,
        detected_by_both=counts.count((True, True)),
        only_baseline=only_baseline,
        only_model=only_model,
        neither=counts.count((False, False)),
        mcnemar_p=p,
        mcnemar_p_holm=p,
    )


def adjusted(tests: Sequence[ModelTests]) -> tuple[ModelTests, ...]:
    """The same with Holm's adjustment over all of them: once over the tests of Dice, once over those of detection."""
    dice = holm([t.wilcoxon_p for t in tests])
    detection = holm([t.mcnemar_p for t in tests])
    return tuple(
        replace(t, comparisons=len(tests), wilcoxon_p_holm=p, mcnemar_p_holm=q)
        for t, p, q in zip(tests, dice, detection, strict=True)
    )


def _sides(pairs: Pairs) -> tuple[list[CaseResult], list[CaseResult]]:
    return [a for a, _ in pairs], [b for _, b in pairs]
