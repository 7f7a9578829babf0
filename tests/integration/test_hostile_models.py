"""Models and plans that others made: nothing of hostile ones runs, and sound ones predict as before."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from training_processes import COMMAND, environment, fold_folder, run, train_arguments

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.prediction import Model, predict_folder
from nnunet_spine.nnunet.runtime import quiet
from nnunet_spine.nnunet.trained_model import nnunet_scores, read_model
from nnunet_spine.nnunet.whole_case import whole_case_model

NAMES = ("-p", "nnUNetSpinePlans", "-tr", "nnUNetTrainerSpine")
EXEC_PREDICT = ("nnUNetv2_predict", "-d", "58", "-c", "3d_fullres", "-f", "0", *NAMES)
EXEC_TRAIN = ("nnUNetv2_train", "58", "3d_fullres", "0", "--c", "-device", "cpu", *NAMES)


class Runs:
    """Pickles to a shell command."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> Any:
        return os.system, (self.command,)


@pytest.fixture
def model(trained: Workspace, tmp_path: Path) -> Path:
    """A copy of the trained model's results folder."""
    return Path(shutil.copytree(trained.results, tmp_path / "results"))


def spoil(path: Path, marker: Path) -> None:
    """Let a checkpoint run a command when it is read with all rights."""
    content = torch.load(path, weights_only=False, map_location="cpu")
    torch.save({**content, "logging": Runs(f"touch '{marker}'")}, path)


def predict_arguments(tiny, output: Path) -> list[str]:
    options = ["--input", str(tiny.raw / "imagesTs"), "--output", str(output), "--device", "cpu"]
    return [*COMMAND, "predict", "58", *options]


