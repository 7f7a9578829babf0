"""A small data set that nnU-Net really plans, preprocesses and trains on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, Case, Fold, write_cases, write_splits
from nnunet_spine.files import write_json
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, write_volume
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import plan_dataset
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.training.run import TrainingJob, train_fold

DATASET = "Dataset058_Tiny"
CASES = 8


@dataclass(frozen=True)
class TinyStudy:
    """A planned and preprocessed data set."""

    workspace: Workspace
    dataset: str = DATASET

    @property
    def raw(self) -> Path:
        return self.workspace.raw / self.dataset

    @property
    def preprocessed(self) -> Path:
        return self.workspace.preprocessed / self.dataset

    @property
    def root(self) -> Path:
        return self.workspace.raw.parent


def tiny_case(seed: int) -> tuple[Volume, Volume]:
    """An off-centre bright ball in noise inside an off-centre body, and its mask; sizes differ by seed.

    The field of a coil makes the bottom 2.2 times as bright as the top.
    """
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(9, 13)), int(rng.integers(44, 56)), int(rng.integers(36, 48)))
    z, y, x = np.indices(shape)
    body = (y > 3) & (x > 5)
    centre = (shape[0] * 0.4, shape[1] * rng.uniform(0.3, 0.7), shape[2] * 0.6)
    ball = ((z - centre[0]) * 3.3) ** 2 + ((y - centre[1]) * 1.2) ** 2 + ((x - centre[2]) * 1.2) ** 2 < 9.0**2
    signal = np.where(body, 100 + 20 * rng.standard_normal(shape) + 80 * ball, 0).clip(0)
    image = (signal * np.exp(0.8 * y / shape[1])).astype(np.float32)
    geometry = Geometry(
        shape[::-1], (1.2, 1.2, 3.3), (-20.0, 30.0, 5.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
    )
    return Volume(image, geometry), Volume(ball.astype(np.uint8), geometry)


def make_tiny_study(root: Path) -> TinyStudy:
    """Write the raw data set and its folds, then plan and preprocess it."""
    study = TinyStudy(Workspace.from_environment(root))
    names = [f"spine_{number:03d}" for number in range(1, CASES + 1)]
    for seed, name in enumerate(names):
        image, reference = tiny_case(seed)
        write_volume(study.raw / "imagesTr" / f"{name}_0000.nii.gz", image)
        write_volume(study.raw / "labelsTr" / f"{name}.nii.gz", reference)
    for seed in (100, 101):
        write_volume(study.raw / "imagesTs" / f"new_{seed}_0000.nii.gz", tiny_case(seed)[0])
    write_json(
        study.raw / "dataset.json",
        {
            "channel_names": {"0": "T1 post-contrast"},
            "labels": {"background": 0, "tumor": 1},
            "numTraining": CASES,
            "file_ending": ".nii.gz",
        },
    )
    write_cases(study.raw / CASES_FILE, [Case(name, f"P{name[-3:]}") for name in names])
    folds = [Fold(k, tuple(sorted(set(names) - set(names[k::4]))), tuple(names[k::4])) for k in range(4)]
    write_splits(study.preprocessed / SPLITS_FILE, folds)
    plan_dataset("58", study.workspace)
    preprocess_dataset("58", study.workspace)
    return study


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyStudy:
    """The small data set, planned and preprocessed once; tests must not change it."""
    return make_tiny_study(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def trained(tiny: TinyStudy, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The small data set with fold 0 trained for an epoch; tests must not change it."""
    workspace = Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, tmp_path_factory.mktemp("trained"))
    train_fold(TrainingJob("58", 0, epochs=1, device="cpu", threads=1), workspace)
    return workspace


@pytest.fixture
def tiny_results(tiny: TinyStudy, tmp_path: Path) -> Workspace:
    """The small data set with an empty results folder."""
    return Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, tmp_path / "nnUNet_results")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that a test sets through nnU-Net's workspace end with it."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
