import json
import os
from importlib.metadata import version

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Case, Fold, read_splits
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.evaluation.evaluate import evaluate
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.protocol import Criterion


def judge(cohort, **options):
    return evaluate(cohort.reference, cohort.predictions, read_splits(cohort.splits), **options)


def by_case(evaluation):
    return {r.case: r for r in evaluation.results}


@pytest.fixture
def three(cohort):
    for case, hundredths in (("a", 40), ("b", 0), ("c", 70)):
        cohort.add(case, 0, hundredths)
    return cohort


def test_dice_detection_and_volumes(three):
    results = by_case(judge(three))
    assert [results[c].dice for c in "abc"] == [0.4, 0.0, 0.7]
    assert [results[c].detected for c in "abc"] == [True, False, True]
    assert results["a"].reference_volume_ml == pytest.approx(1.0)  # 100 voxels of 10 mm3
    assert results["a"].prediction_volume_ml == pytest.approx(1.0)


def predicted_with(cohort, *folds, step="predict"):
    content = {"step": step, "parameters": {"folds": list(folds)}}
    (cohort.predictions / "manifest.json").write_text(json.dumps(content))


@pytest.mark.parametrize(("folds", "seen"), [(("all",), 4), ((0, 1), 4), ((1,), 2), ((0,), 2), ((7,), 0), (("0",), 0)])
def test_predictions_by_folds_that_trained_on_the_cases_are_refused(cohort, folds, seen):
    for case, fold in (("a", 0), ("b", 0), ("c", 1), ("d", 1)):
        cohort.add(case, fold, 40)
    predicted_with(cohort, *folds)
    if seen:
        with pytest.raises(BadInput, match=f"trained on {seen} of the 4 cases: their Dice says nothing about new"):
            judge(cohort)
    else:
        assert len(judge(cohort).results) == 4


def test_predictions_by_a_fold_of_its_own_test_cases_are_judged(cohort):
    for case, fold in (("a", 0), ("b", 0), ("c", 1)):
        cohort.add(case, fold, 40 if fold == 0 else None)
    predicted_with(cohort, 0)
    assert [r.dice for r in judge(cohort).results if r.fold == 0] == [0.4, 0.4]
    predicted_with(cohort, "all", step="evaluate")
    assert len(judge(cohort).results) == 3


