"""Faster layers have the plain layers' bits, names and values."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nnunet_spine.networks import fast_layers
from nnunet_spine.networks.unet import SpineUNet, architecture_arguments

SHAPES = [(1, 2, 16, 32, 32), (1, 2, 3, 5, 7), (1, 2, 1, 1, 1), (2, 2, 16, 32, 32), (3, 2, 4, 9, 6)]


def passes(layer: nn.Module, shape: tuple[int, ...]) -> list[torch.Tensor]:
    """Output and all gradients of a layer for drawn values."""
    generator = torch.Generator().manual_seed(7)
    values = torch.randn(shape, generator=generator, requires_grad=True)
    output = layer(values)
    gradients = torch.autograd.grad(
        output, [values, *layer.parameters()], torch.randn(output.shape, generator=generator)
    )
    return [output.detach(), *gradients]


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_bits(shape: tuple[int, ...]) -> None:
    """Forward and backward pass of a changed layer are those of the plain layer."""
    layer = nn.PReLU()
    fast = copy.deepcopy(layer)
    assert fast_layers.speed_up(fast) == 1
    assert type(fast) is not type(layer)
    for ours, plain in zip(passes(fast, shape), passes(layer, shape), strict=True):
        assert torch.equal(ours, plain)


def test_differing_bits_are_noticed() -> None:
    """A form that rounds otherwise is refused."""
    values = torch.tensor([0.1, 0.2, 0.3])
    assert fast_layers._same_bits(lambda v: v * 3, lambda v: 3 * v, values)
    assert not fast_layers._same_bits(lambda v: v * 3, lambda v: v + v + v + 1e-7, values)


def test_a_refused_form_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the trial says no, the plain layer computes."""
    monkeypatch.setattr(fast_layers, "_prelu_agrees", lambda *_: False)
    layer = nn.PReLU()
    fast_layers.speed_up(layer)
    assert "SharedPReLU" not in type(layer(torch.ones(2, 3)).grad_fn).__name__


def test_state_is_that_of_the_plain_network() -> None:
    """Checkpoints of both are interchangeable."""
    network = SpineUNet(1, 2, **architecture_arguments())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert fast_layers.speed_up(network) == 17
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
