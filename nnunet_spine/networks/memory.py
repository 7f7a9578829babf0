"""What training a network takes of memory, from its shapes alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nnunet_spine.networks.unet import SpineUNet, architecture_arguments
from nnunet_spine.protocol import PROTOCOL, Protocol

BYTES_PER_VALUE = 4
"""float32"""

COPIES_OF_ACTIVATIONS = 2
"""Each activation is kept for the backward pass, and has a gradient."""

COPIES_OF_WEIGHTS = 4
"""Weight, gradient and Adam's two moments."""


def training_bytes(
    grid: Sequence[int], batch_size: int, *, input_channels: int = 1, protocol: Protocol = PROTOCOL
) -> int:
    """Estimate the memory that one training step of the documented network takes.

    The network runs on shapes without data (torch's meta device), and the sizes
    of all layers' outputs are summed.

    Parameters
    ----------
    grid
        Voxels (slice, y, x).
    batch_size
        Cases per step.
    input_channels
        Image channels.
    protocol
        The protocol whose network is meant.

    Returns
    -------
    bytes
        float32 training; half precision takes less.
    """
    values = 0

    def count(_module: Any, _inputs: Any, output: torch.Tensor) -> None:
        """Add a layer's output."""
        nonlocal values
        values += output.numel()

    with torch.device("meta"):
        network = SpineUNet(input_channels, protocol.output_channels, **architecture_arguments(protocol))
        for module in network.modules():
            if not list(module.children()):
                module.register_forward_hook(count)
        network(torch.empty(batch_size, input_channels, *grid))
    weights: int = sum(parameter.numel() for parameter in network.parameters())
    return BYTES_PER_VALUE * (COPIES_OF_ACTIVATIONS * values + COPIES_OF_WEIGHTS * weights)
