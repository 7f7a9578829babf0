"""The network that plans name: of a known family, and counted before it takes memory."""

from __future__ import annotations

import pydoc
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from torch import nn

from nnunet_spine.errors import BadInput, NnunetSpineError, WorkFailed

FAMILIES = ("nnunet_spine.networks", "dynamic_network_architectures", "monai.networks", "torch.nn")
"""Packages whose networks, and parts of networks, plans may name."""

MOST_PARAMETERS = 2 * 10**9
"""8 GB of weights; nnU-Net's largest networks have a tenth."""


def check_network(
    name: str,
    arguments: Mapping[str, Any],
    imported: Sequence[str],
    inputs: int,
    outputs: int,
    *,
    trusted: bool = False,
) -> None:
    """Check that plans name a network of a known family, of a size that somebody trains.

    Parameters
    ----------
    name, arguments, imported
        The class, its arguments, and which of them name classes, as plans have them; `plans_check` has passed them.
    inputs, outputs
        Channels of the image, and classes.
    trusted
        Whether the classes may be any.

    Raises
    ------
    BadInput
        If a class is of another family, or the network has too many weights.
    """
    if not trusted:
        for one in (name, *(arguments[key] for key in imported if arguments[key] is not None)):
            _check_class(one)
    try:
        with torch.device("meta"), torch.random.fork_rng(devices=[]):
            network = get_network_from_plans(name, dict(arguments), imported, inputs, outputs, allow_init=False)
    except Exception:  # noqa: BLE001 - not every network can be built without memory; what fails again is reported then
        return
    count = sum(parameter.numel() for parameter in network.parameters())
    if count > MOST_PARAMETERS:
        raise BadInput(
            f"The network of the plans has {count} weights; expected at most {MOST_PARAMETERS}. Plan the data "
            "set again."
        )


def _check_class(name: str) -> None:
    try:
        found: Any = pydoc.locate(name)
    except Exception as error:
        raise BadInput(f"The plans name {name}, which cannot be imported. Install the version that has it.") from error
    if found is None:
        return  # nnU-Net looks for it among its own networks
    module = str(getattr(found, "__module__", ""))
    family = any(module == package or module.startswith(f"{package}.") for package in FAMILIES)
    if not (isinstance(found, type) and issubclass(found, nn.Module) and family):
        raise BadInput(f"The plans name {name}, which is no network, or part of one, of {', '.join(FAMILIES)}.")


def check_planned_network(plans: Any, configuration: Any, dataset_json: Any, *, trusted: bool = False) -> None:
    """Check the network of a configuration, by nnU-Net's managers of it; errors as for `check_network`."""
    check_network(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        determine_num_input_channels(plans, configuration, dataset_json),
        plans.get_label_manager(dataset_json).num_segmentation_heads,
        trusted=trusted,
    )


def built(name: str, build: Callable[[], nn.Module]) -> nn.Module:
    """What a function builds of the arguments in plans.

    Raises
    ------
    BadInput
        If the network `name` cannot be built of them.
    WorkFailed
        If there is not enough memory.
    """
    try:
        return build()
    except (TypeError, ValueError, LookupError, RuntimeError, AssertionError, ImportError, AttributeError) as error:
        if isinstance(error, NnunetSpineError):
            raise
        if "memory" in str(error).lower() or "resource temporarily unavailable" in str(error).lower():
            raise WorkFailed(
                f"There is not enough memory to build the network {name}. Free some and run again."
            ) from error
        reason = " ".join(str(error).split()) or "they contradict each other"
        raise BadInput(f"The network {name} cannot be built of the arguments in the plans: {reason}") from error