def refused(done: Any, *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "defect of nnunet-spine" not in done.stderr
    for word in words:
        assert word in done.stderr


def test_a_checkpoint_that_runs_a_program_is_refused_wherever_it_is_read(tiny, model: Path, tmp_path: Path) -> None:
    marker, fold = tmp_path / "marker", fold_folder(model)
    spoil(fold / "checkpoint_final.pth", marker)
    variables = environment(tiny, model)
    words = ("checkpoint_final.pth holds more than numbers and text (posix.system)", "--trust-model")
    refused(run(predict_arguments(tiny, tmp_path / "out"), **variables), *words)
    assert not (tmp_path / "out").exists()
    theirs = ["-i", str(tiny.raw / "imagesTs"), "-o", str(tmp_path / "theirs"), "-device", "cpu"]
    refused(run([*COMMAND, "exec", *EXEC_PREDICT, *theirs], **variables), *words)
    shutil.rmtree(fold / "validation")  # so that training reads the checkpoint to predict its test cases
    before = {path.name for path in fold.iterdir()}
    refused(run(train_arguments(1), **variables), *words)
    refused(run([*COMMAND, "exec", *EXEC_TRAIN], NNUNET_SPINE_EPOCHS="1", **variables), *words)
    assert not marker.exists()
    assert {path.name for path in fold.iterdir() if "log" not in path.name} == {n for n in before if "log" not in n}

    done = run([*predict_arguments(tiny, tmp_path / "out"), "--trust-model"], **variables)
    assert done.returncode == 0, done.stderr
    assert "--trust-model lets the code in a model run" in done.stderr
    assert marker.exists()
    assert len(list((tmp_path / "out").glob("*.nii.gz"))) == 2


def test_a_hostile_checkpoint_to_go_on_from_is_refused(tiny, model: Path, tmp_path: Path) -> None:
    marker, fold = tmp_path / "marker", fold_folder(model)
    (fold / "checkpoint_final.pth").replace(fold / "checkpoint_latest.pth")
    shutil.copy(fold / "checkpoint_latest.pth", fold / "checkpoint_previous.pth")
    spoil(fold / "checkpoint_latest.pth", marker)
    done = run(train_arguments(1), **environment(tiny, model))
    refused(done, "checkpoint_latest.pth holds more than numbers and text")
    assert not marker.exists()


@pytest.fixture(scope="module")
def nnunets(tiny, tmp_path_factory) -> Workspace:
    """The small data set planned by nnU-Net itself, and a model of nnU-Net's own trainer that has not learnt yet."""
    root = tmp_path_factory.mktemp("nnunets")
    preprocessed = root / "nnUNet_preprocessed" / tiny.dataset
    preprocessed.mkdir(parents=True)
    for name in ("splits_final.json", "dataset_fingerprint.json", "dataset.json"):
        shutil.copy(tiny.preprocessed / name, preprocessed)
    shutil.copytree(tiny.preprocessed / "nnUNetSpinePlans_3d_fullres", preprocessed / "nnUNetPlans_3d_fullres")
    workspace = Workspace(tiny.workspace.raw, preprocessed.parent, root / "nnUNet_results")
    variables = environment(tiny, workspace.results, nnUNet_preprocessed=str(workspace.preprocessed))
    done = run([*COMMAND, "exec", "nnUNetv2_plan_experiment", "-d", "58"], **variables)
    assert done.returncode == 0, done.stderr
    plans, dataset = (json.loads((preprocessed / n).read_text()) for n in ("nnUNetPlans.json", "dataset.json"))
    workspace.apply()
    with quiet():
        torch.manual_seed(0)
        trainer = nnUNetTrainer({**plans, "continue_training": False}, "3d_fullres", 0, dataset, torch.device("cpu"))
        trainer.initialize()
        for key in trainer.logger.local_logger.my_fantastic_logging:
            trainer.logger.local_logger.log(key, np.float32(0.25), 0)
        trainer._best_ema = np.float64(0.25)
        trainer.inference_allowed_mirroring_axes = (1,)
        trainer.save_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    for name, content in (("plans.json", plans), ("dataset.json", dataset)):
        (Path(trainer.output_folder_base) / name).write_text(json.dumps(content))
    return workspace


def test_a_model_of_nnunets_own_predicts_as_under_nnunet_in_every_order_of_axes(tiny, nnunets, tmp_path: Path) -> None:
    """Its plans say nothing of the orientation; the training images beside it do."""
    model, images = Model("58", "nnUNetTrainer", "nnUNetPlans"), tmp_path / "images"
    images.mkdir()
    source = tiny.raw / "imagesTs" / "new_101_0000.nii.gz"
    shutil.copy(source, images / "stored_0000.nii.gz")
    (tmp_path / "one").mkdir()
    shutil.copy(source, tmp_path / "one" / "stored_0000.nii.gz")
    sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(str(source)), "RAS"), str(images / "turned_0000.nrrd"))
    with quiet():
        predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
        predictor.initialize_from_trained_model_folder(str(model.folder(nnunets)), (0,), "checkpoint_final.pth")
        predictor.predict_from_files_sequential([[str(source)]], [str(tmp_path / "theirs")], save_probabilities=True)
    output = tmp_path / "ours"
    result = predict_folder(model, images, output, nnunets, device="cpu", save_probabilities=True)
    assert (result.folds, result.warnings) == ((0,), ())
    assert (output / "stored.nii.gz").read_bytes() == (tmp_path / "theirs.nii.gz").read_bytes()
    with np.load(tmp_path / "theirs.npz") as theirs, np.load(output / "stored.npz") as ours:
        # This process has not the threads of a worker, by which sums are split: a last bit may differ.
        np.testing.assert_allclose(ours["probabilities"], theirs["probabilities"], rtol=0, atol=1e-6)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(output / "stored.nii.gz")))
    assert 0 < stored.mean() < 1
    found = sitk.DICOMOrient(sitk.ReadImage(str(output / "turned.nii.gz")), "PIL")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(found), stored)
    elsewhere = Workspace(tmp_path / "no_raw", nnunets.preprocessed, nnunets.results)
    result = predict_folder(model, tmp_path / "one", tmp_path / "unknown", elsewhere, device="cpu")
    assert "In which order of axes this model's training images are stored is not known" in result.warnings[0]
    assert (tmp_path / "unknown" / "stored.nii.gz").read_bytes() == (output / "stored.nii.gz").read_bytes()


