from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.images import Geometry, Volume, write_volume
from nnunet_spine.nnunet.commands import nnunet_commands, run_command
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import case_ceiling, plan_dataset
from nnunet_spine.nnunet.prediction import Model, out_of_fold_predictions, predict_folder
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.nnunet.runtime import choose_device, quiet

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def reference(path: Path, shape, lesion) -> Path:
    mask = np.zeros(shape, np.uint8)
    mask[lesion] = 1
    write_volume(path, Volume(mask, Geometry(shape[::-1], (1.0, 1.0, 4.0), (0.0, 0.0, 0.0), IDENTITY)))
    return path


def test_without_a_resize_the_ceiling_is_one(tmp_path: Path) -> None:
    path = reference(tmp_path / "a.nii.gz", (8, 32, 32), np.s_[2:4, 5:9, 6:11])
    ceiling = case_ceiling(path, (16, 32, 32))
    assert (ceiling.case, ceiling.dice, ceiling.vanished) == ("a", 1.0, False)


def test_a_speck_vanishes_in_a_strong_resize(tmp_path: Path) -> None:
    path = reference(tmp_path / "a.nii.gz", (8, 256, 256), np.s_[3, 100, 100])
    ceiling = case_ceiling(path, (16, 32, 32))
    assert ceiling.vanished
    assert ceiling.dice == 0.0


def test_a_block_survives_with_a_loss(tmp_path: Path) -> None:
    path = reference(tmp_path / "a.nii.gz", (8, 96, 96), np.s_[2:5, 20:51, 31:60])
    ceiling = case_ceiling(path, (16, 64, 64))
    assert 0.9 < ceiling.dice < 1.0


@pytest.mark.parametrize("memory", [0, -8])
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


def test_prediction_wants_images_with_nnunets_names(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no folder"):
        predict_folder(Model("58"), tmp_path / "none", tmp_path / "out", workspace)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "case.nii.gz").write_bytes(b"")
    with pytest.raises(BadInput, match=r"_0000\.nii\.gz"):
        predict_folder(Model("58"), tmp_path / "images", tmp_path / "out", workspace)
    assert not (tmp_path / "out").exists()


def test_prediction_wants_finished_folds(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    with pytest.raises(NotFound, match="finished: none"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    for fold in ("fold_0", "fold_all"):
        (Model("58").folder(workspace) / fold).mkdir(parents=True)
        (Model("58").folder(workspace) / fold / "checkpoint_final.pth").write_bytes(b"")
    with pytest.raises(NotFound, match=r"no finished fold \[2\] \(finished: 0\)"):
        predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace, folds=[0, 2])


def test_what_is_predicted_already_is_kept(workspace: Workspace, tmp_path: Path) -> None:
    (Model("58").folder(workspace) / "fold_0").mkdir(parents=True)
    (Model("58").folder(workspace) / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    (tmp_path / "case_0000.nii.gz").write_bytes(b"")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case.nii.gz").write_bytes(b"earlier")
    result = predict_folder(Model("58"), tmp_path, tmp_path / "out", workspace)
    assert (result.done, result.kept, result.folds) == ((), ("case",), (0,))
    assert (tmp_path / "out" / "case.nii.gz").read_bytes() == b"earlier"


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
