from dataclasses import replace

import pytest

from nnunet_spine.evaluation.model_tests import ModelTests, adjusted
from nnunet_spine.evaluation.schedule import Mode, Schedules
from nnunet_spine.evaluation.verdicts import detection_verdict, dice_verdict, difference_text, p_text

FULL = Schedules(Mode.FULL_SCHEDULE, "")
TESTS = ModelTests("A", "B", 1, 58, 12, 0.01, -0.03, 0.05, 0.12, 0.41, 0.41, 30, 3, 5, 20, 0.7266, 0.7266)


def test_a_verdict_cannot_be_misread():
    assert dice_verdict(TESTS, FULL) == (
        "B against A, Dice: no evidence of a difference between these trained models (n = 58, p = .41, median "
        "difference +0.01, 95 % -0.03 to +0.05)."
    )
    assert detection_verdict(TESTS, FULL) == (
        "B against A, detection: no evidence of a difference between these trained models (n = 58, p = .73, 5 detected "
        "by B only and 3 by A only)."
    )


def test_the_better_one_is_named():
    worse = replace(TESTS, median_difference=-0.04, median_difference_high=-0.01, rank_biserial=-0.5)
    worse = replace(worse, wilcoxon_p=0.004, wilcoxon_p_holm=0.012, comparisons=3)
    assert dice_verdict(worse, FULL) == (
        "B against A, Dice: evidence of a difference between these trained models: A has the higher Dice (n = 58, "
        "p = .01 after Holm over 3, median difference -0.04, 95 % -0.03 to -0.01)."
    )
    detected = replace(TESTS, only_baseline=1, only_model=12, mcnemar_p_holm=0.003)
    assert "evidence of a difference between these trained models: B detects more" in detection_verdict(detected, FULL)


def test_holms_p_decides():
    tests = adjusted([replace(TESTS, wilcoxon_p=0.03), replace(TESTS, wilcoxon_p=0.2)])
    assert [t.wilcoxon_p_holm for t in tests] == pytest.approx([0.06, 0.2])
    assert [t.comparisons for t in tests] == [2, 2]
    assert "no evidence" in dice_verdict(tests[0], FULL)


def test_too_few_patients_for_any_evidence_are_said():
    # Five that differ give 2 / 2^5 = .0625 at the least; six give .031, but not after Holm over two.
    assert "only 5 patients differ in Dice, too few for any evidence" in dice_verdict(
        replace(TESTS, equal_patients=53), FULL
    )
    assert "too few" not in dice_verdict(replace(TESTS, equal_patients=52), FULL)
    assert "too few" in dice_verdict(replace(TESTS, equal_patients=52, comparisons=2), FULL)
    assert "; no patients differ in detection." in detection_verdict(
        replace(TESTS, only_model=0, only_baseline=0), FULL
    )
    nobody = replace(TESTS, patients=0, median_difference=None)
    assert "nothing can be said" in dice_verdict(nobody, FULL)
    assert "nothing can be said" in detection_verdict(nobody, FULL)


def test_where_test_and_interval_disagree_it_is_said():
    assert "borderline" in dice_verdict(replace(TESTS, wilcoxon_p=0.04, wilcoxon_p_holm=0.04), FULL)
    assert "borderline" in dice_verdict(replace(TESTS, median_difference_low=0.001), FULL)
    touching = replace(TESTS, wilcoxon_p=0.04, wilcoxon_p_holm=0.04, median_difference_low=0.0)
    assert "borderline" not in dice_verdict(touching, FULL)


def test_other_schedules_stand_in_the_sentence():
    assert "trained on different schedules, so that" in dice_verdict(TESTS, Schedules(Mode.MIXED, ""))
    assert "training schedules not recorded" in detection_verdict(TESTS, Schedules(Mode.UNKNOWN, ""))


def test_numbers_as_journals_print_them():
    values = [0.41, 0.0496, 0.0502, 0.003, 0.0004, 0.999, 1.0, 0.1]
    texts = ["p = .41", "p = .050", "p = .050", "p = .003", "p < .001", "p > .99", "p > .99", "p = .10"]
    assert [p_text(p) for p in values] == texts
    assert [difference_text(d) for d in (0.014, -0.03, 0.004, -0.0004, 0.0)] == [
        "+0.01",
        "-0.03",
        "+0.004",
        "0.00",
        "0.00",
    ]
