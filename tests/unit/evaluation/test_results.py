import json
import statistics
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.evaluation.measures import MEASURE_COLUMNS, CaseMeasures
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation, Group, ReferenceGrid, name_some, read_evaluation
from nnunet_spine.grids import Geometry

P = MaskState.PRESENT


def result(case: str, dice: float | None, *, fold: int = 0, patient: str = "") -> CaseResult:
    return CaseResult(case, patient or case, fold, dice, None if dice is None else dice > 0, P, P, 1.0, 1.0)


def test_figures_by_hand():
    group = Group.of([result("a", 0.2), result("b", 0.6), result("c", 0.0), result("d", 0.0)])
    assert (group.cases, group.patients, group.detected, group.excluded) == (4, 4, 2, 0)
    figures = group.figures
    assert figures.sensitivity == 0.5
    assert figures.dice_mean == pytest.approx(0.2)
    assert figures.dice_sd == pytest.approx(0.06**0.5)  # (0 + 0.16 + 0.04 + 0.04) / 4
    assert figures.true_positive_dice_mean == pytest.approx(0.4)
    assert figures.true_positive_dice_sd == pytest.approx(0.2)


def test_a_patient_is_detected_when_any_of_its_cases_is():
    rows = [result("a", 0.0, patient="p"), result("b", 0.5, patient="p"), result("c", 0.0, patient="q")]
    group = Group.of(rows)
    assert (group.cases, group.patients, group.detected) == (3, 2, 1)
    assert group.figures.sensitivity == 0.5


def test_an_excluded_case_counts_nowhere():
    group = Group.of([result("a", 0.5), result("b", None)])
    assert (group.cases, group.patients, group.detected, group.excluded) == (1, 1, 1, 1)
    assert group.figures.dice_mean == 0.5


def test_a_fold_without_a_true_positive_has_no_true_positive_figures_and_is_left_out_of_their_average():
    evaluation = Evaluation((result("a", 0.0), result("b", 0.6, fold=1), result("c", 0.4, fold=2)), (0, 1, 2))
    assert evaluation.folds[0].figures.true_positive_dice_mean is None
    assert evaluation.mean_of_folds.true_positive_dice_mean == pytest.approx(0.5)
    assert evaluation.mean_of_folds.dice_mean == pytest.approx(1 / 3)
    assert evaluation.mean_of_folds.sensitivity == pytest.approx(2 / 3)


def test_an_empty_fold_is_kept():
    evaluation = Evaluation((result("a", 0.5),), (0, 1))
    assert evaluation.folds[1].cases == 0
    assert evaluation.folds[1].figures.sensitivity is None


def test_mean_of_folds_and_pooled_differ_where_folds_differ_in_size():
    evaluation = Evaluation((result("a", 0.9), result("b", 0.3, fold=1), result("c", 0.0, fold=1)), (0, 1))
    assert evaluation.mean_of_folds.dice_mean == pytest.approx((0.9 + 0.15) / 2)
    assert evaluation.pooled.figures.dice_mean == pytest.approx(0.4)
    assert evaluation.mean_of_folds.sensitivity == 0.75
    assert evaluation.pooled.figures.sensitivity == pytest.approx(2 / 3)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_overall_dice_is_sensitivity_times_true_positive_dice(values):
    figures = Group.of([result(str(i), value) for i, value in enumerate(values)]).figures
    assert figures.dice_mean == pytest.approx(figures.sensitivity * (figures.true_positive_dice_mean or 0.0))
    assert figures.dice_sd == pytest.approx(statistics.pstdev(values), abs=1e-9)


def test_evaluation_survives_json(tmp_path):
    rows = (replace(result("a", 0.5), note="n"), replace(result("b", None), problem="p"))
    evaluation = Evaluation(rows, (0, 1), problems=("x",), notes=("y",))
    (tmp_path / "evaluation.json").write_text(json.dumps(evaluation.to_json()), encoding="utf-8")
    assert read_evaluation(tmp_path) == evaluation
    assert read_evaluation(tmp_path / "evaluation.json") == evaluation
    assert evaluation.all_problems() == ["x", "b: p"]
    assert evaluation.all_notes() == ["y", "a: n"]


def test_json_has_the_documented_keys():
    content = Evaluation((result("a", 0.5),), (0,)).to_json()
    assert {"case", "patient", "fold", "dice", "detected", "missing"} <= set(content["cases"][0])
    figures = {"sensitivity", "dice_mean", "dice_sd", "true_positive_dice_mean", "true_positive_dice_sd"}
    assert {"fold", "cases", "detected"} | figures <= set(content["folds"][0])
    assert set(content["average"]["mean_of_folds"]) == figures
    assert figures <= set(content["average"]["pooled"])
    assert content["criterion"] == "any_overlap"
    assert content["dice_sd_ddof"] == 0


MEASURES = CaseMeasures(0.5, 0.6, 0.7, 8.0, 0.1, 0.2, -0.3, 4.0, 3, 2, 5, 1, 0.25)


