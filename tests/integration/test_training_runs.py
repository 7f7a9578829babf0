"""Training through `train_fold`: repeatable, continued after an interruption, and refusing what it must refuse."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nnunet_spine.errors import BadInput, NotFound, NotWritable, WorkFailed
from nnunet_spine.evaluation.probabilities import read_tumor_probability
from nnunet_spine.files import read_json
from nnunet_spine.images import read_volume
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.prediction import Model, predict_folder
from nnunet_spine.training.epoch_log import read_epochs
from nnunet_spine.training.run import TrainingJob, fold_folder, train_fold

JOB = TrainingJob("58", 0, epochs=2, device="cpu", threads=1)


def weights(folder: Path, name: str = "checkpoint_final.pth") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=False)["network_weights"]


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def elsewhere(tiny, folder: Path) -> Workspace:
    return Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, folder)


@pytest.fixture(scope="module")
def undisturbed(tiny, tmp_path_factory) -> Path:
    """A fold trained for two epochs in one go."""
    return train_fold(JOB, elsewhere(tiny, tmp_path_factory.mktemp("undisturbed"))).folder


def test_a_fold_leaves_what_nnunet_expects(undisturbed: Path) -> None:
    names = {p.name for p in undisturbed.iterdir()}
    assert {"checkpoint_final.pth", "checkpoint_best.pth", "progress.png", "manifest.json", "validation"} <= names
    assert "checkpoint_latest.pth" not in names
    assert not [name for name in names if "partial" in name]
    predicted = sorted(p.name for p in (undisturbed / "validation").glob("*.nii.gz"))
    assert predicted == ["spine_001.nii.gz", "spine_005.nii.gz"]
    assert {"plans.json", "dataset.json", "dataset_fingerprint.json"} <= {p.name for p in undisturbed.parent.iterdir()}


def test_trained_again_it_does_nothing(tiny, undisturbed: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()}
    again = train_fold(JOB, elsewhere(tiny, undisturbed.parents[2]))
    assert again.was_complete
    assert {p: p.stat().st_mtime_ns for p in undisturbed.rglob("*") if p.is_file()} == before


def test_interrupted_and_continued_it_ends_with_the_same_weights(tiny, undisturbed: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str = "") -> None:
        raise KeyboardInterrupt

    workspace = elsewhere(tiny, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_fold(JOB, workspace, progress=interrupt)
    epochs = []
    continued = train_fold(JOB, workspace, progress=lambda done, total, what="": epochs.append(done)).folder
    assert epochs == [2]
    assert_same_weights(undisturbed, continued)
    for case in ("spine_001", "spine_005"):
        name = f"validation/{case}.nii.gz"
        assert (continued / name).read_bytes() == (undisturbed / name).read_bytes()


def test_another_seed_gives_other_weights(tiny, undisturbed: Path, tmp_path: Path) -> None:
    other = train_fold(replace(JOB, seed=1), elsewhere(tiny, tmp_path)).folder
    a, b = weights(undisturbed), weights(other)
    assert any(not torch.equal(a[name], b[name]) for name in a)


def test_two_schedules_are_not_mixed(tiny, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str = "") -> None:
        raise KeyboardInterrupt

    workspace = elsewhere(tiny, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train_fold(JOB, workspace, progress=interrupt)
    with pytest.raises(BadInput, match="training of 2 epochs, and 3 are asked for"):
        train_fold(replace(JOB, epochs=3), workspace)


def test_a_loss_that_is_no_number_stops_and_keeps_the_checkpoint(tiny, tmp_path: Path, monkeypatch) -> None:
    from nnunet_spine.training.loss import SpineDiceLoss

    forward = SpineDiceLoss.forward
    epochs: list[int] = []
    monkeypatch.setattr(
        SpineDiceLoss, "forward", lambda self, o, t: forward(self, o, t) * (float("nan") if epochs else 1.0)
    )
    workspace = elsewhere(tiny, tmp_path)
    with pytest.raises(WorkFailed, match="epoch 1 is not a finite number"):
        train_fold(JOB, workspace, progress=lambda done, total, what="": epochs.append(done))
    (latest,) = tmp_path.rglob("checkpoint_latest.pth")
    assert torch.load(latest, weights_only=False)["current_epoch"] == 1


@pytest.mark.parametrize(
    "name",
    ["fold_0/progress.png", "fold_0/validation/summary.json", "fold_0/training_progress.jsonl", "dataset.json"],
)
def test_links_in_a_models_folder_are_refused(tiny, tmp_path: Path, name: str) -> None:
    workspace = elsewhere(tiny, tmp_path)
    precious, link = tmp_path / "precious", fold_folder(JOB, workspace).parent / name
    precious.write_text("mine")
    link.parent.mkdir(parents=True)
    link.symlink_to(precious)
    with pytest.raises(NotWritable, match=f"{link.name} is a link, and training would write to where it leads"):
        train_fold(JOB, workspace)
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("fold", [4, 7, -1])
def test_a_fold_that_the_splits_do_not_have_is_refused(tiny, tmp_path: Path, fold: int) -> None:
    with pytest.raises(NotFound, match="folds 0 to 3"):
        train_fold(replace(JOB, fold=fold), elsewhere(tiny, tmp_path))
    assert not list(tmp_path.rglob("fold_*"))


@pytest.mark.parametrize("name", ["nnUNetTrainerSpineAugmented", "nnUNetTrainerSpineRandBiasField"])
def test_variants_with_augmentation_train_and_repeat(tiny, tmp_path: Path, name: str) -> None:
    job = replace(JOB, trainer=name, epochs=1)
    first, second = (train_fold(job, elsewhere(tiny, tmp_path / run)).folder for run in ("a", "b"))
    assert_same_weights(first, second)


def test_predictions_lie_on_the_original_grid(tiny, undisturbed: Path) -> None:
    image = read_volume(tiny.raw / "imagesTr" / "spine_001_0000.nii.gz")
    assert read_volume(undisturbed / "validation" / "spine_001.nii.gz").geometry.same_grid(image.geometry)


def saved(segmentation: Path) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities beside a segmentation, read without the package, and the segmentation's array (z, y, x)."""
    with np.load(segmentation.with_name(segmentation.name.replace(".nii.gz", ".npz"))) as content:
        return content["probabilities"], read_volume(segmentation).array


