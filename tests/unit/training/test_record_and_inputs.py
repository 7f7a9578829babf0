"""What a training is recorded as is what its network is; what reaches the network is plain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.losses import DiceLoss
from monai.networks.nets import UNet
from small_plans import DATASET, small_configuration, small_plans, write_plans
from torch import nn

from nnunet_spine.cases import Fold, write_splits
from nnunet_spine.errors import BadInput
from nnunet_spine.networks.unet import NETWORK_CLASS, architecture_arguments
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.protocol import PROTOCOL, Augmentation, departures
from nnunet_spine.training import variants
from nnunet_spine.training.augmentation import make_transform
from nnunet_spine.training.loss import SpineDiceLoss
from nnunet_spine.training.record import run_values
from nnunet_spine.training.run import TrainingJob, train_fold
from nnunet_spine.training.trainer import SpineTrainer

GRID = (16, 32, 32)


def trainer(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, **edited: object) -> SpineTrainer:
    """A real trainer of plans whose network someone has edited by hand."""
    for variable in ("nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(variable, str(folder / variable))
    monkeypatch.delenv("NNUNET_SPINE_EPOCHS", raising=False)
    monkeypatch.delenv("NNUNET_SPINE_SEED", raising=False)
    architecture = {
        "network_class_name": NETWORK_CLASS,
        "arch_kwargs": {**architecture_arguments(), **edited},
        "_kw_requires_import": [],
    }
    configuration = small_configuration(architecture=architecture, patch_size=list(GRID))
    plans = small_plans(configurations={"3d_fullres": configuration}, continue_training=False)
    made: SpineTrainer = getattr(variants, name)(plans, "3d_fullres", 0, DATASET, torch.device("cpu"))
    return made


def built(one: SpineTrainer) -> nn.Module:
    return one.build_network_architecture(one.plans_manager, one.configuration_manager, 1, 2)


def recorded(one: SpineTrainer) -> list[str]:
    return [departure.describe() for departure in departures(run_values(one))]


@pytest.mark.parametrize(
    ("name", "edited", "units"),
    [
        ("nnUNetTrainerSpine", {}, 2),
        ("nnUNetTrainerSpine", {"num_res_units": 1}, 1),
        ("nnUNetTrainerSpineNoResidual", {}, 0),
        ("nnUNetTrainerSpineNoResidual", {"num_res_units": 1}, 0),
    ],
)
def test_residual_units_are_recorded_as_they_are_built(tmp_path, monkeypatch, name, edited, units) -> None:
    one = trainer(tmp_path, monkeypatch, name, **edited)
    monais = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=2,
        channels=(16, 32, 64, 128, 256),
        strides=(2, 2, 2, 2),
        num_res_units=units,
    )
    assert [p.shape for p in built(one).parameters()] == [p.shape for p in monais.parameters()]
    assert run_values(one)["residual_units"] == units
    assert recorded(one) == ([] if units == 2 else [f"residual_units: {units} instead of 2 (ours)"])


def test_edited_plans_are_departures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path, monkeypatch, "nnUNetTrainerSpine", kernel_size=5, norm="batch", channels=[8, 16, 32, 64, 9])
    assert recorded(one) == [
        "channels: [8, 16, 32, 64, 9] instead of (16, 32, 64, 128, 256) (documented)",
        "kernel_size: 5 instead of 3 (documented)",
        "normalization: batch instead of instance (ours)",
    ]
    kernels = {m.kernel_size for m in built(one).modules() if isinstance(m, nn.Conv3d)}
    assert (5, 5, 5) in kernels


@pytest.mark.parametrize("kind", [Augmentation.NNUNET, Augmentation.RAND_BIAS_FIELD])
def test_the_network_is_given_plain_tensors(kind: Augmentation) -> None:
    transform = make_transform(kind, GRID)
    assert transform is not None
    np.random.seed(0)
    for _ in range(6):  # a field is added to every second case
        image, label = transform(torch.rand(1, *GRID), torch.zeros(1, *GRID, dtype=torch.int16))
        assert (type(image), type(label)) == (torch.Tensor, torch.Tensor)
        assert (image.dtype, label.dtype) == (torch.float32, torch.int16)


def test_the_loss_is_monais_with_the_named_arguments() -> None:
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(2, 2, *GRID, generator=generator)
    target = (torch.rand(2, 1, *GRID, generator=generator) > 0.8).short()
    expected = DiceLoss(include_background=True, to_onehot_y=True, softmax=True, batch=False)(output, target.float())
    torch.testing.assert_close(SpineDiceLoss(PROTOCOL)(output, target), expected)


def test_a_case_without_tumour_pulls_the_loss_to_background() -> None:
    empty = torch.zeros(1, 1, *GRID, dtype=torch.int16)
    sure = torch.stack([torch.full(GRID, 40.0), torch.full(GRID, -40.0)])[None]
    assert SpineDiceLoss(PROTOCOL)(sure, empty).item() == pytest.approx(0.0, abs=1e-5)
    # All tumour: background's Dice is 0 and the tumour's is 0, to MONAI's smoothing of 1e-5.
    assert SpineDiceLoss(PROTOCOL)(-sure, empty).item() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    ("fold", "words"), [(Fold(0, (), ("a",)), "0 training and 1"), (Fold(0, ("a",), ()), "1 training and 0")]
)
def test_a_fold_needs_cases_on_both_sides(tmp_path: Path, fold: Fold, words: str) -> None:
    workspace = Workspace.from_environment(tmp_path)
    folder = workspace.preprocessed / "Dataset058_Spine"
    write_splits(folder / "splits_final.json", [fold])
    write_plans(folder)
    with pytest.raises(BadInput, match=f"Fold 0 .* {words} test cases"):
        train_fold(TrainingJob("58", 0), workspace)
