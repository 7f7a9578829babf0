"""What differs on a GPU: page-locked batches, training under autocast, and prediction by nnU-Net's own predictor.

Not among the tests that run by default: `pytest -m gpu` asks for them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from nnunet_spine.training.loader import CaseStore, EpochLoader

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU of CUDA here"),
]
COMMAND = [sys.executable, "-m", "nnunet_spine"]


def run(root: Path, *arguments: str) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=root, env={**kept, "NNUNET_SPINE_HOME": str(root)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cohort, and a fold of five epochs on the GPU."""
    root = tmp_path_factory.mktemp("gpu")
    run(root, "phantoms", "--output", "export", "--cases", "8")
    run(root, "convert", "export", "--dataset", "58")
    run(root, "plan", "58")
    run(root, "preprocess", "58")
    run(root, "train", "58", "0", "--epochs", "5", "--device", "cuda")
    return root


class TwoCases:
    """In the form of nnU-Net's data set."""

    identifiers = ("a", "b")

    def load_case(self, _identifier: str) -> tuple[np.ndarray, np.ndarray, None, dict[str, object]]:
        image = np.random.default_rng(0).random((1, 16, 32, 32), np.float32)
        return image, (image > 0.5).astype(np.int16), None, {}


def test_batches_are_page_locked() -> None:
    store = CaseStore(TwoCases(), (16, 32, 32), 0.0)
    loader = EpochLoader(store, 2, seed=0, shuffled=True, pinned=True)
    loader.start_epoch(0)
    batch = next(loader)
    assert batch["data"].is_pinned()
    assert batch["target"].is_pinned()


def test_a_training_goes_on_where_it_was(trained: Path) -> None:
    run(trained, "train", "58", "1", "--epochs", "2", "--device", "auto")
    folds = trained.glob("nnUNet_results/*/*/fold_*")
    assert {path.name for path in folds if (path / "checkpoint_final.pth").is_file()} == {"fold_0", "fold_1"}


def test_gpu_and_cpu_predict_alike(trained: Path) -> None:
    images = next(trained.glob("nnUNet_raw/*/imagesTr"))
    overlaps = []
    for device in ("cuda", "cpu"):
        run(trained, "predict", "58", "--folds", "0", "--input", str(images), "--output", device, "--device", device)
    for path in sorted((trained / "cuda").glob("*.nii.gz")):
        one, other = (sitk.GetArrayFromImage(sitk.ReadImage(str(trained / d / path.name))) > 0 for d in ("cuda", "cpu"))
        if one.any() or other.any():
            overlaps.append(2 * (one & other).sum() / (one.sum() + other.sum()))
    assert overlaps
    assert np.mean(overlaps) >= 0.999
