"""The public trainers: a class for each row of `protocol.VARIANTS`, and nnU-Net's own training made durable.

nnU-Net finds a trainer by its class name, hence the names.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_spine.nnunet.configuration import adopt
from nnunet_spine.nnunet.environment import (
    EPOCHS_VARIABLE,
    SEED_VARIABLE,
    Workspace,
    positive_variable,
    whole_variable,
)
from nnunet_spine.nnunet.orientation import ORIENTATION_KEY, of_plans
from nnunet_spine.nnunet.plans_check import check_before_training
from nnunet_spine.protocol import VARIANTS
from nnunet_spine.training.durable import DurableTraining
from nnunet_spine.training.record import write_nnunet_record
from nnunet_spine.training.trainer import SpineTrainer


class nnUNetTrainerSpine(SpineTrainer):
    """The documented protocol."""

    variant = VARIANTS["nnUNetTrainerSpine"]


class nnUNetTrainerSpine250Iterations(SpineTrainer):
    """The documented protocol, an epoch being nnU-Net's 250 iterations."""

    variant = VARIANTS["nnUNetTrainerSpine250Iterations"]


class nnUNetTrainerSpineAugmented(SpineTrainer):
    """The documented protocol with nnU-Net's augmentation."""

    variant = VARIANTS["nnUNetTrainerSpineAugmented"]


class nnUNetTrainerSpineRandBiasField(SpineTrainer):
    """The documented protocol with MONAI's RandBiasField, the other reading of the bias step."""

    variant = VARIANTS["nnUNetTrainerSpineRandBiasField"]


class nnUNetTrainerSpineNoResidual(SpineTrainer):
    """The documented protocol without residual units."""

    variant = VARIANTS["nnUNetTrainerSpineNoResidual"]


class nnUNetTrainerSpineNoBackground(SpineTrainer):
    """The documented protocol, its loss on the tumour channel alone."""

    variant = VARIANTS["nnUNetTrainerSpineNoBackground"]


class nnUNetTrainerDurable(DurableTraining, nnUNetTrainer):
    """nnU-Net's own training, with checkpoints after each epoch, a lock on the fold, and an end by signal.

    The variables NNUNET_SPINE_EPOCHS and NNUNET_SPINE_SEED act as for this package's trainers. nnU-Net augments in
    several processes, which take turns as they come; so the same seed gives the same first weights, not the same last.
    """

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
        self.num_epochs: int = positive_variable(EPOCHS_VARIABLE, self.num_epochs)
        self.save_every = 1
        self._record_orientation()

    def _record_orientation(self) -> None:
        """Add the data set's orientation to the plans, which are saved with the model: nnU-Net's have none."""
        plans, raw = self.plans_manager.plans, Workspace.from_environment().raw
        images = raw / self.plans_manager.dataset_name / "imagesTr"
        found = of_plans(plans, self.configuration_manager.configuration, images)
        if found.axes is not None:
            plans[ORIENTATION_KEY] = found.as_json()
        adopt(self.plans_manager, self.configuration_manager)

    @staticmethod
    def build_network_architecture(
        plans_manager: Any,
        configuration_manager: Any,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> Any:
        """Build nnU-Net's network; its predictor calls this first, so that the plans learn to turn images here."""
        adopt(plans_manager, configuration_manager)
        return nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )

    def initialize(self) -> None:
        """Seed where a seed is set, then as nnU-Net."""
        if os.environ.get(SEED_VARIABLE):
            torch.manual_seed(whole_variable(SEED_VARIABLE, 0))
        super().initialize()

    def on_train_start(self) -> None:
        """Record what this training is, then as nnU-Net."""
        super().on_train_start()
        write_nnunet_record(self)

    def on_epoch_end(self) -> None:
        """As nnU-Net, and tell the logs."""
        super().on_epoch_end()
        self.tell_epoch()


class nnUNetTrainerSpineDemoBaseline(nnUNetTrainerDurable):
    """nnU-Net's own training, stopped after a few iterations.

    It changes the number of iterations and nothing else. On two CPU cores they
    cost about what the demo's documented training costs, which leaves the
    network far from trained: no conclusion about nnU-Net can rest on it.
    """

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008 - nnU-Net reads this very signature
    ) -> None:
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = 1
        self.num_iterations_per_epoch = 6
        self.num_val_iterations_per_epoch = 1
