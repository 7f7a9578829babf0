"""The documented 3D U-Net: MONAI's, with the argument names that nnU-Net calls a network with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from monai.networks.nets import UNet

from nnunet_spine.protocol import PROTOCOL, Protocol

NETWORK_CLASS = "nnunet_spine.networks.unet.SpineUNet"
"""The name under which plans refer to the network."""


class SpineUNet(UNet):
    """MONAI's U-Net in 3D, built from a plans file.

    Parameters
    ----------
    input_channels
        Image channels.
    num_classes
        Output channels, background included.
    channels, strides, kernel_size, up_kernel_size, num_res_units, norm, act
        As MONAI's UNet takes them.
    deep_supervision
        nnU-Net passes it; this network has one output, so it must be false.

    Examples
    --------
    >>> import torch
    >>> network = SpineUNet(1, 2, **architecture_arguments())
    >>> network(torch.zeros(1, 1, 16, 32, 32)).shape
    torch.Size([1, 2, 16, 32, 32])
    """

    def __init__(
        self,
        input_channels: int,
        num_classes: int,
        *,
        channels: Sequence[int],
        strides: Sequence[int],
        kernel_size: int,
        up_kernel_size: int,
        num_res_units: int,
        norm: str,
        act: str,
        deep_supervision: bool = False,
    ) -> None:
        if deep_supervision:
            raise ValueError("The documented network has one output; deep supervision is not possible.")
        super().__init__(
            spatial_dims=3,
            in_channels=input_channels,
            out_channels=num_classes,
            channels=tuple(channels),
            strides=tuple(strides),
            kernel_size=kernel_size,
            up_kernel_size=up_kernel_size,
            num_res_units=num_res_units,
            norm=norm,
            act=act,
        )


def architecture_arguments(protocol: Protocol = PROTOCOL) -> dict[str, Any]:
    """Keyword arguments of `SpineUNet` for a protocol, as a plans file carries them."""
    return {
        "channels": list(protocol.channels),
        "strides": list(protocol.strides),
        "kernel_size": protocol.kernel_size,
        "up_kernel_size": protocol.up_kernel_size,
        "num_res_units": protocol.residual_units,
        "norm": protocol.normalization,
        "act": protocol.activation,
    }


def arguments_of(variant: Protocol, planned: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that a plans file gives, with what a variant of the protocol changes."""
    documented = architecture_arguments(PROTOCOL)
    changed = {key: value for key, value in architecture_arguments(variant).items() if value != documented[key]}
    return {**planned, **changed}
