"""Commands that train and predict nothing work where torch, nnU-Net and MONAI cannot even be imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = """\
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "nnunetv2", "monai"}:
            raise ModuleNotFoundError(f"{name} was imported")
sys.meta_path.insert(0, Absent())
"""
RAW = "home/nnUNet_raw/Dataset058_IntraduralSpineTumor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cohort, converted; the references stand in for predictions."""
    folder = tmp_path_factory.mktemp("without")
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    run(folder, "phantoms", "--output", "export", "--cases", "4")
    run(folder, "convert", "export", "--dataset", "58", "--root", "home")
    for name in ("one", "two"):
        shutil.copytree(folder / RAW / "labelsTr", folder / name)
    return folder


def run(folder: Path, *arguments: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    path = f"{folder}{os.pathsep}{Path(__file__).parents[2]}"
    command = [sys.executable, "-m", "nnunet_spine", *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout


def test_the_hook_stops_what_it_should(folder: Path) -> None:
    command = [sys.executable, "-c", "import torch"]
    done = subprocess.run(command, env={"PYTHONPATH": str(folder)}, capture_output=True, text=True, check=False)
    assert "torch was imported" in done.stderr


def test_judging_comparing_and_reporting(folder: Path) -> None:
    splits = "home/nnUNet_preprocessed/Dataset058_IntraduralSpineTumor/splits_final.json"
    inputs = ["--reference", f"{RAW}/labelsTr", "--splits", splits, "--images", f"{RAW}/imagesTr"]
    for name in ("one", "two"):
        run(folder, "evaluate", *inputs, "--predictions", name, "--output", f"judged_{name}")
    run(folder, "compare", "judged_one", "judged_two", "--output", "compared")
    shown = ["--evaluation", "judged_one", "--predictions", "one", "--references", f"{RAW}/labelsTr"]
    run(folder, "report", *shown, "--images", f"{RAW}/imagesTr", "--output", "report")
    assert (folder / "report" / "index.html").is_file()


def test_correcting_a_field(folder: Path) -> None:
    image = min((folder / RAW / "imagesTr").iterdir())
    run(folder, "correct-bias", str(image), "--output", "corrected")


@pytest.mark.parametrize(
    "arguments", [("env",), ("info",), ("status", "study.yaml"), ("run", "study.yaml", "--dry-run")], ids=lambda a: a[0]
)
def test_looking(folder: Path, arguments: tuple[str, ...]) -> None:
    if not (folder / "study.yaml").exists():
        run(folder, "init")
    run(folder, *arguments)
