"""Cases looked at while they are judged, and what their folds trained on."""

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Case, Fold, read_splits
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.evaluation.evaluate import evaluate
from nnunet_spine.evaluation.facts import PlanningTables, gather, read_planning_tables
from nnunet_spine.evaluation.masks import locate_predictions
from nnunet_spine.evaluation.observation import Observation, Observer, images_by_case


def watch(cohort, images=None):
    """Judge a cohort with an observer; the evaluation and the observer."""
    folds = read_splits(cohort.splits)
    located = locate_predictions(cohort.predictions, {c: f.number for f in folds for c in f.test})
    observer = Observer(images, located.paths)
    return evaluate(cohort.reference, cohort.predictions, folds, witness=observer), observer


def save_probabilities(cohort, case, tumor):
    array = np.stack([1 - tumor, tumor]).astype(np.float32)
    np.savez_compressed(cohort.predictions / f"{case}.npz", probabilities=array)


def predicted(cohort, case):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.predictions / f"{case}.nii.gz")))


def test_view_border_and_distance_are_seen_without_an_image(cohort):
    cohort.add("a", 0, 40)
    _, observer = watch(cohort)
    seen = observer.seen["a"]
    # Voxels 100 to 199 of a grid of 2 x 20 x 20 at 1 x 2 x 5 mm: 5 whole rows of one of the two slices.
    assert seen.extent.head_to_foot_mm == 2 * 5.0
    assert seen.border_voxels == 100
    assert seen.half_length_mm == 10.0  # 20 columns of 1 mm
    assert (seen.appearance, seen.certainty, seen.problems) == (None, None, ())


def test_the_look_is_seen_in_an_image(cohort):
    cohort.add("a", 0, 40)
    cohort.add_image("a")
    _, observer = watch(cohort, images_by_case(cohort.images))
    assert 0 < observer.seen["a"].appearance.separation < 0.5  # noise


def test_images_that_are_missing_damaged_or_on_another_grid_are_named(cohort):
    for case in ("a", "b", "c", "d"):
        cohort.add(case, 0, 40)
        cohort.add_image(case)
    (cohort.images / "a_0000.nii.gz").unlink()
    (cohort.images / "b_0000.nii.gz").write_bytes(b"\x1f\x8b no volume")
    image = sitk.ReadImage(str(cohort.images / "c_0000.nii.gz"))
    image.SetOrigin((1.0, 0.0, 0.0))
    sitk.WriteImage(image, str(cohort.images / "c_0000.nii.gz"))
    evaluation, observer = watch(cohort, images_by_case(cohort.images))
    problems = observer.problems()
    assert problems[0] == "a: the image is missing."
    assert problems[1].startswith("b: the image b_0000.nii.gz is unusable: ")
    assert problems[2].startswith(
        "c: the image c_0000.nii.gz is unusable: it is on another grid than the reference: voxels up to 1 mm"
    )
    assert len(problems) == 3
    assert str(cohort.root) not in " ".join(problems)
    assert [r.dice for r in evaluation.results] == [0.4] * 4
    assert observer.seen["d"].appearance is not None


def test_a_folder_without_images_is_refused(cohort):
    with pytest.raises(NotFound, match="no folder"):
        images_by_case(cohort.root / "absent")
    cohort.add("a", 0, 40)
    with pytest.raises(NotFound, match="CASE_0000.nii.gz"):
        images_by_case(cohort.reference)


def test_probabilities_beside_a_prediction_are_read(cohort):
    cohort.add("a", 0, 40)
    cohort.add("b", 0, 40)
    save_probabilities(cohort, "a", np.where(predicted(cohort, "a") > 0, 0.9, 0.1))
    _, observer = watch(cohort)
    seen = observer.seen["a"]
    assert seen.certainty.detection == pytest.approx(0.9)
    # 100 predicted voxels of 800: 2 * 90 / (100 + 90 + 70).
    assert seen.certainty.expected_dice == pytest.approx(180 / 260)
    # Within 10 mm: 2 slices of 5 mm; rows 5 to 12, and 5 of 2 mm on both sides; all columns.
    assert seen.voxels.n == 2 * 18 * 20
    high = seen.voxels.bins[-1] if seen.voxels.bins[-1].n else seen.voxels.bins[-2]
    assert (high.n, high.observed) == (100, 40)
    assert (observer.seen["b"].certainty, observer.seen["b"].voxels) == (None, None)