def test_progress_is_told_case_by_case(three):
    told = []
    judge(three, progress=lambda done, total, what="": told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_missing_prediction_is_a_named_miss(three):
    (three.predictions / "a.nii.gz").unlink()
    evaluation = judge(three)
    result = by_case(evaluation)["a"]
    assert (result.dice, result.detected, result.missing) == (0.0, False, True)
    assert evaluation.all_problems() == ["a: the prediction is missing."]
    assert evaluation.pooled.cases == 3


def test_an_empty_prediction_is_a_named_miss(three):
    three.write_mask(three.predictions / "a.nii.gz")
    evaluation = judge(three)
    assert (by_case(evaluation)["a"].dice, by_case(evaluation)["a"].prediction) == (0.0, MaskState.EMPTY)
    assert evaluation.all_problems() == ["a: the prediction is empty."]


def test_a_damaged_prediction_is_a_named_miss_without_its_path(three):
    (three.predictions / "a.nii.gz").write_bytes(b"\x1f\x8b not a volume")
    evaluation = judge(three)
    assert by_case(evaluation)["a"].prediction is MaskState.UNUSABLE
    (problem,) = evaluation.all_problems()
    assert problem.startswith("a: the prediction a.nii.gz is unusable: cannot be read")
    assert str(three.root) not in problem


@pytest.mark.parametrize("place", [12, 25, -30, -6, -2])
def test_one_damaged_byte_is_named(three, place):
    """In the compressed data, in its check sum, and in its length."""
    content = bytearray((three.predictions / "a.nii.gz").read_bytes())
    content[place] ^= 0xFF
    (three.predictions / "a.nii.gz").write_bytes(content)
    (problem,) = judge(three).all_problems()
    assert problem.startswith("a: the prediction a.nii.gz is unusable")
    assert by_case(judge(three))["c"].dice == 0.7


def test_a_prediction_on_another_grid_is_named_with_both_and_never_resampled(three):
    image = sitk.ReadImage(str(three.predictions / "a.nii.gz"))
    image.SetOrigin((0.5, 0.0, 0.0))
    sitk.WriteImage(image, str(three.predictions / "a.nii.gz"))
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice == 0.0
    (problem,) = evaluation.all_problems()
    assert "origin 0.5 0 0 mm" in problem
    assert "origin 0 0 0 mm" in problem


def test_a_map_of_probabilities_is_refused(three):
    image = sitk.GetImageFromArray(np.full((2, 20, 20), 0.37, np.float32))
    image.SetSpacing(three.spacing_xyz_mm)
    sitk.WriteImage(image, str(three.predictions / "a.nii.gz"))
    (problem,) = judge(three).all_problems()
    assert "0.37" in problem
    assert "no label map" in problem


def test_whole_numbers_as_floats_are_labels(three):
    three.write_mask(three.predictions / "a.nii.gz", slice(160, 260), dtype=np.float64)
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice == 0.4
    assert evaluation.all_problems() == []


def test_an_unexpected_label_counts_as_tumor_and_is_named(three):
    three.write_mask(three.predictions / "a.nii.gz", slice(160, 260), value=2)
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice == 0.4
    assert evaluation.all_problems() == [
        "a: the prediction holds labels besides 0 and 1: 2. All labels above 0 were taken as tumor."
    ]


def test_a_4d_prediction_is_unusable(three):
    image = sitk.JoinSeries([sitk.ReadImage(str(three.predictions / "a.nii.gz"))] * 2)
    sitk.WriteImage(image, str(three.predictions / "a.nii.gz"))
    (problem,) = judge(three).all_problems()
    assert "4 dimensions" in problem


@pytest.mark.parametrize("predicted", [True, False])
def test_an_empty_reference_leaves_sensitivity_and_counts_towards_specificity(three, predicted):
    three.write_mask(three.reference / "a.nii.gz")
    if not predicted:
        three.write_mask(three.predictions / "a.nii.gz")
    evaluation = judge(three)
    result = by_case(evaluation)["a"]
    assert (result.dice, result.detected) == (None, None)
    assert "a: the reference is empty: the case counts towards specificity alone." in evaluation.all_notes()
    pooled = evaluation.pooled
    assert (pooled.cases, pooled.patients, pooled.detected, pooled.excluded) == (2, 2, 1, 0)
    assert (pooled.negatives, pooled.true_negatives, pooled.specificity) == (
        1,
        int(not predicted),
        float(not predicted),
    )
    assert result.measures.false_positive_components == int(predicted)
    assert result.measures.false_positive_volume_ml == pytest.approx(float(predicted))
    assert evaluation.all_problems() == []


def test_an_empty_reference_without_a_prediction_counts_nowhere(three):
    three.write_mask(three.reference / "a.nii.gz")
    (three.predictions / "a.nii.gz").unlink()
    evaluation = judge(three)
    assert (evaluation.pooled.excluded, evaluation.pooled.negatives, evaluation.pooled.specificity) == (1, 0, None)
    assert by_case(evaluation)["a"].measures is None
    assert evaluation.all_problems() == ["a: the prediction is missing."]


def test_a_missing_reference_is_a_named_problem(three):
    (three.reference / "a.nii.gz").unlink()
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice is None
    assert evaluation.all_problems() == ["a: the reference is missing."]


def test_what_no_fold_tests_is_named(three):
    three.write_mask(three.predictions / "z.nii.gz", slice(3))
    three.write_mask(three.reference / "y.nii.gz", slice(3))
    evaluation = judge(three)
    assert evaluation.notes[1:] == ("no fold tests these references: y.",)
    assert evaluation.problems == ("the prediction z.nii.gz was not used: its fold tests no case of this name.",)


def test_a_misnamed_prediction_is_named_with_the_case_that_it_may_be(cohort):
    for case in ("case_1", "case_2"):
        cohort.add(case, 0, 40)
    (cohort.predictions / "case_1.nii.gz").rename(cohort.predictions / "case_1_seg.nii.gz")
    evaluation = judge(cohort)
    misnamed, missing = evaluation.all_problems()
    assert misnamed.startswith("the prediction case_1_seg.nii.gz was not used: its fold tests no case of this name.")
    assert misnamed.endswith("It may be the missing case_1 under another name: rename it if so.")
    assert missing == "case_1: the prediction is missing."
    assert [r.dice for r in evaluation.results] == [0.0, 0.4]


def test_measures_are_of_true_spacing(three):
    """Rows of 20 voxels of 1 x 2 mm on one slice of 5 mm: voxels 100 to 199 against 160 to 259."""
    measures = by_case(judge(three))["a"].measures
    assert (measures.iou, measures.precision, measures.recall) == (pytest.approx(40 / 160), 0.4, 0.4)
    assert measures.centroid_distance_mm == pytest.approx(6.0)  # three rows of 2 mm
    assert measures.hd95_mm == pytest.approx(6.0)
    assert (measures.reference_lesions, measures.detected_lesions, measures.false_positive_components) == (1, 1, 0)


@pytest.mark.parametrize(
    ("criterion", "detected"), [(Criterion.ANY_OVERLAP, True), (Criterion.IOU_01, True), (Criterion.IOU_05, False)]
)
def test_the_criterion_decides_on_detection(three, criterion, detected):
    evaluation = judge(three, criterion=criterion)
    assert evaluation.criterion is criterion
    assert by_case(evaluation)["a"].detected is detected  # IoU 40 / 160


def test_the_tool_is_named(three):
    assert judge(three).tools == {"HD95 and NSD": f"surface-distance {version('surface-distance')}"}


def test_predictions_of_a_trained_model_folder(cohort):
    for fold, case in enumerate(("a", "b")):
        cohort.add(case, fold, 50, cohort.predictions / f"fold_{fold}" / "validation")
    cohort.predict("b", 99, cohort.predictions / "fold_0" / "validation")  # of the fold that trained on it
    assert [r.dice for r in judge(cohort).results] == [0.5, 0.5]


def test_patients_come_from_the_table_of_cases(three):
    table = [Case("a", "p"), Case("b", "p"), Case("c", "q"), Case("unused", "r")]
    evaluation = judge(three, cases=table)
    assert [r.patient for r in evaluation.results] == ["p", "p", "q"]
    assert (evaluation.pooled.patients, evaluation.pooled.detected) == (2, 2)
    assert evaluation.notes == ()
    assert judge(three).notes == ("no table of cases was given: each case counts as its own patient.",)


def test_a_table_that_lacks_a_case_is_refused(three):
    with pytest.raises(BadInput, match="no row for b, c"):
        judge(three, cases=[Case("a", "p")])


def test_a_patient_in_two_folds_is_a_problem(cohort):
    cohort.add("a", 0, 50)
    cohort.add("b", 1, 50)
    evaluation = judge(cohort, cases=[Case("a", "p"), Case("b", "p")])
    assert [p.partition(":")[0] for p in evaluation.problems] == [
        "fold 0 tests patients that it was trained on",
        "fold 1 tests patients that it was trained on",
    ]


def test_wrong_folders_are_refused(three, tmp_path):
    folds = [Fold(0, (), ("a",))]
    with pytest.raises(NotFound, match=r"no folder .* with references"):
        evaluate(tmp_path / "absent", three.predictions, folds)
    with pytest.raises(NotFound, match="holds no reference"):
        evaluate(three.images, three.predictions, folds)
    with pytest.raises(NotFound, match="No prediction of any"):
        evaluate(three.reference, three.images, folds)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_mask_with_what_is_no_number_is_unusable_and_named(three, value, suffix):
    array = np.zeros(three.shape_zyx, np.float32)
    array[0, 0, :3], array[1, 5, 5] = value, 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(three.spacing_xyz_mm)
    (three.predictions / "a.nii.gz").unlink()
    sitk.WriteImage(image, str(three.predictions / f"a{suffix}"))
    evaluation = judge(three)
    result = by_case(evaluation)["a"]
    assert (result.dice, result.prediction, result.prediction_volume_ml) == (0.0, MaskState.UNUSABLE, None)
    (problem,) = evaluation.all_problems()
    assert problem.startswith(f"a: the prediction a{suffix} is unusable: has 3 voxels that are not finite (NaN or inf")


def test_a_reference_of_nan_alone_is_not_taken_for_empty(three):
    image = sitk.GetImageFromArray(np.full(three.shape_zyx, np.nan, np.float32))
    image.SetSpacing(three.spacing_xyz_mm)
    sitk.WriteImage(image, str(three.reference / "a.nii.gz"))
    result = by_case(judge(three))["a"]
    assert (result.reference, result.dice) == (MaskState.UNUSABLE, None)
    assert "has 800 voxels that are not finite" in result.problem


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("pipe", "is a pipe; expected a volume file"),
        ("device", "is a device; expected a volume file"),
        ("folder", "is a folder; expected a volume file"),
        ("dangling link", "is a link to a file that is missing; expected a volume file"),
    ],
)
def test_a_prediction_that_is_no_file_is_named_and_not_waited_for(three, kind, told):
    path = three.predictions / "a.nii.gz"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else three.root / "annex" / "object")
    evaluation = judge(three)
    (problem,) = evaluation.all_problems()
    assert problem.startswith(f"a: the prediction a.nii.gz is unusable: {told}")
    assert by_case(evaluation)["b"].prediction is MaskState.PRESENT


