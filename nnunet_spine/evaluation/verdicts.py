"""What a comparison says, in sentences that cannot be misread."""

from __future__ import annotations

from nnunet_spine.evaluation.methods import FEWEST_SEEDS, MethodTests
from nnunet_spine.evaluation.model_tests import ModelTests
from nnunet_spine.evaluation.schedule import Schedules

LEVEL = 0.05
ABOUT_TESTS = (
    "Tests are paired by patient and two-sided at 5 %: exact Wilcoxon signed-rank on Dice (Pratt's zeros), with the "
    "Hodges-Lehmann median difference and its 95 % interval; exact McNemar on detection; Holm over several models, for "
    "each of the two. Intervals are not adjusted. No evidence of a difference is no evidence that there is none: the "
    "interval says how large it may be."
)
ABOUT_MODELS = (
    "The verdict is on these trained models. All patients of a fold are judged by one model and share the noise of its "
    f"training: a claim about methods asks for at least {FEWEST_SEEDS} seeds of each (--methods)."
)


def p_text(p: float) -> str:
    """A p value as journals print it: "p = .41", "p < .001", "p > .99"."""
    if p < 0.001:
        return "p < .001"
    if p > 0.99:
        return "p > .99"
    decimals = 3 if p < 0.01 or f"{p:.2f}" == "0.05" else 2
    return f"p = {f'{p:.{decimals}f}'.removeprefix('0')}"


def difference_text(value: float) -> str:
    """A difference of Dice to two decimals with its sign; to three where that rounds to 0."""
    decimals = 3 if round(value, 2) == 0 and round(value, 3) != 0 else 2
    return f"{0.0:.{decimals}f}" if round(value, decimals) == 0 else f"{value:+.{decimals}f}"


def interval_text(low: float | None, high: float | None) -> str:
    """An interval as "95 % -0.03 to +0.05", or that there is none."""
    if low is None or high is None:
        return "no 95 % interval"
    return f"95 % {difference_text(low)} to {difference_text(high)}"


def dice_verdict(tests: ModelTests, schedules: Schedules) -> str:
    """One sentence on Dice."""
    start = f"{tests.model} against {tests.baseline}, Dice:"
    if tests.median_difference is None:
        return f"{start} no patient was judged on both, so that nothing can be said."
    figures = [
        f"n = {tests.patients}",
        p_text(tests.wilcoxon_p_holm) + _holm_text(tests.comparisons),
        f"median difference {difference_text(tests.median_difference)}",
        interval_text(tests.median_difference_low, tests.median_difference_high),
    ]
    finding = _finding(tests, tests.wilcoxon_p_holm, tests.rank_biserial, "has the higher Dice")
    reason = _too_few(tests.patients - tests.equal_patients, "differ in Dice", tests.comparisons)
    return f"{start} {finding} ({', '.join(figures)}){_tail(reason or _disagreement(tests), schedules)}."


def detection_verdict(tests: ModelTests, schedules: Schedules) -> str:
    """One sentence on detection."""
    start = f"{tests.model} against {tests.baseline}, detection:"
    if not tests.patients:
        return f"{start} no patient was judged on both, so that nothing can be said."
    figures = [
        f"n = {tests.patients}",
        p_text(tests.mcnemar_p_holm) + _holm_text(tests.comparisons),
        f"{tests.only_model} detected by {tests.model} only and {tests.only_baseline} by {tests.baseline} only",
    ]
    discordant = tests.only_model + tests.only_baseline
    reason = _too_few(discordant, "differ in detection", tests.comparisons)
    finding = _finding(tests, tests.mcnemar_p_holm, tests.only_model - tests.only_baseline, "detects more patients")
    return f"{start} {finding} ({', '.join(figures)}){_tail(reason, schedules)}."


def method_verdict(tests: MethodTests, schedules: Schedules) -> str:
    """One sentence on two methods."""
    start = f"{tests.method} against {tests.baseline}, as methods:"
    if tests.p_holm is None:
        return f"{start} no claim ({_why_no_claim(tests)})."
    found = tests.p_holm < LEVEL
    better = tests.method if tests.mean_difference > 0 else tests.baseline
    finding = f"evidence of a difference: {better} has the higher Dice" if found else "no evidence of a difference"
    figures = [
        f"{tests.method_seeds} and {tests.baseline_seeds} seeds",
        f"n = {tests.patients}",
        p_text(tests.p_holm) + _holm_text(tests.comparisons),
        f"mean difference {difference_text(tests.mean_difference)}",
        f"{interval_text(tests.mean_difference_low, tests.mean_difference_high)} by the spread between seeds",
    ]
    return f"{start} {finding} ({', '.join(figures)}){_tail('', schedules)}."


def _finding(tests: ModelTests, p: float, direction: float, how: str) -> str:
    if p >= LEVEL:
        return "no evidence of a difference between these trained models"
    better = tests.model if direction > 0 else tests.baseline
    return f"evidence of a difference between these trained models: {better} {how}"


def _apart(p: float, low: float, high: float) -> bool:
    """Whether 0 is well inside the interval though the test rejects it, or outside though it does not."""
    return low < 0 < high if p < LEVEL else low > 0 or high < 0


def _disagreement(tests: ModelTests) -> str:
    """A warning where test and interval point to different sides of 0; the test drops zeros, the interval does not."""
    low, high = tests.median_difference_low, tests.median_difference_high
    if low is None or high is None or not _apart(tests.wilcoxon_p, low, high):
        return ""
    return "test and interval disagree on 0, so that this is a borderline result"


def _holm_text(comparisons: int) -> str:
    return f" after Holm over {comparisons}" if comparisons > 1 else ""


def _too_few(differing: int, how: str, comparisons: int) -> str:
    """Why no result could have reached the level, or ""; of k that differ, the smallest two-sided p is 2 / 2^k."""
    if min(1.0, 2.0 ** (1 - differing)) * comparisons < LEVEL:
        return ""
    patients = "1 patient" if differing == 1 else f"{differing or 'no'} patients"
    return f"only {patients} {how}, too few for any evidence" if differing else f"{patients} {how}"


def _tail(reason: str, schedules: Schedules) -> str:
    return "".join(f"; {part}" for part in (reason, schedules.caveat) if part)


def _why_no_claim(tests: MethodTests) -> str:
    if min(tests.baseline_seeds, tests.method_seeds) < FEWEST_SEEDS:
        return f"{tests.method_seeds} and {tests.baseline_seeds} seeds, at least {FEWEST_SEEDS} of each are needed"
    return "the seeds of each method have the same Dice, so that they are no independent trainings"
