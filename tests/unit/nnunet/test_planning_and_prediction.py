from __future__ import annotations

import errno
import hashlib
import os
import sys
import zipfile
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from small_plans import small_plans, write_plans

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.errors import BadInput, NotFound, NotWritable, WorkFailed
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, write_volume
from nnunet_spine.manifest import make_manifest, write_manifest
from nnunet_spine.nnunet import commands, prediction
from nnunet_spine.nnunet.case_measures import ResizeCeiling, measure_case
from nnunet_spine.nnunet.commands import nnunet_commands, run_command
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.orientation import Orientation
from nnunet_spine.nnunet.planning import plan_dataset
from nnunet_spine.nnunet.prediction import Model, out_of_fold_predictions, predict_folder
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.nnunet.runtime import choose_device, quiet
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.progress import silent

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def reference(path: Path, shape, lesion) -> Path:
    mask = np.zeros(shape, np.uint8)
    mask[lesion] = 1
    write_volume(path, Volume(mask, Geometry(shape[::-1], (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), IDENTITY)))
    return path


def image(path: Path, shape, body=np.s_[:, :, :]) -> Path:
    """An image that is 0 outside `body`."""
    array = np.zeros(shape, np.int16)
    array[body] = 100
    write_volume(path, Volume(array, Geometry(shape[::-1], (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), IDENTITY)))
    return path


def ceiling_of(folder: Path, shape, lesion, grid, body=np.s_[:, :, :]) -> ResizeCeiling:
    path = reference(folder / "a.nii.gz", shape, lesion)
    return measure_case(path, image(folder / "a_0000.nii.gz", shape, body), grid, IntensitySettings()).ceiling


def test_without_a_resize_the_ceiling_is_one(tmp_path: Path) -> None:
    ceiling = ceiling_of(tmp_path, (8, 32, 32), np.s_[2:4, 5:9, 6:11], (16, 32, 32))
    assert (ceiling.case, ceiling.dice, ceiling.vanished) == ("a", 1.0, False)


def test_a_speck_vanishes_in_a_strong_resize(tmp_path: Path) -> None:
    ceiling = ceiling_of(tmp_path, (8, 256, 256), np.s_[3, 100, 100], (16, 32, 32))
    assert ceiling.vanished
    assert ceiling.dice == 0.0


def test_a_block_survives_with_a_loss(tmp_path: Path) -> None:
    ceiling = ceiling_of(tmp_path, (8, 96, 96), np.s_[2:5, 20:51, 31:60], (16, 64, 64))
    assert 0.9 < ceiling.dice < 1.0


def test_borders_of_zero_are_cut_off_before_the_resize(tmp_path: Path) -> None:
    # The body is 64 x 64 in a frame of 96 x 96: it fits the grid as it is, which the frame does not.
    ceiling = ceiling_of(tmp_path, (8, 96, 96), np.s_[2:5, 20:51, 31:60], (16, 64, 64), body=np.s_[:, 10:74, 12:76])
    assert ceiling.dice == 1.0


def test_a_lesion_outside_the_body_is_lost(tmp_path: Path) -> None:
    ceiling = ceiling_of(tmp_path, (8, 64, 64), np.s_[2:5, 0:6, 0:6], (16, 64, 64), body=np.s_[:, 20:50, 20:50])
    assert ceiling.vanished
    assert ceiling.dice == 0.0


def test_no_lesion_and_none_found_is_no_loss(tmp_path: Path) -> None:
    ceiling = ceiling_of(tmp_path, (8, 96, 96), np.s_[0:0, 0, 0], (16, 64, 64))
    assert (ceiling.dice, ceiling.vanished) == (1.0, False)


@pytest.mark.parametrize("memory", [0, -8, float("nan"), float("inf")])
def test_memory_must_be_above_zero(tmp_path: Path, memory: float) -> None:
    with pytest.raises(BadInput, match="GiB"):
        plan_dataset("58", Workspace.from_environment(tmp_path), memory_gib=memory)