def test_nnunets_own_trainer_does_not_run_a_checkpoint_either(tiny, nnunets, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    results = Path(shutil.copytree(nnunets.results, tmp_path / "results"))
    fold = fold_folder(results, "nnUNetTrainer", "nnUNetPlans")
    (fold / "checkpoint_final.pth").replace(fold / "checkpoint_latest.pth")
    spoil(fold / "checkpoint_latest.pth", marker)
    variables = environment(tiny, results, nnUNet_preprocessed=str(nnunets.preprocessed))
    arguments = [
        *COMMAND,
        "train",
        "58",
        "0",
        "--trainer",
        "nnUNetTrainer",
        "--plans",
        "nnUNetPlans",
        "--device",
        "cpu",
    ]
    refused(run(arguments, **variables), "checkpoint_latest.pth holds more than numbers and text")
    assert not marker.exists()


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (truncate, "is damaged, or no checkpoint"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "text": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1"),
        "is damaged, or no checkpoint",
    ),
    "other weights": (
        lambda path: torch.save({**torch.load(path, weights_only=False), "network_weights": {}}, path),
        "do not fit the network that its plans.json describes",
    ),
    "nothing else": (
        lambda path: torch.save({"network_weights": {}}, path),
        "is no checkpoint of nnU-Net",
    ),
    "another trainer": (
        lambda path: torch.save(
            {**torch.load(path, weights_only=False), "trainer_name": "nnUNetTrainerOfNobody"}, path
        ),
        "There is no trainer 'nnUNetTrainerOfNobody'",
    ),
    "a module for a trainer": (
        lambda path: torch.save({**torch.load(path, weights_only=False), "trainer_name": "torch"}, path),
        "There is no trainer 'torch'",
    ),
}


def read(folder: Path) -> None:
    """What a worker process of `predict` does before its first image."""
    model = read_model(folder, [0])
    if whole_case_model(model) is None:
        nnunet_scores(model, "cpu")


@pytest.mark.parametrize("kind", list(DAMAGE))
def test_checkpoints_that_cannot_be_used_are_sentences(model: Path, kind: str) -> None:
    change, words = DAMAGE[kind]
    fold = fold_folder(model)
    change(fold / "checkpoint_final.pth")
    with pytest.raises((BadInput, NotFound), match=words):
        read(fold.parent)


def test_prediction_with_a_damaged_checkpoint_leaves_nothing(tiny, model: Path, tmp_path: Path) -> None:
    truncate(fold_folder(model) / "checkpoint_final.pth")
    refused(run(predict_arguments(tiny, tmp_path / "out"), **environment(tiny, model)), "is damaged, or no checkpoint")
    assert not (tmp_path / "out").exists()


PLANS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "network of the system": (
        lambda plans: plans["configurations"]["3d_fullres"]["architecture"].update(network_class_name="os.system"),
        '`network_class_name` is "os.system"',
    ),
    "a class beside a network": (
        lambda plans: plans["configurations"]["3d_fullres"]["architecture"].update(
            network_class_name="monai.networks.nets.unet.Sequence"
        ),
        "which is no network",
    ),
    "billions of channels": (
        lambda plans: plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(channels=[10**9] * 5),
        "`arch_kwargs`",
    ),
    "more weights than anybody trains": (
        lambda plans: plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(
            channels=[4096] * 40, strides=[1] * 39
        ),
        "weights; expected at most",
    ),
    "arguments that contradict each other": (
        lambda plans: plans["configurations"]["3d_fullres"]["architecture"]["arch_kwargs"].update(strides=[2]),
        "cannot be built of the arguments in the plans",
    ),
    "leaves its folder": (lambda plans: plans.update(dataset_name="../../elsewhere"), "`dataset_name`"),
}


@pytest.mark.parametrize("kind", list(PLANS))
def test_plans_in_a_model_that_cannot_be_used_are_sentences(model: Path, kind: str) -> None:
    change, words = PLANS[kind]
    folder = fold_folder(model).parent
    plans = json.loads((folder / "plans.json").read_text())
    change(plans)
    (folder / "plans.json").write_text(json.dumps(plans))
    with pytest.raises(BadInput, match=words):
        read(folder)


def test_hostile_plans_do_not_train_elsewhere(tiny, tmp_path: Path) -> None:
    """Under nnU-Net's own command, whose reading of plans this package's trainers check."""
    preprocessed = tmp_path / "nnUNet_preprocessed" / tiny.dataset
    shutil.copytree(tiny.preprocessed, preprocessed)
    precious = tmp_path / "precious"
    precious.mkdir()
    plans = json.loads((preprocessed / "nnUNetSpinePlans.json").read_text())
    for key, value in (("dataset_name", str(precious)), ("plans_name", "../../../precious/x")):
        (preprocessed / "nnUNetSpinePlans.json").write_text(json.dumps({**plans, key: value}))
        variables = environment(tiny, tmp_path / "results", nnUNet_preprocessed=str(preprocessed.parent))
        refused(run([*COMMAND, "exec", *EXEC_TRAIN], **variables), f"`{key}`", "expected a name")
        refused(run(train_arguments(1), **variables), f"`{key}`")
    assert not list(precious.iterdir())
    assert not list((tmp_path / "results").rglob("*")) if (tmp_path / "results").exists() else True
