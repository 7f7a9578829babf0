import csv
import hashlib
import json

import pytest

from nnunet_spine.cases import Fold
from nnunet_spine.errors import NotWritable
from nnunet_spine.evaluation.output import hash_masks, write_evaluation, write_together
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation

EVALUATION = Evaluation(
    (
        CaseResult("a", "p", 0, 0.5, True, MaskState.PRESENT, MaskState.PRESENT, 1.0, 2.0),
        CaseResult("b", "q", 1, 0.0, False, MaskState.PRESENT, MaskState.MISSING, 1.0, None, "missing."),
    ),
    (0, 1),
)


def rows(path):
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_tables_and_json(tmp_path):
    write_evaluation(tmp_path / "new" / "out", EVALUATION, {"step": "evaluate"})
    out = tmp_path / "new" / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "evaluation.json",
        "manifest.json",
        "per_case.csv",
        "per_fold.csv",
        "summary.csv",
    ]
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["cases"][1]["missing"] is True
    assert [r["case"] for r in rows(out / "per_case.csv")] == ["a", "b"]
    assert rows(out / "per_case.csv")[1]["prediction_volume_ml"] == ""
    per_fold = rows(out / "per_fold.csv")
    assert [r["fold"] for r in per_fold] == ["0", "1", "mean of folds", "pooled"]
    assert [float(r["dice_mean"]) for r in per_fold] == [0.5, 0.0, 0.25, 0.25]
    assert per_fold[1]["true_positive_dice_mean"] == ""


def test_writing_again_replaces_and_leaves_other_files(tmp_path):
    (tmp_path / "report.html").write_text("kept", encoding="utf-8")
    write_evaluation(tmp_path, EVALUATION, {"step": "evaluate"})
    first = (tmp_path / "evaluation.json").read_bytes()
    write_evaluation(tmp_path, EVALUATION, {"step": "evaluate"})
    assert (tmp_path / "evaluation.json").read_bytes() == first
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == "kept"
    assert len(list(tmp_path.iterdir())) == 6


def test_nothing_appears_where_one_file_cannot_be_written(tmp_path):
    with pytest.raises(NotWritable):
        write_together(tmp_path, {"good.csv": "x", "absent/bad.csv": "y"})
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(NotWritable, match="out"):
        write_evaluation(tmp_path / "out", EVALUATION, {})


def test_hashes_are_of_the_masks_that_are_read(cohort):
    cohort.add("a", 0, 50)
    cohort.add("unused", 0, 50)
    hashes = hash_masks(cohort.reference, cohort.predictions, [Fold(0, (), ("a",))])
    assert list(hashes) == ["reference/a", "prediction/a"]
    by_system = hashlib.sha256((cohort.reference / "a.nii.gz").read_bytes()).hexdigest()
    assert hashes["reference/a"] == by_system