@pytest.mark.parametrize("name", ["nnUNetPlans", "my plans", "../plans", ""])
def test_names_that_plans_cannot_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be named"):
        plan_dataset("58", Workspace.from_environment(tmp_path), plans_name=name)


def test_preprocessing_wants_plans(tmp_path: Path) -> None:
    (tmp_path / "nnUNet_raw" / "Dataset058_Spine").mkdir(parents=True)
    with pytest.raises(NotFound, match="nnunet-spine plan 58"):
        preprocess_dataset("58", Workspace.from_environment(tmp_path))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.from_environment(tmp_path)
    write_splits(workspace.preprocessed / "Dataset058_Spine" / "splits_final.json", [Fold(0, ("b",), ("a",))])
    return workspace


def finished(workspace: Workspace, fold: int | str, content: bytes = b"weights") -> Path:
    """A fold with an archive for a checkpoint, in a model's folder with plans; its checkpoint."""
    folder = Model("58").folder(workspace)
    write_plans(folder, small_plans())
    (folder / "nnUNetSpinePlans.json").replace(folder / "plans.json")
    path = folder / f"fold_{fold}" / "checkpoint_final.pth"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
    return path


def test_prediction_wants_images_with_nnunets_names(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        predict_folder(Model("58"), tmp_path / "none", tmp_path / "out", workspace)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "case.nii.gz").write_bytes(b"")
    with pytest.raises(BadInput, match=r"CASE_0000 and one of \.nii\.gz, \.nii, \.nrrd, \.mha"):
        predict_folder(Model("58"), tmp_path / "images", tmp_path / "out", workspace)
    assert not (tmp_path / "out").exists()