def test_probabilities_that_do_not_fit_are_named_and_the_case_is_judged(cohort):
    for case in ("a", "b", "c"):
        cohort.add(case, 0, 40)
    save_probabilities(cohort, "a", np.zeros((3, 3, 3)))
    (cohort.predictions / "b.npz").write_bytes(b"PK no archive")
    save_probabilities(cohort, "c", np.where(predicted(cohort, "c") > 0, 0.1, 0.9))
    evaluation, observer = watch(cohort)
    a, b, c = observer.problems()
    assert a.startswith("a: the probabilities a.npz are unusable: a.npz holds an array of shape (2, 3, 3, 3)")
    assert "damaged" in b
    assert "not of this prediction" in c
    assert [r.dice for r in evaluation.results] == [0.4] * 3


def test_missing_and_empty_masks_are_seen_as_far_as_they_go(cohort):
    cohort.add("a", 0, None)
    cohort.add("b", 0, 40)
    cohort.add("c", 0, 40)
    cohort.write_mask(cohort.reference / "b.nii.gz")
    (cohort.reference / "c.nii.gz").unlink()
    cohort.add_image("b")
    _, observer = watch(cohort, images_by_case(cohort.images))
    assert observer.seen["a"].border_voxels == 100
    assert (observer.seen["b"].border_voxels, observer.seen["b"].half_length_mm) == (0, None)
    assert observer.seen["c"] == Observation()
    assert observer.problems() == ["a: the image is missing."]


def test_facts_count_what_the_fold_that_tests_a_case_trained_on(cohort):
    for case, fold in (("a", 0), ("b", 1), ("c", 1)):
        cohort.add(case, fold, 40)
    cases = [
        Case("a", "P1", tumor_type="astrocytoma", maker="GE"),
        Case("b", "P2", tumor_type="astrocytoma", maker="Philips"),
        Case("c", "P3", tumor_type="unknown", maker="unknown"),
    ]
    evaluation, observer = watch(cohort)
    folds = read_splits(cohort.splits)
    planned = PlanningTables({"a": 0.9}, {"b": 1.5})
    facts = {f.result.case: f for f in gather(evaluation, observer.seen, folds, cases=cases, planned=planned)}
    assert (facts["a"].trained_on_type, facts["a"].trained_on_maker) == (1, 0)  # on b and c
    assert (facts["b"].trained_on_type, facts["b"].trained_on_maker) == (1, 0)  # on a alone
    assert (facts["c"].trained_on_type, facts["c"].trained_on_maker) == (None, None)
    assert (facts["a"].ceiling_dice, facts["a"].field_strength) == (0.9, None)
    without = gather(evaluation, observer.seen, folds)
    assert {(f.metadata, f.trained_on_type) for f in without} == {(None, None)}


def test_nothing_is_said_where_no_training_case_is_known(cohort):
    cohort.add("a", 0, 40)
    evaluation, observer = watch(cohort)
    folds = [Fold(0, ("x",), ("a",))]
    known = [Case("a", "P1", tumor_type="astrocytoma"), Case("x", "P2")]
    assert gather(evaluation, observer.seen, folds, cases=known)[0].trained_on_type is None


def test_tables_of_the_plans(tmp_path):
    ceiling, fields = tmp_path / "ceiling.csv", tmp_path / "fields.csv"
    ceiling.write_text("case,dice,vanished\na,0.9,False\nb,0.0,True\n")
    fields.write_text("case,strength,confidence,order,note\na,1.5,0.9,2,\nb,,,,no tissue\n")
    assert read_planning_tables(ceiling, fields) == PlanningTables({"a": 0.9, "b": 0.0}, {"a": 1.5})
    assert read_planning_tables(None, None) == PlanningTables()
    ceiling.write_text("case,dice\na,good\n")
    with pytest.raises(BadInput, match="dice is 'good'; expected a number"):
        read_planning_tables(ceiling, None)
    with pytest.raises(BadInput, match="no column strength"):
        read_planning_tables(None, ceiling)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("a,NaN", "row 2: strength is 'NaN'; expected a number of at least 0"),
        ("a,1\nb,inf", "row 3: strength is 'inf'; expected a number of at least 0"),
        ("a,-1", "row 2: strength is '-1'; expected a number of at least 0"),
        ("a,1e999", "row 2: strength is '1e999'; expected a number"),
        ('a,"1,5"', "row 2: strength is '1,5'; expected a number"),
        ("a,1\na,1", "row 3: the case 'a' is listed twice"),
    ],
)
def test_numbers_of_the_plans_that_are_none_are_named_with_their_row(tmp_path, rows, told):
    (tmp_path / "fields.csv").write_text(f"case,strength\n{rows}\n")
    with pytest.raises(BadInput) as refused:
        read_planning_tables(None, tmp_path / "fields.csv")
    assert told in str(refused.value)