def test_a_prediction_in_another_order_of_axes_is_refused_with_that_reason(three):
    image = sitk.ReadImage(str(three.predictions / "a.nii.gz"))
    sitk.WriteImage(sitk.PermuteAxes(image, [2, 0, 1])[::-1, :, :], str(three.predictions / "a.nii.gz"))
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice == 0.0
    (problem,) = evaluation.all_problems()
    assert problem.startswith(
        "a: the prediction has the voxels of the reference in another order of axes (prediction: "
    )
    assert "size 2x20x20, spacing 5 1 2 mm" in problem
    assert problem.endswith("write it in the order of the reference, as `nnunet-spine predict` does.")


def test_a_prediction_elsewhere_is_refused_with_the_distance_in_mm(three):
    image = sitk.ReadImage(str(three.predictions / "a.nii.gz"))
    image.SetOrigin((0.0, 3.0, 4.0))
    sitk.WriteImage(image, str(three.predictions / "a.nii.gz"))
    (problem,) = judge(three).all_problems()
    assert problem.startswith(
        "a: the prediction is on another grid than the reference: voxels up to 5 mm apart, more than a tenth of the "
        "smallest spacing (1 mm) (prediction: size"
    )


def test_a_header_rounded_by_another_tool_is_the_same_grid_with_a_note(three):
    image = sitk.ReadImage(str(three.predictions / "a.nii.gz"))
    image.SetOrigin((0.03, 0.04, 0.0))
    sitk.WriteImage(image, str(three.predictions / "a.nii.gz"))
    evaluation = judge(three)
    assert by_case(evaluation)["a"].dice == 0.4
    assert evaluation.all_problems() == []
    (note,) = [note for note in evaluation.all_notes() if note.startswith("a: ")]
    assert "place voxels up to 0.050 mm apart, which was taken for rounding" in note


def test_the_size_and_grid_of_each_reference_are_recorded(three):
    found = by_case(judge(three))["a"].reference_grid
    assert (found.voxels, found.geometry.size_xyz, found.geometry.spacing_xyz_mm) == (100, (20, 20, 2), (1.0, 2.0, 5.0))


def test_many_stray_predictions_are_a_count_and_five_names(three):
    for number in range(3000):
        (three.predictions / f"stray_{number:04d}.nii.gz").touch()
    (problem,) = judge(three).problems
    assert problem == (
        "3000 predictions were not used, since their folds test no case of these names: stray_0000.nii.gz, "
        "stray_0001.nii.gz, stray_0002.nii.gz, stray_0003.nii.gz, stray_0004.nii.gz and 2995 more."
    )