def test_prediction_wants_finished_folds(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    with pytest.raises(NotFound, match="There is no trained model"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    (Model("58").folder(workspace) / "fold_0").mkdir(parents=True)
    with pytest.raises(NotFound, match=r"finished: none.*checkpoint_final\.pth"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    for fold in (0, "all"):
        finished(workspace, fold)
    with pytest.raises(NotFound, match=r"no finished fold 2 \(finished: 0, all\)"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace, folds=[0, 2])


def manifest_of(output: Path, checkpoint: Path, step: str = "predict") -> None:
    """Write the manifest of a prediction by fold 0."""
    inputs = {"fold_0": hashlib.sha256(checkpoint.read_bytes()).hexdigest()}
    write_manifest(output, make_manifest(step, parameters={}, inputs=inputs))


def test_what_is_predicted_already_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    checkpoint = finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    earlier = reference(tmp_path / "out" / "case.nii.gz", (3, 4, 5), 1).read_bytes()
    manifest_of(tmp_path / "out", checkpoint)
    result = predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    assert (result.done, result.kept, result.folds) == ((), ("case",), (0,))
    assert (tmp_path / "out" / "case.nii.gz").read_bytes() == earlier


@pytest.mark.parametrize("share", [0.0, 0.6, 0.99])
@pytest.mark.parametrize("ending", [".nii.gz", ".npz"])
def test_an_earlier_result_that_is_not_whole_is_predicted_again(tmp_path: Path, ending: str, share: float) -> None:
    reference(tmp_path / "case.nii.gz", (3, 4, 5), 1)
    np.savez_compressed(tmp_path / "case.npz", probabilities=np.random.default_rng(0).random((2, 3, 4, 5)))
    endings = (".npz", ".nii.gz")
    assert prediction._earlier_results(tmp_path, ["case", "other"], endings) == (("case",), [])
    content = (tmp_path / f"case{ending}").read_bytes()
    (tmp_path / f"case{ending}").write_bytes(content[: int(share * len(content))])
    kept, warnings = prediction._earlier_results(tmp_path, ["case", "other"], endings)
    assert kept == ()
    assert [warning.split(" in ")[0] for warning in warnings] == [f"case{ending}"]
    assert "case is predicted again" in warnings[0]


def test_memory_that_does_not_suffice_to_look_for_a_device_is_no_traceback(tmp_path: Path, monkeypatch) -> None:
    class Pool:
        def submit(self, *_arguments: object) -> Future[str]:
            job: Future[str] = Future()
            job.set_exception(BrokenProcessPool("A process was terminated abruptly"))
            return job

    monkeypatch.setattr(prediction, "worker_pool", lambda _processes: nullcontext(Pool()))
    work = prediction._Work(tmp_path, (0,), "auto", 1, tmp_path, Orientation("PIL"), False, False)
    with pytest.raises(WorkFailed, match="A worker process was ended from outside.*memory"):
        prediction._predict(work, {"case": tmp_path}, tmp_path, (".nii.gz",), silent)


def test_a_case_whose_result_does_not_fit_on_the_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(_image: Path, _output: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prediction, "_predictor", lambda _work: segment)
    work = prediction._Work(tmp_path, (0,), "cpu", 1, tmp_path, Orientation("PIL"), False, False)
    with pytest.raises(NotWritable, match="case cannot be predicted: .*No space left on device.*finished cases"):
        prediction._predict_case(work, "case", tmp_path / "case_0000.nii.gz")


def test_predictions_of_two_models_are_not_mixed(workspace: Workspace, tmp_path: Path) -> None:
    checkpoint = finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    output = tmp_path / "out"
    reference(output / "case.nii.gz", (3, 4, 5), 1)
    manifest_of(output, checkpoint)
    assert predict_folder(Model("58"), tmp_path, output, workspace).kept == ("case",)
    finished(workspace, 0, b"another")
    with pytest.raises(NotWritable, match="another model or of other folds"):
        predict_folder(Model("58"), tmp_path, output, workspace)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "new_0000.nii.gz").write_bytes(b"")
    with pytest.raises(NotWritable, match="another model or of other folds"):  # of other cases
        predict_folder(Model("58"), tmp_path / "more", output, workspace)


@pytest.fixture
def nothing_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "_predict", lambda *_: pytest.fail("it began to predict"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() if path.is_file() else b"" for path in folder.iterdir()}


@pytest.mark.usefixtures("nothing_is_predicted")
@pytest.mark.parametrize(("ending", "save_probabilities"), [(".nii.gz", False), (".nii.gz", True), (".npz", True)])
def test_a_file_that_no_prediction_made_is_left_alone(workspace, tmp_path, ending: str, save_probabilities) -> None:
    finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f"case{ending}").write_bytes(b"a person's")
    with pytest.raises(NotWritable, match=rf"case{ending} is there already.*Choose another output folder"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace, save_probabilities=save_probabilities)
    assert content(tmp_path / "out") == {f"case{ending}": b"a person's"}


@pytest.mark.usefixtures("nothing_is_predicted")
@pytest.mark.parametrize("foreign", ['{"name": "a web app"}', "[]", "no JSON", '{"step": "evaluate"}'])
def test_a_manifest_of_something_else_is_left_alone(workspace: Workspace, tmp_path: Path, foreign: str) -> None:
    finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text(foreign)
    with pytest.raises(NotWritable, match=r"manifest\.json is not the manifest of a prediction"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    assert content(tmp_path / "out") == {"manifest.json": foreign.encode()}


@pytest.mark.usefixtures("nothing_is_predicted")
@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path.with_name("nowhere"))])
@pytest.mark.parametrize("made_before", [False, True])
def test_what_is_no_file_is_refused_before_anything_is_predicted(workspace, tmp_path, make, made_before) -> None:
    checkpoint = finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / "case.nii.gz")
    if made_before:
        manifest_of(tmp_path / "out", checkpoint)
    before = content(tmp_path / "out")
    with pytest.raises(NotWritable, match=r"case\.nii\.gz is (there already|a pipe|a folder|a link)"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    assert content(tmp_path / "out") == before


def test_a_folder_of_somebody_else_is_left_alone_and_an_own_one_is_removed(workspace, tmp_path, monkeypatch) -> None:
    finished(workspace, 0)
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    output = tmp_path / "out"
    for name in (".partial", ".nnunet-spine-predict.partial.abandoned"):
        (output / name).mkdir(parents=True)
        (output / name / "mine.txt").write_text("mine")
    seen = []

    def fail(*_arguments: object) -> None:
        seen.extend(sorted(path.name[:-8] for path in output.glob(".*.partial.????????")))
        raise WorkFailed("the end")

    monkeypatch.setattr(prediction, "_predict", fail)
    with pytest.raises(WorkFailed, match="the end"):
        predict_folder(Model("58"), tmp_path, output, workspace)
    assert seen == [".nnunet-spine-predict.partial."]
    assert sorted(path.name for path in output.iterdir()) == [".partial"]
    assert (output / ".partial" / "mine.txt").read_text() == "mine"


def test_out_of_fold_predictions_are_all_or_an_error(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="Fold 0 .* no prediction of a"):
        out_of_fold_predictions(Model("58"), workspace)
    path = Model("58").folder(workspace) / "fold_0" / "validation" / "a.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    assert out_of_fold_predictions(Model("58"), workspace) == {"a": path}


def test_devices() -> None:
    assert choose_device("cpu") == "cpu"
    assert choose_device("auto") in {"cpu", "cuda"}
    with pytest.raises(BadInput, match="Usable here: cpu"):
        choose_device("tpu")


def test_quiet_swallows_what_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with quiet():
        print("noise")
    with quiet(active=False):
        print("told")
    assert capsys.readouterr().out == "told\n"


def test_nnunets_commands() -> None:
    assert {"nnUNetv2_train", "nnUNetv2_predict", "nnUNetv2_export_model_to_zip"} <= set(nnunet_commands())


def test_a_command_that_nnunet_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nnUNetv2_segment.*nnUNetv2_train"):
        run_command("nnUNetv2_segment", [], Workspace.from_environment(tmp_path))


class Entry:
    """An installed command that ends as it is told."""

    def __init__(self, end) -> None:
        self.end = end
        self.seen: list[str] = []

    def load(self):
        def command() -> object:
            self.seen = list(sys.argv)
            if isinstance(self.end, BaseException):
                raise self.end
            return self.end

        return command


@pytest.mark.parametrize(("end", "code"), [(None, 0), (3, 3), (SystemExit(), 0), (SystemExit(2), 2)])
def test_a_command_gets_its_arguments_and_its_exit_code_is_ours(tmp_path: Path, monkeypatch, end, code: int) -> None:
    entry = Entry(end)
    monkeypatch.setattr(commands, "nnunet_commands", lambda: {"nnUNetv2_fake": entry})
    before = list(sys.argv)
    with monkeypatch.context() as own:
        own.setattr("os.environ", dict(commands_environment()))
        assert run_command("nnUNetv2_fake", ["-d", "58"], Workspace.from_environment(tmp_path)) == code
    assert entry.seen == ["nnUNetv2_fake", "-d", "58"]
    assert sys.argv == before


def commands_environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_command_that_ends_with_words_is_heard(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(commands, "nnunet_commands", lambda: {"nnUNetv2_fake": Entry(SystemExit("no GPU"))})
    monkeypatch.setattr("os.environ", commands_environment())
    with pytest.raises(WorkFailed, match="nnUNetv2_fake: no GPU"):
        run_command("nnUNetv2_fake", [], Workspace.from_environment(tmp_path))


def test_registered_classes_are_found_by_nnunets_look_up(monkeypatch) -> None:
    import nnunetv2
    from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

    from nnunet_spine.nnunet.planner import SpinePlanner
    from nnunet_spine.nnunet.preprocessor import SpinePreprocessor
    from nnunet_spine.nnunet.registration import register

    register()
    root = Path(nnunetv2.__path__[0])
    for folder, own in (("experiment_planning", SpinePlanner), ("preprocessing", SpinePreprocessor)):
        assert recursive_find_python_class(str(root / folder), own.__name__, f"nnunetv2.{folder}") is own
