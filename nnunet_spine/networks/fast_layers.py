"""A faster form of the documented network's activation, used where its bits are those of the plain layer.

PReLU with one parameter is a leaky ReLU, which PyTorch computes faster on a CPU. Before the form is used for a shape,
forward and backward pass are compared with the plain layer's; where one bit differs, the plain layer stays.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional


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


class FastPReLU(nn.PReLU):
    """`torch.nn.PReLU` with one parameter; same values, same state."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Apply PReLU."""
        if _plain(values):
            return super().forward(values)
        if not torch.is_grad_enabled():
            # Each value for itself: chosen, and multiplied once, in both forms.
            return functional.leaky_relu(values, self.weight.item())
        if not _prelu_agrees(values.shape, torch.get_num_threads()):
            return super().forward(values)
        result: torch.Tensor = _SharedPReLU.apply(values, self.weight)
        return result


def _plain(values: torch.Tensor) -> bool:
    """Whether values are such that the fast forms are not made for."""
    return (
        values.device.type != "cpu"
        or values.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.compiler.is_compiling()
    )


@lru_cache(maxsize=64)
def _prelu_agrees(shape: torch.Size, threads: int) -> bool:  # noqa: ARG001 - sums are split among threads
    weight = torch.full((1,), 0.25)
    return _same_bits(lambda v, w: functional.prelu(v, w), _SharedPReLU.apply, _drawn(shape), weight)


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
    return changed
