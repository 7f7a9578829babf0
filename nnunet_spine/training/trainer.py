"""The documented training as an nnU-Net trainer.

nnU-Net's loop, files and names stay. What differs: the network, loss, epochs
and optimiser are the protocol's; a case is read whole and once; a fold that
splits_final.json does not have is refused; and what `DurableTraining` adds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from torch import nn

from nnunet_spine.cases import SPLITS_FILE, read_fold
from nnunet_spine.errors import BadInput
from nnunet_spine.files import link_or_copy, replacing
from nnunet_spine.manifest import MANIFEST_FILE
from nnunet_spine.networks.unet import arguments_of
from nnunet_spine.nnunet.configuration import adopt
from nnunet_spine.nnunet.environment import (
    CASES_VARIABLE,
    EPOCHS_VARIABLE,
    PRECISION_VARIABLE,
    SEED_VARIABLE,
    is_trusted,
    positive_variable,
    whole_variable,
)
from nnunet_spine.nnunet.planned_network import built, check_network
from nnunet_spine.nnunet.plans_check import check_before_training
from nnunet_spine.protocol import PROTOCOL, Precision, Protocol
from nnunet_spine.training.augmentation import make_transform
from nnunet_spine.training.checkpoints import BEST, LATEST
from nnunet_spine.training.durable import DurableTraining
from nnunet_spine.training.loader import DEFAULT_BUDGET_MIB, CaseStore, EpochLoader, MemoryBudget
from nnunet_spine.training.loss import SpineDiceLoss
from nnunet_spine.training.record import recorded_parameters, write_record
from nnunet_spine.training.stopping import STOP
from nnunet_spine.training.voxel_counts import voxel_counts

PLOT_EVERY = 50
"""Epochs between drawings of progress.png, which takes longer than an epoch."""


class SpineTrainer(DurableTraining, nnUNetTrainer):
    """Base of all public trainers of this package; a subclass changes `variant` and nothing else.

    `variant` is what a subclass departs from the protocol in. The number of
    epochs and the seed can be set by the variables NNUNET_SPINE_EPOCHS and
    NNUNET_SPINE_SEED; the fold's manifest records both.
    """

    variant: ClassVar[Protocol] = PROTOCOL

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this very signature
    ) -> None:
        check_before_training(plans, configuration, dataset_json)
        super().__init__(plans, configuration, fold, dataset_json, device)
        if self.is_ddp:
            raise BadInput(
                "This package's trainers use one GPU: a batch of the documented protocol is too small to be shared. "
                "Leave `-num_gpus` out, and train the folds side by side instead."
            )
        adopt(self.plans_manager, self.configuration_manager)
        self.protocol = replace(
            self.variant,
            epochs=positive_variable(EPOCHS_VARIABLE, self.variant.epochs),
            seed=whole_variable(SEED_VARIABLE, self.variant.seed),
            cpu_precision=self._precision(),
        )
        self.cases_mebibytes = whole_variable(CASES_VARIABLE, DEFAULT_BUDGET_MIB)
        self.num_epochs = self.protocol.epochs
        self.initial_lr = self.protocol.initial_learning_rate
        self.weight_decay = self.protocol.weight_decay
        self.enable_deep_supervision = False
        self.save_every = 1
        self._best_ema: float | None = None

    def _precision(self) -> Precision:
        """What is asked for; on a GPU nothing but the protocol's value is, since nnU-Net decides there."""
        asked = os.environ.get(PRECISION_VARIABLE) or self.variant.cpu_precision
        if asked not in list(Precision):
            raise BadInput(f"The precision is {asked[:40]!r}; expected {' or '.join(Precision)}.")
        if asked != self.variant.cpu_precision and self.device.type != "cpu":
            raise BadInput(
                f"The precision {asked} is for training on a CPU, and the device is {self.device.type}. Leave it out: "
                "on a GPU nnU-Net trains in mixed precision."
            )
        return Precision(asked)

    @classmethod
    def build_network_architecture(
        cls,
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = False,  # noqa: ARG003
    ) -> nn.Module:
        """Build the network that the plans name, with what this variant changes.

        nnU-Net calls this in every training and prediction, which makes it the place where plans and configuration
        learn to find our reader and our preprocessor in nnU-Net's worker processes.
        """
        adopt(plans_manager, configuration_manager)
        name = configuration_manager.network_arch_class_name
        planned = (
            name,
            cls.network_arguments(configuration_manager),
            configuration_manager.network_arch_init_kwargs_req_import,
            num_input_channels,
            num_output_channels,
        )
        check_network(*planned, trusted=is_trusted())
        return built(name, lambda: get_network_from_plans(*planned, allow_init=False))

    @classmethod
    def network_arguments(cls, configuration_manager: Any) -> dict[str, Any]:
        """Arguments of the network: those of the plans, with what this variant changes."""
        return arguments_of(cls.variant, configuration_manager.network_arch_init_kwargs)

    def initialize(self) -> None:
        """Seed, then set up network, optimiser and loss as nnU-Net does."""
        torch.manual_seed(self.training_seed)
        super().initialize()

    @property
    def training_seed(self) -> int:
        """Seed of this fold's training: folds start from different weights, runs of a fold from the same."""
        fold = self.fold if isinstance(self.fold, int) else -1
        return int(np.random.SeedSequence([self.protocol.seed, fold + 1]).generate_state(1)[0])

    def configure_optimizers(self) -> tuple[Any, Any]:
        """Adam with polynomial decay."""
        # All weights at once takes less time and has other last bits, which only reduced precision has anyway.
        fused = True if self.protocol.cpu_precision is Precision.BFLOAT16 else None
        optimizer = torch.optim.Adam(
            self.network.parameters(), lr=self.initial_lr, weight_decay=self.weight_decay, fused=fused
        )
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def _build_loss(self) -> nn.Module:
        return SpineDiceLoss(self.protocol)

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Do nothing: the documented network has one output."""

    def plot_network_architecture(self) -> None:
        """Do nothing: the plans and the manifest describe the network."""

    def do_split(self) -> tuple[list[str], list[str]]:
        """Training and test cases of the fold, from splits_final.json alone.

        Raises
        ------
        NotFound
            Where the file or the fold does not exist. (nnU-Net would make up a random split.)
        """
        if self.fold == "all":
            split: tuple[list[str], list[str]] = super().do_split()
            return split
        fold = read_fold(Path(self.preprocessed_dataset_folder_base) / SPLITS_FILE, self.fold)
        self.print_to_log_file(f"fold {fold.number}: {len(fold.train)} training and {len(fold.test)} test cases")
        return list(fold.train), list(fold.test)

    def get_dataloaders(self) -> tuple[EpochLoader, EpochLoader]:
        """Loaders of training and test cases, each on the whole grid."""
        grid = self.configuration_manager.patch_size
        budget = MemoryBudget(self.cases_mebibytes)
        self.print_to_log_file(f"cases are kept in memory up to {budget.mebibytes} MiB, others read in each epoch")
        datasets = self.get_tr_and_val_datasets()
        training, testing = (CaseStore(d, grid, self.protocol.padding_value, budget) for d in datasets)
        pinned = self.device.type == "cuda"
        loader = EpochLoader(
            training,
            self.batch_size,
            seed=self.training_seed,
            shuffled=True,
            iterations=self.protocol.iterations_per_epoch,
            transform=make_transform(self.protocol.augmentation, grid),
            pinned=pinned,
        )
        test_loader = EpochLoader(testing, self.batch_size, seed=self.training_seed, shuffled=False, pinned=pinned)
        self.num_iterations_per_epoch = len(loader)
        self.num_val_iterations_per_epoch = len(test_loader)
        self.inference_allowed_mirroring_axes = (0, 1, 2) if self.protocol.test_time_mirroring else None
        return loader, test_loader

    def on_train_start(self) -> None:
        """Refuse to mix two schedules, set everything up, and record what this training is."""
        if self.current_epoch > 0:
            self._refuse_another(recorded_parameters(self.fold_folder / MANIFEST_FILE))
        super().on_train_start()
        write_record(self)

    def _refuse_another(self, earlier: Mapping[str, Any]) -> None:
        """Refuse to go on with what was begun otherwise."""
        epochs = earlier.get("epochs", self.num_epochs)
        if epochs != self.num_epochs:
            raise BadInput(
                f"{self.output_folder} holds a training of {epochs} epochs, and {self.num_epochs} are asked for now. "
                f"Its learning rates belong to the other schedule. Ask for {epochs} epochs, or remove the folder."
            )
        precision = earlier.get("cpu_precision", self.protocol.cpu_precision)
        if precision != self.protocol.cpu_precision:
            raise BadInput(
                f"{self.output_folder} holds a training in {precision}, and {self.protocol.cpu_precision} is asked for "
                f"now. Ask for {precision}, or remove the folder."
            )

    def on_train_epoch_start(self) -> None:
        """Start the epoch's order, then as nnU-Net."""
        self.dataloader_train.start_epoch(self.current_epoch)
        super().on_train_epoch_start()

    def on_validation_epoch_start(self) -> None:
        """Start the test cases' order, then as nnU-Net."""
        self.dataloader_val.start_epoch(self.current_epoch)
        super().on_validation_epoch_start()

    def _reduced_precision(self) -> AbstractContextManager[Any]:
        """Where forward passes of an epoch are in less than float32; the prediction of test cases never is on a CPU."""
        if self.device.type == "cuda":
            return torch.autocast("cuda")
        if self.protocol.cpu_precision is Precision.BFLOAT16:
            return torch.autocast("cpu", torch.bfloat16)
        return nullcontext()

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """nnU-Net's step, in the precision asked for."""
        with self._reduced_precision():
            step: dict[str, Any] = super().train_step(batch)
        return step

    def validation_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Loss and voxel counts of a batch of test cases: what nnU-Net's step gives, counted in less time."""
        data, target = (batch[key].to(self.device, non_blocking=True) for key in ("data", "target"))
        with self._reduced_precision():
            output = self.network(data)
            loss = self.loss(output, target)
        counts = voxel_counts(output, target)
        return {
            "loss": loss.detach().cpu().numpy(),
            **dict(zip(("tp_hard", "fp_hard", "fn_hard"), counts, strict=True)),
        }

    def on_epoch_end(self) -> None:
        """Log a line, write the checkpoint, and tell the logs."""
        self.logger.log("epoch_end_timestamps", time.time(), self.current_epoch)
        loss, test_loss, dice, ema = (
            float(self.logger.get_value(key, step=-1))
            for key in ("train_losses", "val_losses", "mean_fg_dice", "ema_fg_dice")
        )
        seconds = time.time() - self.logger.get_value("epoch_start_timestamps", step=-1)
        self.print_to_log_file(
            f"loss {loss:.4f}, test loss {test_loss:.4f}, pseudo Dice {dice:.4f}, {seconds:.2f} s", add_timestamp=True
        )
        last = self.current_epoch == self.num_epochs - 1
        self._write_checkpoints(ema)
        if self.local_rank == 0 and (last or (self.current_epoch + 1) % PLOT_EVERY == 0):
            self.logger.plot_progress_png(self.output_folder)
        self.current_epoch += 1
        self.tell_epoch()

    def _write_checkpoints(self, ema: float) -> None:
        """Write the latest checkpoint, and nnU-Net's best one as a second name of the same file."""
        best = self._best_ema is None or ema > self._best_ema
        if best:
            self._best_ema = ema
        latest = self.fold_folder / LATEST
        with STOP.held():
            self.save_checkpoint(str(latest))
            if best and latest.is_file():
                with replacing(latest.with_name(BEST)) as temporary:
                    link_or_copy(latest, temporary)
