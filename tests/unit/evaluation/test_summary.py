import csv
import statistics
from pathlib import Path

import pytest

from nnunet_spine.evaluation.measures import MEASURE_FIELDS, CaseMeasures
from nnunet_spine.evaluation.patients import detected_by_patient, dice_by_patient
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.evaluation.source_deck import average_sensitivity_note
from nnunet_spine.evaluation.summary import GroupSummary, summarise
from nnunet_spine.evaluation.tables import SUMMARY_HEADER, summary_notes, summary_rows

SOURCE_DECK_DICE = Path(__file__).parents[2] / "data" / "source_deck_dice.csv"
P = MaskState.PRESENT


def case(name: str, patient: str, fold: int, dice: float | None) -> CaseResult:
    return CaseResult(name, patient, fold, dice, None if dice is None else dice > 0, P, P)


def source_deck() -> Evaluation:
    with SOURCE_DECK_DICE.open(encoding="utf-8") as stream:
        rows = [(row["case"], int(row["fold"]), int(row["dice_hundredths"]) / 100) for row in csv.DictReader(stream)]
    return Evaluation(tuple(case(name, name, fold, dice) for name, fold, dice in rows), (0, 1, 2, 3))


def test_a_patients_dice_is_the_mean_of_its_cases():
    results = [case("a", "p", 0, 0.2), case("b", "p", 0, 0.0), case("c", "q", 0, 0.0), case("d", "r", 0, None)]
    assert dice_by_patient(results) == {"p": 0.1, "q": 0.0}
    assert detected_by_patient(results) == {"p": True, "q": False}
    group = GroupSummary.of(results)
    assert (group.cases, group.patients, group.sensitivity.count, group.sensitivity.total) == (3, 2, 1, 2)
    assert group.dice.mean == pytest.approx(0.05)  # by case it would be 0.067


def test_the_source_decks_values_by_pythons_statistics():
    summary = summarise(source_deck())
    values = [r.dice for r in source_deck().results]
    pooled = summary.pooled
    assert pooled.patients == 58
    assert pooled.dice.mean == pytest.approx(statistics.fmean(values))
    assert pooled.dice.sd == pytest.approx(statistics.pstdev(values))
    quartiles = statistics.quantiles(values, n=4, method="inclusive")
    assert [pooled.dice.lower_quartile, pooled.dice.median, pooled.dice.upper_quartile] == pytest.approx(quartiles)
    assert pooled.dice.interval.low < pooled.dice.mean < pooled.dice.interval.high
    assert [(g.sensitivity.count, g.sensitivity.total) for g in summary.folds.values()] == [
        (11, 15),
        (12, 15),
        (8, 15),
        (8, 13),
    ]
    rows = summary_rows(summary)
    assert rows[-1][0] == "pooled"
    assert rows[-1][5] == "67 (54-79)"  # R's binom.test(39, 58): 0.5366 to 0.7899
    assert {len(row) for row in rows} == {len(SUMMARY_HEADER)}


def test_why_an_interval_is_not_there_is_said():
    results = (*[case(c, c, 0, 0.0) for c in "abc"], *[case(c, c, 1, 0.1) for c in "de"])
    summary = summarise(Evaluation(results, (0, 1, 2)))
    notes = " ".join(summary.notes)
    assert "fold 0: no interval of the mean Dice, since all patients have the same Dice" in notes
    assert "fold 1: no interval of the mean Dice with fewer than 3 patients" in notes
    assert "fold 2" not in notes
    assert summary_rows(summary)[0] == ("fold 0", "3", "0.00 (-)", "0.00", "0.00 (0.00-0.00)", "0 (0-71)", "-")
    assert summary_rows(summary)[2] == ("fold 2", "0", "-", "-", "-", "-", "-")
    assert summary.to_json()["folds"][2]["dice_mean"] is None


def without_tumor(name: str, patient: str, components: int | None, fold: int = 0) -> CaseResult:
    """A case with an empty reference in which so many components were marked; None: the prediction is missing."""
    if components is None:
        return CaseResult(name, patient, fold, None, None, MaskState.EMPTY, MaskState.MISSING)
    marked = MaskState.PRESENT if components else MaskState.EMPTY
    undefined = dict.fromkeys(MEASURE_FIELDS[:8])
    counts = {"reference_lesions": 0, "detected_lesions": 0, "predicted_lesions": components}
    false = {"false_positive_components": components, "false_positive_volume_ml": 0.1 * components}
    measures = CaseMeasures(**undefined, **counts, **false)
    return CaseResult(name, patient, fold, None, None, MaskState.EMPTY, marked, measures=measures)


def test_false_positives_are_summed_over_the_cases_of_a_patient():
    results = [without_tumor("a", "p", 2), without_tumor("b", "p", 1), without_tumor("c", "q", 0)]
    assert GroupSummary.of(results).false_positives_per_patient == pytest.approx(1.5)
    assert GroupSummary.of([without_tumor("a", "p", None)]).false_positives_per_patient is None


def test_specificity_counts_patients_of_whom_no_case_has_a_tumor():
    results = [
        *(without_tumor(name, name, 0) for name in "abc"),
        *(without_tumor(f"d{components}", "d", components) for components in (0, 2)),  # one marked case is enough
        *(case("e1", "e", 0, 0.5), without_tumor("e2", "e", 0)),  # a patient with a tumor
        without_tumor("f", "f", None),  # nothing to judge
    ]
    summary = summarise(Evaluation(tuple(results), (0,)))
    assert (summary.pooled.specificity.count, summary.pooled.specificity.total) == (3, 4)
    # R's binom.test(3, 4): 0.194 to 0.994
    assert summary_notes(summary)[0] == "Specificity, over patients without a tumor: 3/4 (75 %), 95 % 19-99."
    assert "Specificity" not in " ".join(summary_notes(summarise(Evaluation((case("a", "a", 0, 0.5),), (0,)))))


def test_the_note_on_the_published_average():
    note = average_sensitivity_note()
    for part in (
        "66.5 %",
        "67.0 % (mean of the four printed",
        "67.1 % (mean of the four exact",
        "67.2 % (pooled 39/58)",
    ):
        assert part in note
