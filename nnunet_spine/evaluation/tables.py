"""The source deck's table of results as cells of text, for the terminal and for the report."""

from __future__ import annotations

from nnunet_spine.evaluation.compare import Comparison
from nnunet_spine.evaluation.intervals import ConfidenceInterval
from nnunet_spine.evaluation.methods import MethodTests
from nnunet_spine.evaluation.model_tests import ModelTests
from nnunet_spine.evaluation.pairing import PairedSummary
from nnunet_spine.evaluation.results import Evaluation, Figures, Group
from nnunet_spine.evaluation.summary import GroupSummary, Proportion, Summary
from nnunet_spine.evaluation.verdicts import interval_text, p_text
from nnunet_spine.protocol import PROTOCOL, Criterion

UNDEFINED = "-"
HEADER = ("fold", "cases", "patient-level sens.", "overall mean Dice", "true-positive mean Dice")
"""Columns of the table; "sens." is sensitivity, shortened so that the table fits 80 columns."""

CRITERION_TEXTS = {
    Criterion.ANY_OVERLAP: "a case is detected when prediction and reference overlap at all (Dice > 0)",
    Criterion.IOU_01: "a case is detected when the IoU of prediction and reference is at least 0.1",
    Criterion.IOU_05: "a case is detected when the IoU of prediction and reference is at least 0.5",
    Criterion.CENTROID_INSIDE: "a case is detected when the centroid of a predicted component lies in the reference",
}


def mean_sd(mean: float | None, sd: float | None) -> str:
    """Mean and SD to two decimals, as "0.35 ± 0.27"."""
    if mean is None:
        return UNDEFINED
    return f"{mean:.2f} ± {number(sd)}"


def rate(count: int, total: int) -> str:
    """A count of a total with its percentage, as "11/15 (73 %)"."""
    return f"{count}/{total} ({100 * count / total:.0f} %)" if total else UNDEFINED


def number(value: float | None, decimals: int = 2) -> str:
    """A figure to some decimals."""
    return UNDEFINED if value is None else f"{value:.{decimals}f}"


def percent(value: float | None) -> str:
    """A proportion as a percentage to one decimal."""
    return UNDEFINED if value is None else f"{100 * value:.1f} %"


def dice_cells(figures: Figures) -> tuple[str, str]:
    """Overall and true-positive mean Dice, each with its SD."""
    return (
        mean_sd(figures.dice_mean, figures.dice_sd),
        mean_sd(figures.true_positive_dice_mean, figures.true_positive_dice_sd),
    )


def group_cells(group: Group) -> tuple[str, ...]:
    """Cases, sensitivity, overall and true-positive Dice of a group."""
    return str(group.cases), rate(group.detected, group.patients), *dice_cells(group.figures)


def table_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Rows of the source deck's table: one for each fold, by nnU-Net's number, then the average."""
    folds = [(f"fold {number}", *group_cells(group)) for number, group in evaluation.folds.items()]
    mean = evaluation.mean_of_folds
    return [*folds, ("average", str(evaluation.pooled.cases), percent(mean.sensitivity), *dice_cells(mean))]


def average_note(evaluation: Evaluation) -> str:
    """What the average row is, and the figures of all cases together."""
    cases, sensitivity, overall, true_positive = group_cells(evaluation.pooled)
    return (
        f"Average: plain mean of the fold values. Pooled over all {cases} cases: sensitivity {sensitivity}, "
        f"Dice {overall}, true-positive Dice {true_positive}."
    )


def specificity_note(evaluation: Evaluation) -> str:
    """Specificity pooled and per fold, or "" where no case has an empty reference."""
    pooled = evaluation.pooled
    if not pooled.negatives:
        return ""
    folds = [f"fold {k} {rate(g.true_negatives, g.negatives)}" for k, g in evaluation.folds.items() if g.negatives]
    return (
        f"Specificity, over the cases with an empty reference: {rate(pooled.true_negatives, pooled.negatives)}; "
        f"{', '.join(folds)}. They are in no other figure of the table."
    )


def definitions(criterion: Criterion) -> str:
    """Sentences that define the figures of the table."""
    return (
        f"± is the SD with ddof {PROTOCOL.dice_sd_ddof}. Criterion: {CRITERION_TEXTS[criterion]}; a patient "
        "is detected when any of its cases is. Sensitivity counts patients within a fold. A missing, empty or unusable "
        "prediction is a miss with Dice 0."
    )


COMPARISON_HEADER = ("fold", "model", "sensitivity", "overall Dice", "true-positive Dice")


def comparison_rows(comparison: Comparison) -> list[tuple[str, ...]]:
    """Rows fold by fold, in each the models by their keys; then the averages."""
    by_key = {comparison.keys[label]: table_rows(model) for label, model in comparison.models.items()}
    rows = []
    for of_fold in zip(*by_key.values(), strict=True):
        for key, (fold, _cases, *figures) in zip(by_key, of_fold, strict=True):
            rows.append((fold if key == "A" else "", key, *figures))
    return rows


def signed(value: float | None) -> str:
    """A difference of Dice to three decimals with its sign; a rounded zero has none."""
    if value is None:
        return UNDEFINED
    return "0.000" if round(value, 3) == 0 else f"{value:+.3f}"


def paired_table(summary: PairedSummary) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Header and rows of a paired summary."""
    a, b = summary.baseline, summary.model
    rows = [
        ("cases", str(summary.cases)),
        ("median difference of Dice", signed(summary.median_difference)),
        ("mean difference of Dice", signed(summary.mean_difference)),
        (f"{b} better / equal / worse", f"{summary.better} / {summary.equal} / {summary.worse}"),
        ("detected by both", str(summary.detected_by_both)),
        (f"detected by {a} only", str(summary.only_baseline)),
        (f"detected by {b} only", str(summary.only_model)),
        ("detected by neither", str(summary.neither)),
    ]
    return (f"paired, {b} minus {a}", ""), rows


