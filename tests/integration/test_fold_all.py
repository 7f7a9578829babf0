"""The model of all cases: trained, exported, used for new patients, and never judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_nnunet_commands import shell
from training_processes import COMMAND, environment, run

from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.prediction import Model, predict_folder

CASES = [f"spine_{number:03d}" for number in range(1, 9)]


@pytest.fixture(scope="module")
def everything(tiny, tmp_path_factory) -> tuple[Path, str]:
    """A results folder with the fold `all`, and what the training said."""
    results = tmp_path_factory.mktemp("everything")
    arguments = [*COMMAND, "train", "58", "all", "--epochs", "1", "--device", "cpu", "--threads", "1"]
    done = run(arguments, **environment(tiny, results))
    assert done.returncode == 0, done.stderr
    return results, done.stdout


def model_folder(results: Path) -> Path:
    return results / "Dataset058_Tiny" / "nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres"


def test_it_trains_on_every_case_and_says_that_there_are_no_test_cases(tiny, everything: tuple[Path, str]) -> None:
    results, said = everything
    text = " ".join(said.split())
    assert "fold all is trained, and the cases that it trained on are predicted" in text
    assert "It has seen every case, so it has no test cases" in text
    assert "nnunet-spine predict 58 --folds all" in text
    fold = model_folder(results) / "fold_all"
    assert json.loads((fold / "manifest.json").read_text())["parameters"]["fold"] == "all"
    assert sorted(path.name for path in (fold / "validation").glob("*.nii.gz")) == [f"{case}.nii.gz" for case in CASES]
    arguments = [*COMMAND, "train", "58", "all", "--epochs", "1", "--device", "cpu", "--json"]
    done = run(arguments, **environment(tiny, results))
    assert json.loads(done.stdout) == {"folder": str(fold), "was_complete": True}


def test_it_predicts_new_patients_where_no_numbered_fold_is(tiny, everything, trained, tmp_path: Path) -> None:
    results, _ = everything
    workspace = Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, results)
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(tiny.raw / "imagesTs" / "new_100_0000.nii.gz", images)
    assert predict_folder(Model("58"), images, tmp_path / "all", workspace, device="cpu").folds == ("all",)
    both = Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, tmp_path / "results")
    shutil.copytree(results, both.results)
    shutil.copytree(model_folder(trained.results) / "fold_0", model_folder(both.results) / "fold_0")
    assert predict_folder(Model("58"), images, tmp_path / "0", both, device="cpu").folds == (0,)
    options = [
        "--input",
        str(images),
        "--output",
        str(tmp_path / "again"),
        "--folds",
        "all",
        "--device",
        "cpu",
        "--json",
    ]
    done = run([*COMMAND, "predict", "58", *options], **environment(tiny, both.results))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["folds"] == ["all"]
    first, again, other = ((tmp_path / name / "new_100.nii.gz").read_bytes() for name in ("all", "again", "0"))
    assert first == again
    assert first != other


def test_nnunets_export_takes_it(tiny, everything, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "nnUNet_results").symlink_to(everything[0])
    model = "-d 58 -c 3d_fullres -f all -tr nnUNetTrainerSpine -p nnUNetSpinePlans"
    shell(f'nnUNetv2_export_model_to_zip {model} -o "{tmp_path}/model.zip"', root)
    shell(f'nnUNetv2_install_pretrained_model_from_zip "{tmp_path}/model.zip"', tmp_path / "fresh")
    installed = model_folder(tmp_path / "fresh" / "nnUNet_results")
    assert (installed / "fold_all" / "checkpoint_final.pth").is_file()
    assert (installed / "fold_all" / "validation" / "summary.json").is_file()


def test_evaluate_says_that_there_are_no_test_cases(tiny, everything, tmp_path: Path) -> None:
    for folder in (model_folder(everything[0]), model_folder(everything[0]) / "fold_all" / "validation"):
        options = ["--reference", str(tiny.raw / "labelsTr"), "--predictions", str(folder)]
        options += ["--splits", str(tiny.preprocessed / "splits_final.json"), "--output", str(tmp_path / "out")]
        done = run([*COMMAND, "evaluate", *options], **environment(tiny, everything[0]))
        assert done.returncode == 2
        assert "there are no test cases" in done.stderr
        assert not (tmp_path / "out").exists()
