import csv
import hashlib
import json
import os
import socket
from contextlib import chdir
from dataclasses import replace

import pytest

from nnunet_spine.cases import Fold
from nnunet_spine.errors import NotWritable
from nnunet_spine.evaluation.output import FILES, hash_masks, results_folder, write_evaluation, write_together
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
        write_together(tmp_path, {"good.csv": "x", "absent/bad.csv": "y"}, step="evaluate")
    assert list(tmp_path.iterdir()) == []


KINDS = {
    "folder": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("mine.txt"),
    "dangling link": lambda path: path.symlink_to("nothing"),
    "pipe": lambda path: os.mkfifo(path),
    "socket": lambda path: _socket(path),
}


def _socket(path):
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["evaluation.json", "strata.csv"])
def test_what_is_no_file_is_refused_before_anything_is_written(tmp_path, kind, name):
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "manifest.json").write_text('{"step": "evaluate"}')
    KINDS[kind](tmp_path / name)
    before = {path.name: path.lstat().st_ino for path in tmp_path.iterdir()}
    with (
        pytest.raises(NotWritable, match=f"{name} is a {kind.split()[-1]}"),
        results_folder(tmp_path, "evaluate", (*FILES, "strata.csv")),
    ):
        raise AssertionError("it must not come so far")
    with pytest.raises(NotWritable, match=name):
        write_together(tmp_path, {"a.csv": "x", name: "x", "manifest.json": "{}"}, step="evaluate")
    assert {path.name: path.lstat().st_ino for path in tmp_path.iterdir()} == before
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (None, "and no manifest.json of this program"),
        ('{"name": "web app"}', "and no manifest.json of this program"),
        ("[1]", "and no manifest.json of this program"),
        ('{"step": "predict"}', "and the manifest.json of `predict`"),
    ],
)
def test_files_that_the_step_did_not_make_are_left_alone(tmp_path, manifest, told):
    (tmp_path / "summary.csv").write_text("mine")
    if manifest:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(NotWritable, match="summary.csv") as refused:
        write_evaluation(tmp_path, EVALUATION, {"step": "evaluate"})
    assert told in str(refused.value)
    assert (tmp_path / "summary.csv").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["summary.csv", *(["manifest.json"] * bool(manifest))]
    )


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(ValueError, match="failed"), results_folder(tmp_path / "a" / "b", "evaluate", FILES):
        assert (tmp_path / "a" / "b").is_dir()
        raise ValueError("failed")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").mkdir()
    with pytest.raises(ValueError, match="failed"), results_folder(tmp_path / "there" / "b", "evaluate", FILES):
        raise ValueError("failed")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_name_that_is_no_text_is_written_as_its_escape(tmp_path):
    evaluation = replace(EVALUATION, problems=("the prediction \udcff.nii.gz was not used.",))
    write_evaluation(tmp_path, evaluation, {"step": "evaluate"})
    text = (tmp_path / "evaluation.json").read_text(encoding="utf-8")
    assert "\\udcff.nii.gz" in text
    assert json.loads(text)["problems"] == list(evaluation.problems)


def test_what_is_no_file_has_no_hash(cohort):
    for case in "ab":
        cohort.add(case, 0, 50)
    (cohort.predictions / "a.nii.gz").unlink()
    os.mkfifo(cohort.predictions / "a.nii.gz")
    (cohort.reference / "b.nii.gz").unlink()
    (cohort.reference / "b.nii.gz").symlink_to("/dev/zero")
    hashes = hash_masks(cohort.reference, cohort.predictions, [Fold(0, (), ("a", "b"))])
    assert list(hashes) == ["reference/a", "prediction/b"]


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
