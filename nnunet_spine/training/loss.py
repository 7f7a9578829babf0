"""The documented loss: MONAI's Dice, with what MONAI leaves open named by the protocol."""

from __future__ import annotations

import torch
from monai.losses import DiceLoss
from torch import nn

from nnunet_spine.protocol import Protocol


class SpineDiceLoss(nn.Module):
    """MONAI's DiceLoss in float32 on nnU-Net's integer targets.

    Parameters
    ----------
    protocol
        Its `loss_...` values.
    """

    def __init__(self, protocol: Protocol) -> None:
        super().__init__()
        self.dice = DiceLoss(
            include_background=protocol.loss_include_background,
            to_onehot_y=True,
            softmax=protocol.loss_activation == "softmax",
            batch=protocol.loss_batch,
        )

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Loss of network output (case, class, z, y, x) against labels (case, 1, z, y, x)."""
        loss: torch.Tensor = self.dice(output.float(), target.float())
        return loss
