"""nnU-Net's own evaluation and ours of the same files."""

import json
import math
import sys

import pytest
from nnunetv2.evaluation import evaluate_predictions

from nnunet_spine.cases import read_splits
from nnunet_spine.evaluation.evaluate import evaluate


@pytest.fixture
def judged_by_nnunet(cohort, monkeypatch):
    """Dice by case from nnUNetv2_evaluate_folder, over cases with every relation of the two masks."""
    for number, hundredths in enumerate((0, 1, 37, 50, 99, 100)):
        cohort.add(f"case_{number}", number % 2, hundredths)
    for case, reference, prediction in (("e0", False, False), ("e1", False, True), ("e2", True, False)):
        cohort.add(case, 0, 60)
        for folder, filled in ((cohort.reference, reference), (cohort.predictions, prediction)):
            if not filled:
                cohort.write_mask(folder / f"{case}.nii.gz")
    files = {"dataset.json": {"file_ending": ".nii.gz", "labels": {"background": 0, "tumor": 1}}, "plans.json": {}}
    files["dataset.json"]["overwrite_image_reader_writer"] = "SimpleITKIO"
    for name, content in files.items():
        (cohort.root / name).write_text(json.dumps(content), encoding="utf-8")
    command = [cohort.reference, cohort.predictions, "-djfile", cohort.root / "dataset.json"]
    command += ["-pfile", cohort.root / "plans.json", "-o", cohort.root / "summary.json", "-np", 1]
    monkeypatch.setattr(sys, "argv", ["nnUNetv2_evaluate_folder", *map(str, command)])
    evaluate_predictions.evaluate_folder_entry_point()
    rows = json.loads((cohort.root / "summary.json").read_text(encoding="utf-8"))["metric_per_case"]
    return {row["prediction_file"].rpartition("/")[2][:-7]: row["metrics"]["1"] for row in rows}


def test_dice_and_iou_are_nnunets_wherever_a_reference_has_a_tumor(cohort, judged_by_nnunet):
    ours = {r.case: r for r in evaluate(cohort.reference, cohort.predictions, read_splits(cohort.splits)).results}
    assert set(ours) == set(judged_by_nnunet)
    for case, row in judged_by_nnunet.items():
        if case not in {"e0", "e1"}:
            assert ours[case].dice == row["Dice"], case
            assert ours[case].measures.iou == row["IoU"], case
    assert [ours[case].dice for case in ("case_2", "e2")] == [0.37, 0.0]


def test_where_a_reference_is_empty_only_nnunet_gives_a_number(cohort, judged_by_nnunet):
    """Nothing to nothing is undefined for both; a false positive is Dice 0 for nnU-Net, and specificity for us."""
    assert math.isnan(judged_by_nnunet["e0"]["Dice"])
    assert judged_by_nnunet["e1"]["Dice"] == 0
    ours = evaluate(cohort.reference, cohort.predictions, read_splits(cohort.splits))
    assert [r.dice for r in ours.results if r.case in {"e0", "e1"}] == [None, None]
    assert (ours.pooled.negatives, ours.pooled.true_negatives) == (2, 1)
