"""Thousands of files that nobody asked for: a count and five names. NNUNET_SPINE_SOAK=1 makes them 100,000."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

STRAY = 100_000 if os.environ.get("NNUNET_SPINE_SOAK") else 5_000
LONGEST_LINE = 400


def spine(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nnunet_spine", *map(str, words)], capture_output=True, text=True, check=False
    )


def volume(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two cases, with stray volumes beside the predictions, the references and the images."""
    root = tmp_path_factory.mktemp("stray")
    mask = np.zeros((6, 20, 20), np.uint8)
    mask[2:4, 5:12, 5:12] = 1
    for case in ("a", "b"):
        for folder in ("predictions", "references"):
            volume(root / folder / f"{case}.nii.gz", mask)
        volume(root / "images" / f"{case}_0000.nii.gz", np.arange(2400, dtype=np.int16).reshape(mask.shape))
    (root / "splits.json").write_text('[{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]')
    for folder in ("predictions", "references", "images"):
        for number in range(STRAY):
            (root / folder / f"stray_{number:06d}.nii.gz").touch()
    yield root
    shutil.rmtree(root)


def test_evaluate_and_report_name_five(root: Path, tmp_path: Path) -> None:
    shared = ("--images", root / "images")
    done = spine(
        *("evaluate", "--reference", root / "references", "--predictions", root / "predictions"),
        *("--splits", root / "splits.json", "--output", tmp_path / "judged", *shared),
    )
    assert done.returncode == 1
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert warning == (
        f"warning: {STRAY} predictions were not used, since their folds test no case of these names: "
        f"{', '.join(f'stray_{number:06d}.nii.gz' for number in range(5))} and {STRAY - 5} more."
    )
    assert max(map(len, done.stderr.splitlines())) < LONGEST_LINE
    judged = json.loads((tmp_path / "judged" / "evaluation.json").read_text())
    assert [row["dice"] for row in judged["cases"]] == [1.0, 1.0]
    assert len(json.dumps(judged)) < 50_000

    done = spine(
        *("report", "--evaluation", tmp_path / "judged", "--predictions", root / "predictions"),
        *("--references", root / "references", "--output", tmp_path / "report", *shared),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_of_strange_files_is_refused_with_one_name(root: Path) -> None:
    done = spine(
        *("report", "--evaluation", root / "nowhere", "--predictions", root / "predictions"),
        *("--references", root / "references", "--images", root / "images", "--output", root / "predictions"),
    )
    assert done.returncode == 2
    assert len(done.stderr) < LONGEST_LINE
    done = spine("phantoms", "--cases", "1", "--output", root / "predictions")
    assert done.returncode == 2
    assert len(done.stderr) < LONGEST_LINE
