"""What `preprocess`, `train` and `predict` say of plans, models and folders that are not what they should be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from small_plans import DATASET, small_plans, write_plans

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.cli.main import main

NAME = "Dataset058_Spine"

ODD: list[str] = [
    "[]",
    "null",
    "3",
    '"plans"',
    "",
    "{",
    "{}",
    '{"configurations": []}',
    '{"configurations": {"3d_fullres": null}}',
    '{"a": NaN}',
    "[" * 20_000,
    "\x00\x01",
    json.dumps(small_plans(configurations={})),
    json.dumps(small_plans(dataset_name=None)),
    json.dumps(small_plans(dataset_name={"a": 1})),
    json.dumps({**small_plans(), "configurations": {"3d_fullres": {"data_identifier": "../../x"}}}),
]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set with everything but a trained network, in a folder that a person may name so."""
    monkeypatch.setattr("os.environ", {k: v for k, v in os.environ.items() if not k.startswith("nnUNet")})
    root = tmp_path / "Für {Dr. O'Neil} #2: a b"
    for name in ("imagesTr", "labelsTr"):
        (root / "nnUNet_raw" / NAME / name).mkdir(parents=True)
    (root / "nnUNet_raw" / NAME / "imagesTr" / "a_0000.nii.gz").write_bytes(b"")
    (root / "nnUNet_raw" / NAME / "labelsTr" / "a.nii.gz").write_bytes(b"")
    write_plans(root / "nnUNet_preprocessed" / NAME)
    write_splits(root / "nnUNet_preprocessed" / NAME / "splits_final.json", [Fold(0, ("b",), ("a",))])
    model = root / "nnUNet_results" / NAME / "nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres"
    (model / "fold_0").mkdir(parents=True)
    (model / "fold_0" / "checkpoint_final.pth").write_bytes(b"")
    (model / "plans.json").write_text(json.dumps(small_plans()))
    (model / "dataset.json").write_text(json.dumps(DATASET))
    (root / "images").mkdir()
    (root / "images" / "a_0000.nii.gz").write_bytes(b"")
    return root


def model_of(root: Path) -> Path:
    (model,) = (root / "nnUNet_results" / NAME).iterdir()
    return model


def said(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 2) -> str:
    """What a command says that ends with a code; never a traceback or a word of Python's."""
    try:
        found = main([str(argument) for argument in arguments])
    except SystemExit as end:
        found = int(end.code or 0)
    text = capsys.readouterr().err
    assert found == code, text
    for word in ("Traceback", "defect of nnunet-spine", "Error:", "KeyError", "TypeError", "NoneType"):
        assert word not in text
    assert text.strip()
    return " ".join(text.split())


def predict(root: Path, *more: object) -> list[object]:
    return [
        "predict",
        "58",
        "--root",
        root,
        "--input",
        root / "images",
        "--output",
        root / "out",
        "--device",
        "cpu",
        *more,
    ]


