"""What a running trainer holds is what the source deck documents.

The numbers here are typed from the deck, not taken from protocol.py: the test
fails when either the protocol or the running network changes.
"""

from __future__ import annotations

import pytest
import torch
from batchgenerators.utilities.file_and_folder_operations import load_json
from monai.losses import DiceLoss
from torch import nn

from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.training import variants
from nnunet_spine.training.trainer import SpineTrainer

CHANNELS = [16, 32, 64, 128, 256]


def start(workspace: Workspace, dataset: str, name: str = "nnUNetTrainerSpine") -> SpineTrainer:
    """A trainer as it stands when its first epoch begins."""
    workspace.apply()
    folder = workspace.preprocessed / dataset
    plans = load_json(str(folder / "nnUNetSpinePlans.json"))
    trainer: SpineTrainer = getattr(variants, name)(
        {**plans, "continue_training": False},
        "3d_fullres",
        0,
        load_json(str(folder / "dataset.json")),
        torch.device("cpu"),
    )
    trainer.on_train_start()
    return trainer


def strided(network: nn.Module, kind: type) -> list[tuple[int, int, tuple[int, ...]]]:
    """Output channels, input channels and stride of each strided layer of a kind, residual shortcuts left out."""
    return [
        (m.out_channels, m.in_channels, m.stride)
        for name, m in network.named_modules()
        if isinstance(m, kind) and m.stride != (1, 1, 1) and "residual" not in name
    ]


@pytest.fixture
def trainer(tiny, tiny_results) -> SpineTrainer:
    return start(tiny_results, tiny.dataset)


def test_encoder_channels_and_strides(trainer: SpineTrainer) -> None:
    down = strided(trainer.network, nn.Conv3d)
    assert sorted(row[0] for row in down) == [16, 32, 64, 128]
    assert {row[2] for row in down} == {(2, 2, 2)}
    assert len(down) == 4
    widths = {m.out_channels for m in trainer.network.modules() if isinstance(m, nn.Conv3d)}
    assert widths == {2, *CHANNELS[:-1], 256}


def test_decoder_channels_and_strides(trainer: SpineTrainer) -> None:
    up = strided(trainer.network, nn.ConvTranspose3d)
    # Each step takes the level below joined with the skip of its own level: 128+256, 64+64, 32+32, 16+16.
    assert sorted((row[1], row[0]) for row in up) == sorted([(384, 64), (128, 32), (64, 16), (32, 2)])
    assert {row[2] for row in up} == {(2, 2, 2)}


def test_kernels_are_3x3x3(trainer: SpineTrainer) -> None:
    kernels = {
        m.kernel_size
        for name, m in trainer.network.named_modules()
        if isinstance(m, nn.Conv3d | nn.ConvTranspose3d) and "residual" not in name
    }
    assert kernels == {(3, 3, 3)}


def test_the_deepest_level_sees_a_sixteenth(trainer: SpineTrainer) -> None:
    sizes = []
    for m in trainer.network.modules():
        if isinstance(m, nn.Conv3d):
            m.register_forward_hook(lambda _m, _i, o: sizes.append(tuple(o.shape[1:])))
    grid = trainer.configuration_manager.patch_size
    trainer.network(torch.zeros(1, 1, *grid))
    assert (256, *[n // 16 for n in grid]) in sizes
    assert all(n % 16 == 0 for n in grid)


def test_loss_is_dice_with_softmax_on_both_channels(trainer: SpineTrainer) -> None:
    loss = trainer.loss.dice
    assert type(loss) is DiceLoss
    assert (loss.softmax, loss.sigmoid, loss.to_onehot_y, loss.include_background, loss.batch) == (
        (True, False, True, True, False)
    )


def test_400_epochs_of_one_pass(trainer: SpineTrainer) -> None:
    assert trainer.num_epochs == 400
    assert trainer.num_iterations_per_epoch == 3  # 6 training cases in batches of 2
    trainer.dataloader_train.start_epoch(0)
    keys = [key for batch in trainer.dataloader_train for key in batch["keys"]]
    assert sorted(keys) == sorted(set(keys))
    assert len(keys) == 6


def test_no_mirroring_at_test_time(trainer: SpineTrainer) -> None:
    assert trainer.inference_allowed_mirroring_axes is None


def test_optimiser_and_schedule_are_ours_as_stated(trainer: SpineTrainer) -> None:
    assert isinstance(trainer.optimizer, torch.optim.Adam)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3)
    trainer.lr_scheduler.step(200)
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(1e-3 * 0.5**0.9)


def test_the_protocol_page_of_the_code_says_the_same(trainer: SpineTrainer) -> None:
    assert list(PROTOCOL.channels) == CHANNELS
    assert (PROTOCOL.strides, PROTOCOL.kernel_size, PROTOCOL.up_kernel_size) == ((2, 2, 2, 2), 3, 3)
    assert (PROTOCOL.epochs, PROTOCOL.folds, PROTOCOL.fold_sizes) == (400, 4, (15, 15, 15, 13))
    assert PROTOCOL.steps == ("gamma", "bias", "scale", "resize", "pad")


@pytest.mark.parametrize(
    ("change", "test"),
    [
        ({"channels": [16, 32, 64, 128, 320]}, test_encoder_channels_and_strides),
        ({"strides": [2, 2, 2, 1]}, test_encoder_channels_and_strides),
        ({"kernel_size": 5}, test_kernels_are_3x3x3),
        ({"up_kernel_size": 5}, test_kernels_are_3x3x3),
    ],
)
def test_the_walk_notices_another_network(tiny, tiny_results, change, test) -> None:
    from nnunet_spine.networks.unet import SpineUNet, architecture_arguments

    trainer = start(tiny_results, tiny.dataset)
    trainer.network = SpineUNet(1, 2, **{**architecture_arguments(), **change})
    with pytest.raises(AssertionError):
        test(trainer)


def test_variants_change_what_their_name_says(tiny, tiny_results) -> None:
    plain = start(tiny_results, tiny.dataset, "nnUNetTrainerSpineNoResidual")
    assert not [name for name, _ in plain.network.named_modules() if "residual" in name]
    many = start(tiny_results, tiny.dataset, "nnUNetTrainerSpine250Iterations")
    assert many.num_iterations_per_epoch == 250
    one = start(tiny_results, tiny.dataset, "nnUNetTrainerSpineNoBackground")
    assert one.loss.dice.include_background is False


def test_a_departure_is_recorded(tiny, tiny_results, monkeypatch) -> None:
    from nnunet_spine.manifest import recorded_departures

    monkeypatch.setenv("NNUNET_SPINE_EPOCHS", "7")
    trainer = start(tiny_results, tiny.dataset, "nnUNetTrainerSpineNoResidual")
    lines = [d.describe() for d in recorded_departures(tiny_results.results / _relative(trainer))]
    assert lines == ["residual_units: 0 instead of 2 (ours)", "epochs: 7 instead of 400 (documented)"]


def _relative(trainer: SpineTrainer) -> str:
    import os

    return os.path.relpath(trainer.output_folder, os.environ["nnUNet_results"])
