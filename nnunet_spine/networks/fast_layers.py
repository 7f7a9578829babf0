"""Faster forms of the documented network's slowest small layers, used where their bits are those of the plain layers.

Without a GPU, PyTorch computes a convolution of one case with few channels by
writing out all neighbourhoods of voxels and multiplying one matrix; most of the
time goes into that writing, one value at a time. Here the same matrix is
written by whole shifted blocks. PReLU with one parameter is a leaky ReLU.
Before a form is used for a shape, forward and backward pass are compared with
the plain layer's; where one bit differs, the plain layer stays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

MAX_CHANNELS = 32
"""Convolutions with more channels are left to PyTorch's own kernels."""

_TAPS = [(i, j, k) for i in range(3) for j in range(3) for k in range(3)]


class _SharedPReLU(torch.autograd.Function):
    """PReLU with one parameter."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(values, weight)
        return functional.leaky_relu(values, weight.item())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values, weight = ctx.saved_tensors
        (gradient,) = gradients
        by_values = torch.ops.aten.leaky_relu_backward(gradient, values, weight.item(), False)
        products = values.clamp(max=0).mul_(gradient)
        return by_values, products.sum_to_size((1,) * products.dim()).reshape(weight.shape)


class _UnfoldedConvolution(torch.autograd.Function):
    """3x3x3 convolution of one case (1, channel, z, y, x), stride 1, padded by 1."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        columns = _unfolded(values)
        ctx.save_for_backward(columns, weight)
        outputs = weight.shape[0]
        result = torch.addmm(bias[:, None], weight.reshape(outputs, -1), columns)
        return result.view(1, outputs, *values.shape[2:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor, torch.Tensor]:
        columns, weight = ctx.saved_tensors
        (gradient,) = gradients
        outputs, shape = weight.shape[0], gradient.shape[2:]
        flat = gradient.reshape(outputs, -1)
        by_weight = (flat @ columns.T).view(weight.shape)
        by_values = None
        if ctx.needs_input_grad[0]:
            by_values = _folded(weight.reshape(outputs, -1).T @ flat, weight.shape[1], shape)
        return by_values, by_weight, gradient.sum((0, 2, 3, 4))


def _unfolded(values: torch.Tensor) -> torch.Tensor:
    """Neighbourhoods, shape (channel x 27, voxel), of one case."""
    channels, (z, y, x) = values.shape[1], values.shape[2:]
    padded = functional.pad(values[0], (1,) * 6)
    columns = values.new_empty(channels, len(_TAPS), z, y, x)
    for tap, (i, j, k) in enumerate(_TAPS):
        columns[:, tap] = padded[:, i : i + z, j : j + y, k : k + x]
    return columns.view(channels * len(_TAPS), -1)


def _folded(columns: torch.Tensor, channels: int, shape: torch.Size) -> torch.Tensor:
    """Sums over the neighbourhoods that a voxel is in: the transpose of `_unfolded`."""
    z, y, x = shape
    blocks = columns.view(channels, len(_TAPS), z, y, x)
    padded = columns.new_zeros(channels, z + 2, y + 2, x + 2)
    for tap, (i, j, k) in enumerate(_TAPS):
        padded[:, i : i + z, j : j + y, k : k + x] += blocks[:, tap]
    return padded[None, :, 1:-1, 1:-1, 1:-1].contiguous()


class FastPReLU(nn.PReLU):
    """`torch.nn.PReLU` with one parameter; same values, same state."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply PReLU."""
        if _plain(values) or not _prelu_agrees(values.shape, torch.get_num_threads()):
            return super().forward(values)
        result: torch.Tensor = _SharedPReLU.apply(values, self.weight)
        return result


class FastConv3d(nn.Conv3d):
    """`torch.nn.Conv3d` of few channels, kernel 3, stride 1; same values, same state."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Convolve (case, channel, z, y, x)."""
        if (
            _plain(values)
            or len(values) != 1
            or not _convolution_agrees(values.shape, self.out_channels, torch.get_num_threads())
        ):
            return super().forward(values)
        result: torch.Tensor = _UnfoldedConvolution.apply(values, self.weight, self.bias)
        return result


def _plain(values: torch.Tensor) -> bool:
    """Whether values are such that the fast forms are not made for."""
    return (
        values.device.type != "cpu"
        or values.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or not torch.is_grad_enabled()
        or torch.compiler.is_compiling()
    )


@lru_cache(maxsize=64)
def _prelu_agrees(shape: torch.Size, threads: int) -> bool:  # noqa: ARG001 - sums are split among threads
    weight = torch.full((1,), 0.25)
    return _same_bits(lambda v, w: functional.prelu(v, w), _SharedPReLU.apply, _drawn(shape), weight)


@lru_cache(maxsize=64)
def _convolution_agrees(shape: torch.Size, outputs: int, threads: int) -> bool:  # noqa: ARG001
    arguments = (_drawn(shape), _drawn(torch.Size((outputs, shape[1], 3, 3, 3))), _drawn(torch.Size((outputs,))))
    return _same_bits(lambda v, w, b: functional.conv3d(v, w, b, padding=1), _UnfoldedConvolution.apply, *arguments)


def _drawn(shape: torch.Size) -> torch.Tensor:
    """Values from a generator of their own: the training's random numbers are not touched."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def _same_bits(plain: Any, fast: Any, *arguments: torch.Tensor) -> bool:
    """Whether two forms of a layer agree in their output and all gradients."""
    results = []
    with torch.enable_grad():
        for form in (plain, fast):
            leaves = [a.clone().requires_grad_() for a in arguments]
            output = form(*leaves)
            gradients = torch.autograd.grad(output, leaves, _drawn(output.shape))
            results.append([output.detach(), *gradients])
    return all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def speed_up(network: nn.Module) -> int:
    """Let the layers of a network that have a faster form use it; names and values of its state stay.

    Parameters
    ----------
    network
        Changed in place.

    Returns
    -------
    count
        Layers that were changed.
    """
    changed = 0
    for module in network.modules():
        if type(module) is nn.PReLU and module.num_parameters == 1:
            module.__class__ = FastPReLU
            changed += 1
        elif type(module) is nn.Conv3d and _has_fast_form(module):
            module.__class__ = FastConv3d
            changed += 1
    return changed


def _has_fast_form(module: nn.Conv3d) -> bool:
    return (
        module.kernel_size == (3, 3, 3)
        and module.stride == (1, 1, 1)
        and module.padding == (1, 1, 1)
        and module.dilation == (1, 1, 1)
        and module.groups == 1
        and module.bias is not None
        and module.padding_mode == "zeros"
        and max(module.in_channels, module.out_channels) <= MAX_CHANNELS
    )
