"""The whole way twice with one seed: folds, plans, preprocessed arrays, weights and predictions are the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import plan_dataset
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.phantoms.cohort import write_cohort
from nnunet_spine.training.run import TrainingJob, train_fold

DATASET = "Dataset058_Twice"


@dataclass(frozen=True)
class Run:
    """One pass from the phantoms to the predictions of a fold."""

    root: Path
    fold: Path

    def bytes_of(self, pattern: str) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in sorted(self.root.glob(pattern))}


def run(root: Path) -> Run:
    write_cohort(root / "export", cases=6, seed=3)
    workspace = Workspace.from_environment(root)
    convert(
        root / "export",
        dataset=58,
        name="Twice",
        raw=workspace.raw,
        preprocessed=workspace.preprocessed,
        seed=3,
    )
    plan_dataset("58", workspace)
    preprocess_dataset("58", workspace)
    job = TrainingJob("58", 1, epochs=2, seed=3, device="cpu", threads=2)
    return Run(root, train_fold(job, workspace).folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Run, Run]:
    return run(tmp_path_factory.mktemp("first")), run(tmp_path_factory.mktemp("second"))


@pytest.mark.parametrize(
    "pattern",
    [
        "export/**/IM*",
        f"nnUNet_raw/{DATASET}/*/*.nii.gz",
        f"nnUNet_raw/{DATASET}/cases.csv",
        f"nnUNet_preprocessed/{DATASET}/splits_final.json",
        f"nnUNet_preprocessed/{DATASET}/nnUNetSpinePlans.json",
        f"nnUNet_results/{DATASET}/*/fold_1/validation/*.nii.gz",
    ],
)
def test_files_have_the_same_bytes(runs: tuple[Run, Run], pattern: str) -> None:
    first, second = (r.bytes_of(pattern) for r in runs)
    assert first
    assert first == second


def test_preprocessed_arrays_are_the_same(runs: tuple[Run, Run]) -> None:
    folders = [r.root / "nnUNet_preprocessed" / DATASET / "nnUNetSpinePlans_3d_fullres" for r in runs]
    first, second = (nnUNetDatasetBlosc2(str(folder)) for folder in folders)
    assert len(first.identifiers) == 6
    assert first.identifiers == second.identifiers
    for case in first.identifiers:
        for a, b in zip(first.load_case(case)[:2], second.load_case(case)[:2], strict=True):
            assert np.asarray(a[:]).tobytes() == np.asarray(b[:]).tobytes()


def test_weights_are_the_same(runs: tuple[Run, Run]) -> None:
    first, second = (torch.load(r.fold / "checkpoint_final.pth", weights_only=False)["network_weights"] for r in runs)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
