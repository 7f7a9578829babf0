from __future__ import annotations

import pytest
import torch

from nnunet_spine.networks.memory import training_bytes
from nnunet_spine.networks.unet import NETWORK_CLASS, SpineUNet, architecture_arguments
from nnunet_spine.protocol import PROTOCOL


def test_the_plans_name_leads_to_the_class() -> None:
    import pydoc

    assert pydoc.locate(NETWORK_CLASS) is SpineUNet


def test_output_has_the_size_of_the_input() -> None:
    network = SpineUNet(1, 2, **architecture_arguments())
    assert network(torch.zeros(2, 1, 16, 48, 32)).shape == (2, 2, 16, 48, 32)


def test_deep_supervision_is_refused() -> None:
    with pytest.raises(ValueError, match="one output"):
        SpineUNet(1, 2, **architecture_arguments(), deep_supervision=True)


def test_number_of_weights() -> None:
    # MONAI's tutorial network for this list of channels has 4.8 million.
    assert sum(p.numel() for p in SpineUNet(1, 2, **architecture_arguments()).parameters()) == 4_806_481


def test_memory_agrees_with_a_count_on_real_tensors() -> None:
    grid, batch_size = (16, 32, 32), 2
    network = SpineUNet(1, 2, **architecture_arguments())
    outputs: list[int] = []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _m, _i, o: outputs.append(o.numel()))
    network(torch.zeros(batch_size, 1, *grid))
    weights = sum(p.numel() for p in network.parameters())
    # float32: activations twice (value, gradient), weights four times (value, gradient, Adam's two moments).
    assert training_bytes(grid, batch_size) == 4 * (2 * sum(outputs) + 4 * weights)


def test_memory_grows_with_batch_and_grid() -> None:
    fixed = training_bytes((16, 32, 32), 1)
    one, two = training_bytes((16, 64, 64), 1), training_bytes((16, 64, 64), 2)
    weights = 16 * 4_806_481
    assert two - weights == 2 * (one - weights)
    assert fixed < one


def test_arguments_are_the_protocols() -> None:
    arguments = architecture_arguments()
    assert arguments["channels"] == list(PROTOCOL.channels)
    assert arguments["num_res_units"] == PROTOCOL.residual_units == 2


def test_the_estimate_is_above_what_torch_keeps_for_the_backward_pass_and_not_far_above() -> None:
    grid, batch_size = (16, 32, 32), 2
    network = SpineUNet(1, 2, **architecture_arguments())
    own = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = network(torch.zeros(batch_size, 1, *grid))
    assert output.requires_grad
    measured = sum(storage.nbytes() for storage in kept.values())
    weights = 16 * sum(p.numel() for p in network.parameters())
    activations = training_bytes(grid, batch_size) - weights
    assert measured < activations < 4 * measured
