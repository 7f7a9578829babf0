from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.methods import check_seeds, compare_methods, compare_seeds, group_methods
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.evaluation.schedule import FoldTraining, Mode, Schedules
from nnunet_spine.evaluation.verdicts import method_verdict

P = MaskState.PRESENT
FULL = Schedules(Mode.FULL_SCHEDULE, "")


def evaluation(dices: np.ndarray) -> Evaluation:
    results = [CaseResult(f"c{k}", f"p{k}", 0, float(d), bool(d > 0), P, P) for k, d in enumerate(dices)]
    return Evaluation(tuple(results), (0,))


def models(shift: float, noise: float = 0.01) -> dict[str, Evaluation]:
    """Three seeds of x, then three of y, each seed a constant away; y lies `shift` higher."""
    base = np.linspace(0.2, 0.6, 20)
    seeds = {f"{name}{k}": base + extra + noise * k for name, extra in (("x", 0), ("y", shift)) for k in range(3)}
    return {label: evaluation(dices) for label, dices in seeds.items()}


GROUPS = {"x": ["x0", "x1", "x2"], "y": ["y0", "y1", "y2"]}


def test_students_t_agrees_with_scipy():
    a, b = np.array([0.30, 0.33, 0.35]), np.array([0.36, 0.37, 0.41, 0.35])
    ours = compare_seeds(a, b)
    theirs = stats.ttest_ind(b, a)
    interval = theirs.confidence_interval()
    assert (ours.p, ours.low, ours.high) == pytest.approx((theirs.pvalue, interval.low, interval.high))
    assert compare_seeds(np.array([0.3]), np.array([0.4])).sd is None
    # The squares of the first are 2 x 0.01^2, over one degree of freedom.
    assert compare_seeds(np.array([0.3, 0.32]), np.array([0.4])).sd == pytest.approx(0.01 * np.sqrt(2))


def test_a_difference_larger_than_the_seeds_spread_is_found():
    (test,) = compare_methods(GROUPS, models(0.1))
    # Means of the seeds are 0, 0.01 and 0.02 above their method's: SD 0.01, error 0.01 x sqrt(2 / 3).
    assert (test.mean_difference, test.seed_sd) == pytest.approx((0.1, 0.01))
    assert test.patients_p == pytest.approx(2 / 2**20)
    assert test.p == test.p_holm == test.seeds_p == pytest.approx(2 * stats.t.sf(0.1 / (0.01 * np.sqrt(2 / 3)), 4))
    assert method_verdict(test, FULL) == (
        "y against x, as methods: evidence of a difference: y has the higher Dice (3 and 3 seeds, n = 20, p < .001, "
        "mean difference +0.10, 95 % +0.08 to +0.12 by the spread between seeds)."
    )


def test_a_difference_within_the_seeds_spread_is_not_though_every_patient_shows_it():
    (test,) = compare_methods(GROUPS, models(0.01))
    assert test.patients_p < 0.001
    assert test.p == test.seeds_p > 0.05
    assert "no evidence of a difference" in method_verdict(test, FULL)


def test_two_seeds_are_no_claim():
    (test,) = compare_methods({"x": ["x0", "x1"], "y": ["y0", "y1", "y2"]}, models(0.3))
    assert test.p is None
    assert method_verdict(test, FULL) == (
        "y against x, as methods: no claim (3 and 2 seeds, at least 3 of each are needed)."
    )


def test_seeds_that_do_not_differ_are_no_claim():
    (test,) = compare_methods(GROUPS, models(0.3, noise=0.0))
    assert test.p is None
    assert "no independent trainings" in method_verdict(test, FULL)


def test_holm_is_over_the_methods_of_which_a_claim_can_be_made():
    everything = {**models(0.1), **{f"z{k}": model for k, model in enumerate(list(models(0.02).values())[3:])}}
    groups = {**GROUPS, "z": ["z0", "z1", "z2"], "w": ["z0"]}
    y, z, w = compare_methods(groups, everything)
    assert (y.comparisons, w.p_holm) == (2, None)
    assert (y.p_holm, z.p_holm) == pytest.approx((2 * y.p, z.p))


def test_groups_by_name():
    assert group_methods(["x", "y", "x"], ["a", "b", "c"]) == {"x": ["a", "c"], "y": ["b"]}
    with pytest.raises(BadInput, match="2 evaluations and 1 methods"):
        group_methods(["x"], ["a", "b"])
    with pytest.raises(BadInput, match="All evaluations are of the method x"):
        group_methods(["x", "x"], ["a", "b"])


def test_models_that_are_no_seeds_of_one_method_are_refused():
    one = FoldTraining(0, "nnUNetTrainerSpine", "P", 400, 9, 2, 0, own=True)
    check_seeds({"x": ["a", "b"]}, {"a": (one,), "b": (replace(one, seed=1),)})
    check_seeds({"x": ["a", "b"]}, {})
    with pytest.raises(BadInput, match="x \\(a, b\\) have one seed"):
        check_seeds({"x": ["a", "b"]}, {"a": (one,), "b": (one,)})
    with pytest.raises(BadInput, match="x \\(a, b\\) differ in trainer, plans or schedule"):
        check_seeds({"x": ["a", "b"]}, {"a": (one,), "b": (replace(one, seed=1, epochs=30),)})