@pytest.mark.parametrize("content", ODD, ids=lambda text: text[:30])
def test_odd_plans(root: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (root / "nnUNet_preprocessed" / NAME / "nnUNetSpinePlans.json").write_text(content)
    (model_of(root) / "plans.json").write_text(content)
    for arguments in (["preprocess", "58", "--root", root], ["train", "58", "0", "--root", root], predict(root)):
        text = said(capsys, *arguments)
        assert "nnUNetSpinePlans.json" in text or "plans.json" in text
    assert not (root / "out").exists()
    assert sorted(path.name for path in (root / "nnUNet_preprocessed" / NAME).iterdir()) == [
        "dataset.json",
        "nnUNetSpinePlans.json",
        "splits_final.json",
    ]


@pytest.mark.parametrize(
    "content", ["[]", "", "{}", '{"labels": 3}', json.dumps({**DATASET, "labels": []}), '{"a": Infinity}']
)
def test_odd_descriptions_of_a_data_set(root: Path, capsys, content: str) -> None:
    for path in (root / "nnUNet_preprocessed" / NAME, root / "nnUNet_raw" / NAME, model_of(root)):
        (path / "dataset.json").write_text(content)
    for arguments in (["plan", "58", "--root", root], ["preprocess", "58", "--root", root], predict(root)):
        assert "dataset.json" in said(capsys, *arguments)


def test_plans_that_are_a_folder_or_missing(root: Path, capsys) -> None:
    path = root / "nnUNet_preprocessed" / NAME / "nnUNetSpinePlans.json"
    path.unlink()
    assert "nnunet-spine plan 58" in said(capsys, "preprocess", "58", "--root", root)
    path.mkdir()
    assert "no plans" in said(capsys, "train", "58", "0", "--root", root)
    (model_of(root) / "plans.json").unlink()
    assert "There is no file" in said(capsys, *predict(root))
    (model_of(root) / "plans.json").mkdir()
    assert "is a folder" in said(capsys, *predict(root))


def test_models_that_are_not_there(root: Path, capsys) -> None:
    checkpoint = model_of(root) / "fold_0" / "checkpoint_final.pth"
    assert "checkpoint_final.pth is empty" in said(capsys, *predict(root))
    checkpoint.write_bytes(b"PK\x03\x04 cut")
    assert "is damaged, or no checkpoint" in said(capsys, *predict(root))
    checkpoint.unlink()
    assert "no finished fold (finished: none): a fold is finished with its checkpoint_final.pth" in said(
        capsys, *predict(root)
    )
    assert "no finished fold 7 (finished: none)" in said(capsys, *predict(root, "--folds", 7))
    assert "There is no trained model" in said(capsys, *predict(root, "--trainer", "nnUNetTrainerOther"))
    assert "no data set number 59" in said(capsys, "predict", "59", *predict(root)[2:])
    assert not (root / "out").exists()


def test_models_of_other_images(root: Path, capsys) -> None:
    path = model_of(root) / "dataset.json"
    path.write_text(json.dumps({**DATASET, "channel_names": {"0": "T1", "1": "T2"}}))
    assert "a model of 2 channels (T1, T2), and this command gives it one" in said(capsys, *predict(root))
    path.write_text(json.dumps({**DATASET, "file_ending": ".png"}))
    assert "a model of .png files" in said(capsys, *predict(root))


@pytest.mark.parametrize("content", ["[]", "{", '{"step": "predict"}', '{"step": "predict", "inputs": 3}'])
def test_odd_manifests_of_predictions(root: Path, capsys, content: str) -> None:
    import zipfile

    with zipfile.ZipFile(model_of(root) / "fold_0" / "checkpoint_final.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    (root / "out").mkdir()
    (root / "out" / "a.nii.gz").write_bytes(b"")
    (root / "out" / "manifest.json").write_text(content)
    assert "manifest.json" in said(capsys, *predict(root))
    assert (root / "out" / "a.nii.gz").exists()


@pytest.mark.parametrize("content", ['{"step": "train"}', '{"step": "train", "departures": [3]}'])
def test_odd_manifests_of_a_fold(root: Path, capsys, content: str) -> None:
    import zipfile

    with zipfile.ZipFile(model_of(root) / "fold_0" / "checkpoint_final.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"x")
    (model_of(root) / "fold_0" / "manifest.json").write_text(content)
    assert "manifest.json" in said(capsys, *predict(root))
    assert not (root / "out").exists()


@pytest.mark.parametrize("option", ["--plans", "--trainer", "--configuration"])
@pytest.mark.parametrize("value", ["../../x", "", "x" * 300, "a/b", "ü\n"])
def test_names_that_leave_their_folder_on_the_command_line(root: Path, capsys, option: str, value: str) -> None:
    for arguments in (["train", "58", "0", "--root", root, "--device", "cpu"], predict(root)):
        said(capsys, *arguments, option, value)
    if option != "--trainer":
        said(capsys, "preprocess", "58", "--root", root, option, value)
    assert not (root / "out").exists()


@pytest.mark.parametrize("fold", ["every", "1.5", "", "0x1", "-", "all ", "ALL", "٣", "9" * 30])
def test_what_is_no_fold(root: Path, capsys, fold: str) -> None:
    for arguments in (["train", "58", fold, "--root", root], predict(root, "--folds", fold)):
        assert "expected the number of a fold, from 0, or all" in said(capsys, *arguments)


def test_the_fold_of_all_cases_needs_cases_too(root: Path, capsys) -> None:
    text = said(capsys, "train", "58", "all", "--root", root)
    assert "2 cases of fold all are not preprocessed" in text
    assert "nnunet-spine preprocess 58" in text
    (root / "nnUNet_preprocessed" / NAME / "splits_final.json").unlink()
    assert "none is there" in said(capsys, "train", "58", "all", "--root", root)


def test_a_device_that_is_not_there(capsys) -> None:
    import torch

    from nnunet_spine.errors import BadInput
    from nnunet_spine.nnunet.runtime import choose_device

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(BadInput, match="The device 'cuda' is not there. Usable here: cpu"):
        choose_device("cuda")


@pytest.mark.usefixtures("bound_by_permissions")
def test_missing_rights(root: Path, capsys) -> None:
    (root / "nnUNet_raw" / NAME / "dataset.json").write_text(json.dumps(DATASET))
    (root / "nnUNet_preprocessed" / NAME).chmod(0o500)
    for command in ("plan", "preprocess"):
        text = said(capsys, command, "58", "--root", root)
        assert "Permission denied" in text or "not writable" in text


def test_output_that_is_no_folder(root: Path, capsys) -> None:
    (root / "out").write_text("a file")
    text = said(capsys, *predict(root))
    assert "out" in text
    assert (root / "out").read_text() == "a file"


def odd_values() -> list[Any]:
    return [None, True, -1, 1.5, 10**30, "x", [], {}, [[]], {"a": None}]


@pytest.mark.parametrize("key", sorted({*small_plans(), "spine_orientation"}))
def test_any_value_under_any_key_of_plans_is_taken_or_refused_in_words(root: Path, capsys, key: str) -> None:
    path = root / "nnUNet_preprocessed" / NAME / "nnUNetSpinePlans.json"
    for value in odd_values():
        path.write_text(json.dumps({**small_plans(), key: value}))
        said(capsys, "train", "58", "0", "--root", root)  # what is taken ends at the cases, which are not preprocessed


@pytest.mark.parametrize("key", sorted(small_plans()["configurations"]["3d_fullres"]))
def test_any_value_under_any_key_of_a_configuration_too(root: Path, capsys, key: str) -> None:
    path = root / "nnUNet_preprocessed" / NAME / "nnUNetSpinePlans.json"
    for value in odd_values():
        plans = small_plans()
        plans["configurations"]["3d_fullres"][key] = value
        path.write_text(json.dumps(plans))
        said(capsys, "train", "58", "0", "--root", root)
