"""Methods, each trained with several seeds: whether a difference is larger than what another seed makes.

Two models differ by their methods and by the noise of their training, which all patients of a fold share. One model of
each method cannot tell the two apart, however many patients it is judged on. A claim about methods must hold twice:
over patients, for the mean of each method's seeds (Wilcoxon); and over seeds, for these patients (Student's t on the
seeds' means). The p value is the larger of the two (intersection-union test).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.intervals import CONFIDENCE, Values
from nnunet_spine.evaluation.paired_tests import holm, signed_rank
from nnunet_spine.evaluation.patients import dice_by_patient
from nnunet_spine.evaluation.results import Evaluation, name_some
from nnunet_spine.evaluation.schedule import Training

FEWEST_SEEDS = 3
"""Of each method, for a claim about methods."""


@dataclass(frozen=True)
class MethodTests:
    """One method against the first; differences are method minus baseline.

    Parameters
    ----------
    baseline, method
        Names of the two methods.
    comparisons
        Number of comparisons that `p_holm` accounts for.
    baseline_seeds, method_seeds, patients
        Counts.
    mean_difference, mean_difference_low, mean_difference_high
        Of the seeds' mean Dice over patients, with the 95 % interval that the spread between seeds gives.
    seed_sd
        SD between the seeds of one method, pooled over both (ddof 1); None with one seed of each.
    patients_p, seeds_p
        Wilcoxon's over patients; Student's t over seeds, None where the seeds show no spread or are too few.
    p, p_holm
        The larger of both, and adjusted; None where no claim can be made.
    """

    baseline: str
    method: str
    comparisons: int
    baseline_seeds: int
    method_seeds: int
    patients: int
    mean_difference: float
    mean_difference_low: float | None
    mean_difference_high: float | None
    seed_sd: float | None
    patients_p: float
    seeds_p: float | None
    p: float | None
    p_holm: float | None


def group_methods(names: Sequence[str], labels: Sequence[str]) -> dict[str, list[str]]:
    """Labels of the models by the name of their method, in the order given.

    Raises
    ------
    BadInput
        Where there is not one name for each model, or fewer than two methods.
    """
    if len(names) != len(labels):
        raise BadInput(f"{len(labels)} evaluations and {len(names)} methods were given. Give one method for each.")
    groups: dict[str, list[str]] = {}
    for name, label in zip(names, labels, strict=True):
        groups.setdefault(name, []).append(label)
    if len(groups) < 2:
        raise BadInput(f"All evaluations are of the method {names[0]}. Give --methods only to compare two or more.")
    return groups


def check_seeds(groups: Mapping[str, Sequence[str]], trainings: Mapping[str, Training]) -> None:
    """Refuse models that are not runs of one method with different seeds, as far as their training is recorded.

    Raises
    ------
    BadInput
        Where models of one method share a seed, or differ in trainer, plans or schedule.
    """
    for method, labels in groups.items():
        recorded = [trainings[label] for label in labels if trainings.get(label)]
        if len({tuple((t.trainer, t.plans, *t.schedule) for t in training) for training in recorded}) > 1:
            raise BadInput(
                f"The models of the method {method} ({name_some(labels)}) differ in trainer, plans or schedule. "
                "Seeds of one method differ in the seed alone."
            )
        seeds = [tuple(t.seed for t in training) for training in recorded if all(t.seed is not None for t in training)]
        if len(set(seeds)) < len(seeds):
            raise BadInput(
                f"Two models of the method {method} ({name_some(labels)}) have one seed. Train each with another."
            )


def compare_methods(groups: Mapping[str, Sequence[str]], models: Mapping[str, Evaluation]) -> tuple[MethodTests, ...]:
    """Each other method against the first, Holm-adjusted over all of them.

    Parameters
    ----------
    groups
        Labels of the models by method, from `group_methods`.
    models
        Evaluations of the same cases by label.
    """
    if not any(result.dice is not None for model in models.values() for result in model.results):
        return ()
    (first, baseline), *others = ((name, _dice(labels, models)) for name, labels in groups.items())
    tests = [_test(first, baseline, name, dice) for name, dice in others]
    adjusted = iter(holm([t.p for t in tests if t.p is not None]))
    comparisons = sum(t.p is not None for t in tests)
    return tuple(t if t.p is None else replace(t, p_holm=next(adjusted), comparisons=comparisons) for t in tests)


@dataclass(frozen=True)
class SeedTest:
    """Student's t test of two groups of seeds; None where not defined."""

    sd: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None


def compare_seeds(baseline: Values, method: Values, *, confidence: float = CONFIDENCE) -> SeedTest:
    """Student's t test, equal variances, of the mean Dice of each seed.

    Parameters
    ----------
    baseline, method
        A mean for each seed, shapes (k,) and (l,).
    confidence
        Of the interval of the difference of means.
    """
    freedom = baseline.size + method.size - 2
    if freedom < 1:
        return SeedTest(None)
    squares = sum(float(((side - side.mean()) ** 2).sum()) for side in (baseline, method))
    sd = float(np.sqrt(squares / freedom))
    error = sd * float(np.sqrt(1 / baseline.size + 1 / method.size))
    if min(baseline.size, method.size) < FEWEST_SEEDS or error < np.finfo(np.float64).eps:
        return SeedTest(sd)
    difference = float(method.mean() - baseline.mean())
    margin = error * float(stdtrit(freedom, (1 + confidence) / 2))
    return SeedTest(sd, difference - margin, difference + margin, float(2 * stdtr(freedom, -abs(difference) / error)))


def _dice(labels: Sequence[str], models: Mapping[str, Evaluation]) -> Values:
    """Dice by seed and patient, shape (seeds, patients)."""
    return np.array([list(dice_by_patient(models[label].results).values()) for label in labels])


def _test(first: str, baseline: Values, name: str, dice: Values) -> MethodTests:
    patients = dice.mean(axis=0) - baseline.mean(axis=0)
    patients_p = signed_rank(patients).p
    seeds = compare_seeds(baseline.mean(axis=1), dice.mean(axis=1))
    p = None if seeds.p is None else max(patients_p, seeds.p)
    return MethodTests(
        baseline=first,
        method=name,
        comparisons=0,
        baseline_seeds=len(baseline),
        method_seeds=len(dice),
        patients=patients.size,
        mean_difference=float(patients.mean()),
        mean_difference_low=seeds.low,
        mean_difference_high=seeds.high,
        seed_sd=seeds.sd,
        patients_p=patients_p,
        seeds_p=seeds.p,
        p=p,
        p_holm=p,
    )