def test_measures_lie_flat_and_come_back(tmp_path):
    measured = replace(result("a", 0.5), measures=MEASURES)
    evaluation = Evaluation((measured, result("b", 0.5)), (0,), tools={"HD95 and NSD": "surface-distance 0.1"})
    content = evaluation.to_json()
    first, second = content["cases"]
    assert (first["hd95_mm"], first["lesion_sensitivity"], first["lesion_precision"]) == (8.0, 2 / 3, 4 / 5)
    assert "measures" not in first
    assert set(first) == set(second)
    assert second["hd95_mm"] is None
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_evaluation(tmp_path) == evaluation


def test_an_evaluation_from_before_there_were_measures_is_read(tmp_path):
    content = Evaluation((result("a", 0.5),), (0,)).to_json()
    content.pop("tools")
    for name in MEASURE_COLUMNS:
        content["cases"][0].pop(name)
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_evaluation(tmp_path).results[0].measures is None


def test_specificity_is_of_cases_with_an_empty_reference():
    def negative(case, prediction):
        return replace(result(case, None), reference=MaskState.EMPTY, prediction=prediction)

    rows = [result("a", 0.5), *[negative(c, MaskState.EMPTY) for c in "bcd"], negative("e", MaskState.PRESENT)]
    group = Group.of([*rows, negative("f", MaskState.MISSING)])
    assert (group.cases, group.negatives, group.true_negatives, group.excluded) == (1, 4, 3, 1)
    assert (group.specificity, group.to_json()["specificity"]) == (0.75, 0.75)
    assert group.figures.sensitivity == 1.0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c.pop("cases"),
        lambda c: c["cases"][0].pop("dice"),
        lambda c: c.update(criterion="iou"),
        lambda c: c["cases"][0].update(prediction="lost"),
        lambda c: c["cases"].append(c["cases"][0]),
        lambda c: c.update(cases=None),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, spoil):
    content = Evaluation((result("a", 0.5),), (0,)).to_json()
    spoil(content)
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInput, match="is not an evaluation"):
        read_evaluation(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda c: c["cases"][0].update(dice="0.5"), "cases[0].dice is '0.5'; expected a number from 0 to 1"),
        (lambda c: c["cases"][0].update(dice=1.5), "cases[0].dice is 1.5; expected a number from 0 to 1"),
        (lambda c: c["cases"][0].update(dice=None), "cases[0] has one of dice and detected"),
        (lambda c: c["cases"][0].update(detected="yes"), "cases[0].detected is 'yes'; expected true or false"),
        (lambda c: c["cases"][0].update(fold=10**30), "cases[0].fold is a whole number beyond 2^53"),
        (lambda c: c["cases"][0].update(fold=3), "has cases of a fold that `folds` does not list: a"),
        (lambda c: c["cases"][0].update(case=["a"]), "cases[0].case is a list; expected a text"),
        (lambda c: c["cases"][0].update(case="a\x1b[31m"), "cases[0].case is 'a\\x1b[31m'; expected a name"),
        (lambda c: c["cases"][0].update(patient=""), "cases[0].patient is ''; expected a name"),
        (lambda c: c["cases"][0].update(reference_volume_ml=-1), "reference_volume_ml is -1; expected a number from 0"),
        (lambda c: c["cases"][0].update(asdict(MEASURES), detected_lesions=1.5), "detected_lesions is 1.5; expected"),
        (lambda c: c["cases"][0].update(asdict(MEASURES), hd95_mm="1"), "hd95_mm is '1'; expected a number"),
        (lambda c: c["cases"][0].update(hd95_mm={}, reference_lesions=1), "has no iou"),
        (lambda c: c["cases"][0].update(reference_grid={}, reference_voxels=1), "reference_grid has no size_xyz"),
        (lambda c: c.update(folds={}), "folds is an object; expected a list"),
        (lambda c: c.update(folds=[{"fold": 0}, {"fold": 0}]), "folds lists a fold twice"),
        (lambda c: c.update(problems=[1]), "problems[0] is 1; expected a text"),
        (lambda c: c.update(notes="abc"), "notes is 'abc'; expected a list"),
        (lambda c: c.update(tools=[["a", "b"]]), "tools is a list; expected an object"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(tmp_path, spoil, told):
    content = Evaluation((result("a", 0.5),), (0,)).to_json()
    for name in MEASURE_COLUMNS:
        content["cases"][0].pop(name)
    spoil(content)
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(BadInput) as refused:
        read_evaluation(tmp_path)
    assert f"{tmp_path / 'evaluation.json'}: " in str(refused.value)
    assert told in str(refused.value)
    assert "Error" not in str(refused.value)


GRID = Geometry((20, 30, 4), (0.5, 0.75, 4.0), (1.0, -2.0, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def test_the_grid_of_a_reference_comes_back(tmp_path):
    row = replace(result("a", 0.5), reference_grid=ReferenceGrid(7, GRID))
    evaluation = Evaluation((row, result("b", None)), (0,))
    content = evaluation.to_json()
    assert content["cases"][0]["reference_voxels"] == 7
    assert content["cases"][0]["reference_grid"]["size_xyz"] == (20, 30, 4)
    (tmp_path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")
    assert read_evaluation(tmp_path) == evaluation


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"evaluation\.json"):
        read_evaluation(tmp_path)


def test_long_lists_are_cut_with_a_count():
    assert name_some([str(i) for i in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