def test_a_trained_fold_adds_probabilities_that_give_its_segmentations(tiny, undisturbed: Path, tmp_path: Path) -> None:
    workspace = elsewhere(tiny, tmp_path / "results")
    shutil.copytree(undisturbed.parents[2], workspace.results)
    job = replace(JOB, save_probabilities=True)
    trained = train_fold(job, workspace)
    assert not trained.was_complete
    assert_same_weights(trained.folder, undisturbed)
    for case in ("spine_001", "spine_005"):
        probabilities, segmentation = saved(trained.folder / "validation" / f"{case}.nii.gz")
        assert len(set(segmentation.shape)) == 3  # so that an exchange of axes cannot pass
        np.testing.assert_array_equal(probabilities.argmax(axis=0), segmentation)
        np.testing.assert_array_equal(segmentation, read_volume(undisturbed / "validation" / f"{case}.nii.gz").array)
        assert read_tumor_probability(trained.folder / "validation" / f"{case}.npz", segmentation.shape).max() <= 1
    assert train_fold(job, workspace).was_complete


def test_prediction_saves_probabilities_on_request_also_later(tiny, undisturbed: Path, tmp_path: Path) -> None:
    workspace = elsewhere(tiny, undisturbed.parents[2])
    model, output = Model("58"), tmp_path / "out"
    images = tiny.raw / "imagesTs"
    assert len(predict_folder(model, images, output, workspace, device="cpu").done) == 2
    assert not list(output.glob("*.npz"))
    again = predict_folder(model, images, output, workspace, device="cpu", save_probabilities=True)
    assert (len(again.done), len(again.kept)) == (2, 0)
    assert sorted(p.name for p in output.iterdir()) == [
        "manifest.json",
        *[f"new_{number}{ending}" for number in (100, 101) for ending in (".nii.gz", ".npz")],
    ]
    for path in output.glob("*.nii.gz"):
        probabilities, segmentation = saved(path)
        np.testing.assert_array_equal(probabilities.argmax(axis=0), segmentation)
    kept = predict_folder(model, images, output, workspace, device="cpu", save_probabilities=True)
    assert (len(kept.done), len(kept.kept)) == (0, 2)


def losses(folder: Path) -> list[float]:
    return [epoch.train_loss or 0.0 for epoch in read_epochs(folder)]


def test_bfloat16_is_asked_for_named_and_never_mixed_with_float32(tiny, undisturbed: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int, what: str = "") -> None:
        raise KeyboardInterrupt

    workspace, job = elsewhere(tiny, tmp_path), replace(JOB, precision="bfloat16")
    with pytest.raises(KeyboardInterrupt):
        train_fold(job, workspace, progress=interrupt)
    with pytest.raises(BadInput, match=r"a training in bfloat16, and float32 is asked for now"):
        train_fold(JOB, workspace)
    folder = train_fold(job, workspace).folder
    first, second = weights(undisturbed), weights(folder)
    assert {tensor.dtype for tensor in second.values()} == {torch.float32}
    assert not all(torch.equal(first[name], second[name]) for name in first)
    assert losses(folder) == pytest.approx(losses(undisturbed), abs=0.02)
    departures = read_json(folder / "manifest.json")["departures"]
    assert [d["run"] for d in departures if d["name"] == "cpu_precision"] == ["bfloat16"]
    assert not [d for d in read_json(undisturbed / "manifest.json")["departures"] if d["name"] == "cpu_precision"]


@pytest.mark.parametrize(("trainer", "precision"), [("nnUNetTrainerDurable", "bfloat16"), (JOB.trainer, "float8")])
def test_a_precision_that_cannot_be_is_refused(tiny, tmp_path: Path, trainer: str, precision: str) -> None:
    with pytest.raises(BadInput, match="precision"):
        train_fold(replace(JOB, trainer=trainer, precision=precision), elsewhere(tiny, tmp_path))


def test_several_gpus_are_refused_in_plain_words(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process of `nnUNetv2_train -num_gpus 2`: nnU-Net has joined a process group by then."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    try:
        monkeypatch.setattr(torch.cuda, "set_device", lambda *_: None)
        with pytest.raises(BadInput, match="one GPU.*Leave `-num_gpus` out"):
            train_fold(JOB, elsewhere(tiny, tmp_path))
    finally:
        torch.distributed.destroy_process_group()