def tests_table(tests: ModelTests) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Header and rows of the tests of two models."""
    a, b = tests.baseline, tests.model
    rows = [
        ("patients (without a difference)", f"{tests.patients} ({tests.equal_patients})"),
        ("median difference of Dice (Hodges-Lehmann)", signed(tests.median_difference)),
        ("its interval", interval_text(tests.median_difference_low, tests.median_difference_high)),
        ("effect size (rank-biserial, -1 to 1)", f"{tests.rank_biserial:+.2f}"),
        ("Wilcoxon on Dice", _p_cell(tests.wilcoxon_p, tests.wilcoxon_p_holm, tests.comparisons)),
        (f"detected by both / {a} only / {b} only / neither", _detection_cell(tests)),
        ("McNemar on detection", _p_cell(tests.mcnemar_p, tests.mcnemar_p_holm, tests.comparisons)),
    ]
    return (f"by patient, {b} minus {a}", ""), rows


def methods_table(tests: MethodTests) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Header and rows of the tests of two methods."""
    p = UNDEFINED if tests.p is None or tests.p_holm is None else _p_cell(tests.p, tests.p_holm, tests.comparisons)
    rows = [
        ("patients", str(tests.patients)),
        ("seeds", f"{tests.method_seeds} and {tests.baseline_seeds}"),
        ("mean difference of Dice", signed(tests.mean_difference)),
        (
            "its interval, by the spread between seeds",
            interval_text(tests.mean_difference_low, tests.mean_difference_high),
        ),
        ("SD between seeds of one method", number(tests.seed_sd, 3)),
        ("over patients (Wilcoxon)", p_text(tests.patients_p)),
        ("over seeds (Student's t)", UNDEFINED if tests.seeds_p is None else p_text(tests.seeds_p)),
        ("both", p),
    ]
    return (f"methods, {tests.method} minus {tests.baseline}", ""), rows


def _p_cell(p: float, adjusted: float, comparisons: int) -> str:
    return p_text(p) + (f", after Holm {p_text(adjusted)}" if comparisons > 1 else "")


def _detection_cell(tests: ModelTests) -> str:
    return f"{tests.detected_by_both} / {tests.only_baseline} / {tests.only_model} / {tests.neither}"


SUMMARY_HEADER = ("", "n", "Dice (95 %)", "SD", "median (quartiles)", "sens. % (95 %)", "FP")
"""Columns of the summary; n is patients, FP false-positive components per patient."""


def summary_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Rows of the summary: each fold, then all together."""
    return [(name, *_summary_cells(group)) for name, group in summary.groups.items()]


def summary_notes(summary: Summary) -> list[str]:
    """Specificity where there are patients without a tumor, then what the figures mean."""
    specificity = summary.pooled.specificity
    counted = rate(specificity.count, specificity.total)
    found = f"Specificity, over patients without a tumor: {counted}, 95 % {_percents(specificity)}."
    return [*([found] if specificity.total else []), *summary.notes]


def _summary_cells(group: GroupSummary) -> tuple[str, ...]:
    dice, false_positives = group.dice, group.false_positives_per_patient
    return (
        str(group.patients),
        _with_bounds(dice.mean, dice.interval),
        number(dice.sd),
        _with_bounds(dice.median, _quartiles(group)),
        UNDEFINED
        if group.sensitivity.rate is None
        else f"{100 * group.sensitivity.rate:.0f} ({_percents(group.sensitivity)})",
        number(false_positives, 1),
    )


def _quartiles(group: GroupSummary) -> ConfidenceInterval | None:
    lower, upper = group.dice.lower_quartile, group.dice.upper_quartile
    return None if lower is None or upper is None else ConfidenceInterval(lower, upper)


def _with_bounds(value: float | None, bounds: ConfidenceInterval | None) -> str:
    """As "0.35 (0.22-0.48)", with a dash for what is not defined."""
    if value is None:
        return UNDEFINED
    return f"{value:.2f} ({f'{bounds.low:.2f}-{bounds.high:.2f}' if bounds else UNDEFINED})"


def _percents(proportion: Proportion) -> str:
    interval = proportion.interval
    return f"{100 * interval.low:.0f}-{100 * interval.high:.0f}" if interval else UNDEFINED
