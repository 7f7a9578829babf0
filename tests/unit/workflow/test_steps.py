from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, Case, Fold, write_cases, write_splits
from nnunet_spine.errors import MissingDependency, WorkFailed
from nnunet_spine.images import Geometry, Volume, write_volume
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.prediction import Model
from nnunet_spine.workflow.steps import Study, ensure_evaluation, ensure_nnunet_fold, run_nnunet

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
DATASET = "Dataset058_Spine"


def mask(path: Path, voxels: int) -> None:
    array = np.zeros((4, 6, 8), np.uint8)
    array.ravel()[:voxels] = 1
    write_volume(path, Volume(array, Geometry((8, 6, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY)))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(DATASET, Workspace.from_environment(tmp_path), tmp_path / "evaluation")
    write_splits(study.preprocessed / SPLITS_FILE, [Fold(0, ("b",), ("a",)), Fold(1, ("a",), ("b",))])
    write_cases(study.raw / CASES_FILE, [Case("a", "P1"), Case("b", "P2")])
    for fold, case in enumerate("ab"):
        mask(study.raw / "labelsTr" / f"{case}.nii.gz", 20)
        mask(study.raw / "imagesTr" / f"{case}_0000.nii.gz", 30)
        mask(Model(DATASET).folder(study.workspace) / f"fold_{fold}" / "validation" / f"{case}.nii.gz", 10)
    return study


def test_an_evaluation_is_kept_until_an_input_changes(study: Study) -> None:
    model = Model(DATASET)
    first = ensure_evaluation(study, model, "documented")
    assert [result.dice for result in first.results] == pytest.approx([20 / 30, 20 / 30])
    path = study.output / "documented" / "evaluation.json"
    before = path.stat().st_mtime_ns
    assert ensure_evaluation(study, model, "documented") == first
    assert path.stat().st_mtime_ns == before
    mask(model.folder(study.workspace) / "fold_1" / "validation" / "b.nii.gz", 20)
    second = ensure_evaluation(study, model, "documented")
    assert second.results[1].dice == pytest.approx(1.0)
    write_cases(study.raw / CASES_FILE, [Case("a", "P7"), Case("b", "P2")])
    third = ensure_evaluation(study, model, "documented")
    assert [result.patient for result in third.results] == ["P7", "P2"]
    assert json.loads(path.read_text())["strata"]["not_computed"] == []
    manifest = json.loads((study.output / "documented" / "manifest.json").read_text())
    assert manifest["parameters"]["trainer"] == "nnUNetTrainerSpine"


def test_fold_numbers_are_those_of_the_splits(study: Study) -> None:
    assert study.fold_numbers == [0, 1]


def test_a_complete_fold_of_nnunet_is_left_alone(study: Study, tmp_path: Path) -> None:
    model = Model(DATASET)
    fold = model.folder(study.workspace) / "fold_0"
    for name in ("checkpoint_final.pth", "validation/summary.json"):
        (fold / name).write_bytes(b"")
    assert ensure_nnunet_fold(study, model, 0, tmp_path / "logs", device="cpu") is False
    assert not (tmp_path / "logs").exists()


def command(folder: Path, script: str) -> None:
    (folder / "nnUNetv2_fake").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nnUNetv2_fake").chmod(stat.S_IRWXU)


def test_a_command_that_fails_names_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    command(tmp_path, 'echo "out of memory, $nnUNet_raw, $1"; exit 3')
    workspace = Workspace.from_environment(tmp_path)
    with pytest.raises(WorkFailed, match=r"nnUNetv2_fake ended with code 3.*fake\.log"):
        run_nnunet("nnUNetv2_fake", ["-d"], workspace, tmp_path / "logs" / "fake.log")
    assert (tmp_path / "logs" / "fake.log").read_text() == f"out of memory, {workspace.raw}, -d\n"
    command(tmp_path, "echo well")
    run_nnunet("nnUNetv2_fake", [], workspace, tmp_path / "logs" / "fake.log")
    assert (tmp_path / "logs" / "fake.log").read_text().endswith("well\n")


def test_a_command_is_found_on_the_path_or_its_absence_is_said(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    workspace = Workspace.from_environment(tmp_path)
    with pytest.raises(MissingDependency, match="no command nnUNetv2_fake"):
        run_nnunet("nnUNetv2_fake", [], workspace, tmp_path / "logs" / "fake.log")
    assert not (tmp_path / "logs").exists()
    (tmp_path / "bin").mkdir()
    command(tmp_path / "bin", "echo found")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    run_nnunet("nnUNetv2_fake", [], workspace, tmp_path / "logs" / "fake.log")
    assert (tmp_path / "logs" / "fake.log").read_text() == "found\n"
