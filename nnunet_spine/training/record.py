"""What a training was: its manifest, with every departure from the protocol."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from nnunet_spine.cases import SPLITS_FILE
from nnunet_spine.files import read_json, sha256, write_json
from nnunet_spine.manifest import FOLLOWS_PROTOCOL, MANIFEST_FILE, make_manifest
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings
from nnunet_spine.protocol import departures

if TYPE_CHECKING:
    from nnunet_spine.training.trainer import SpineTrainer

_ARCHITECTURE_FIELDS = {
    "channels": "channels",
    "strides": "strides",
    "kernel_size": "kernel_size",
    "up_kernel_size": "up_kernel_size",
    "norm": "normalization",
    "act": "activation",
    "num_res_units": "residual_units",
}
"""Protocol values by the names of the network's arguments."""


def run_values(trainer: SpineTrainer) -> dict[str, Any]:
    """Protocol values as this training really has them, by field name."""
    configuration = trainer.configuration_manager.configuration
    arguments = trainer.network_arguments(trainer.configuration_manager)
    protocol = trainer.protocol
    return {
        **IntensitySettings.from_json(configuration[SETTINGS_KEY]).protocol_values(),
        **{field: arguments[name] for name, field in _ARCHITECTURE_FIELDS.items()},
        "output_channels": trainer.label_manager.num_segmentation_heads,
        "loss_include_background": protocol.loss_include_background,
        "epochs": trainer.num_epochs,
        "iterations_per_epoch": protocol.iterations_per_epoch,
        "augmentation": protocol.augmentation,
        "cpu_precision": protocol.cpu_precision,
        "initial_learning_rate": trainer.initial_lr,
        "weight_decay": trainer.weight_decay,
        "test_time_mirroring": trainer.inference_allowed_mirroring_axes is not None,
        "seed": protocol.seed,
    }


def write_record(trainer: SpineTrainer) -> None:
    """Write the manifest of a training by this package's protocol into its fold's folder."""
    more: dict[str, Any] = {"seed": trainer.protocol.seed, "cases_memory_mib": trainer.cases_mebibytes}
    more |= {"cpu_precision": trainer.protocol.cpu_precision} if trainer.device.type == "cpu" else {}
    _write(trainer, more, departures=departures(run_values(trainer)), protocol=trainer.protocol)


def write_nnunet_record(trainer: Any) -> None:
    """Write the manifest of a training by nnU-Net's own method into its fold's folder."""
    _write(trainer, {FOLLOWS_PROTOCOL: False})


def _write(trainer: Any, more: dict[str, Any], **manifest_fields: Any) -> None:
    base = Path(trainer.preprocessed_dataset_folder_base)
    plans_name = trainer.plans_manager.plans_name
    inputs = {name: base / name for name in (f"{plans_name}.json", SPLITS_FILE)}
    manifest = make_manifest(
        "train",
        parameters={
            "trainer": type(trainer).__name__,
            "plans": plans_name,
            "configuration": trainer.configuration_name,
            "fold": trainer.fold,
            "epochs": trainer.num_epochs,
            "batch_size": trainer.batch_size,
            **more,
            "device": trainer.device.type,
            "threads": torch.get_num_threads(),
        },
        inputs={name: sha256(path) for name, path in inputs.items() if path.is_file()},
        **manifest_fields,
    )
    write_json(Path(trainer.output_folder) / MANIFEST_FILE, manifest)


def recorded_parameters(manifest: Path) -> dict[str, Any]:
    """Parameters that a fold's manifest names; none where there is none."""
    return dict(read_json(manifest)["parameters"]) if manifest.is_file() else {}
