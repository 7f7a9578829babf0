"""The planner: the documented network and preprocessing, beside what the data set decides."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed

from nnunet_spine.cases import SPLITS_FILE, read_splits
from nnunet_spine.errors import BadInput
from nnunet_spine.files import replacing, write_json
from nnunet_spine.networks.memory import training_bytes
from nnunet_spine.networks.unet import NETWORK_CLASS, architecture_arguments
from nnunet_spine.nnunet.environment import CONFIGURATION, PLANS_NAME
from nnunet_spine.nnunet.field_choice import FieldChoice, choose_field_settings
from nnunet_spine.nnunet.grid import DEFAULT_MEMORY_GIB, Derived, derive
from nnunet_spine.nnunet.orientation import ORIENTATION_KEY, PREPROCESSOR_NAME, Survey, survey
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings
from nnunet_spine.protocol import PROTOCOL, Protocol, departures

REASONS_KEY = "spine_reasons"
DEPARTURES_KEY = "spine_departures"
FIELDS_KEY = "spine_bias_fields"


class SpinePlanner(ExperimentPlanner):
    """Plans with one configuration, `3d_fullres`, of the documented protocol.

    Parameters
    ----------
    dataset_name_or_id
        The data set, as nnU-Net names it; its fingerprint must be there.
    gpu_memory_target_in_gb
        Memory that training may take, in GiB.
    preprocessor_name, overwrite_target_spacing, suppress_transpose
        Taken for nnU-Net's sake; the protocol decides them.
    plans_name
        Name of the plans file, without suffix.
    settings
        Intensity settings; by default the protocol's. How the bias field is estimated is chosen here.
    turned
        Whether the fingerprint is of images that were turned to the orientation of their data set.
    """

    def __init__(
        self,
        dataset_name_or_id: str | int,
        gpu_memory_target_in_gb: float = DEFAULT_MEMORY_GIB,
        preprocessor_name: str = PREPROCESSOR_NAME,  # noqa: ARG002
        plans_name: str = PLANS_NAME,
        overwrite_target_spacing: Any = None,  # noqa: ARG002
        suppress_transpose: bool = True,  # noqa: ARG002
        settings: IntensitySettings | None = None,
        turned: bool = False,
    ) -> None:
        super().__init__(
            dataset_name_or_id, gpu_memory_target_in_gb, PREPROCESSOR_NAME, plans_name, suppress_transpose=True
        )
        self.settings = settings or IntensitySettings()
        self.turned = turned
        self.protocol: Protocol = replace(PROTOCOL, **self.settings.protocol_values())

    @property
    def folder(self) -> Path:
        """The data set's folder below nnUNet_preprocessed."""
        return Path(nnUNet_preprocessed) / str(self.dataset_name)

    def plan_experiment(self) -> dict[str, Any]:
        """Derive the plans, write them, and return them."""
        self.derive_plans()
        self.write_plans()
        return self.plans

    def derive_plans(self) -> dict[str, Any]:
        """Derive the plans and return them."""
        reader = self.determine_reader_writer().__name__
        images = survey([Path(case["images"][0]) for case in self.dataset.values()], reader)
        self._refuse_several_orders(images)
        derived = self._derive()
        chosen = self._choose_field()
        self.settings = replace(self.settings, bias_field=chosen.settings)
        self.plans = {
            "dataset_name": self.dataset_name,
            "plans_name": self.plans_identifier,
            "original_median_spacing_after_transp": _medians(self.dataset_fingerprint["spacings"]),
            "original_median_shape_after_transp": [
                round(n) for n in _medians(self.dataset_fingerprint["shapes_after_crop"])
            ],
            "image_reader_writer": reader,
            "transpose_forward": [0, 1, 2],
            "transpose_backward": [0, 1, 2],
            "configurations": {CONFIGURATION: self._configuration(derived)},
            "experiment_planner_used": type(self).__name__,
            "label_manager": "LabelManager",
            "foreground_intensity_properties_per_channel": self.dataset_fingerprint[
                "foreground_intensity_properties_per_channel"
            ],
            ORIENTATION_KEY: images.orientation.as_json(),
            REASONS_KEY: {**self._reasons(derived), **chosen.reasons, ORIENTATION_KEY: images.reason},
            DEPARTURES_KEY: [d.describe() for d in departures(self.settings.protocol_values())],
        }
        return self.plans

    def write_plans(self) -> None:
        """Write the plans, and beside them the data set's description, as nnU-Net does."""
        write_json(self.folder / f"{self.plans_identifier}.json", self.plans)
        with replacing(self.folder / "dataset.json") as temporary:
            shutil.copyfile(Path(self.raw_dataset_folder) / "dataset.json", temporary)

    def _configuration(self, derived: Derived) -> dict[str, Any]:
        """The one configuration, in nnU-Net's terms."""
        names = ("fn_data", "fn_data_kwargs", "fn_seg", "fn_seg_kwargs", "fn_probabilities", "fn_probabilities_kwargs")
        values = (*self.determine_resampling(), *self.determine_segmentation_softmax_export_fn())
        return {
            "data_identifier": self.generate_data_identifier(CONFIGURATION),
            "preprocessor_name": PREPROCESSOR_NAME,
            "batch_size": derived.batch_size,
            "patch_size": list(derived.grid),
            "median_image_size_in_voxels": list(derived.median_shape),
            "spacing": list(derived.spacing_mm),
            "normalization_schemes": ["NoNormalization"],
            "use_mask_for_norm": [False],
            **{
                f"resampling_{name}": value if isinstance(value, dict) else value.__name__
                for name, value in zip(names, values, strict=True)
            },
            "architecture": {
                "network_class_name": NETWORK_CLASS,
                "arch_kwargs": architecture_arguments(self.protocol),
                "_kw_requires_import": [],
            },
            "batch_dice": self.protocol.loss_batch,
            SETTINGS_KEY: self.settings.as_json(),
        }

    def _refuse_several_orders(self, images: Survey) -> None:
        """Refuse a fingerprint of nnU-Net's command if images are stored in several orders: it mixes their axes."""
        if not self.turned and len(set(images.axes)) > 1:
            orders = ", ".join(sorted(str(axes) for axes in set(images.axes)))
            raise BadInput(
                f"The training images of {self.dataset_name} are stored in several orders of axes ({orders}), which "
                "nnU-Net's fingerprint mixes. Run `nnunet-spine plan`, which turns them."
            )

    def _derive(self) -> Derived:
        folds = read_splits(self.folder / SPLITS_FILE)
        return derive(
            self.dataset_fingerprint["shapes_after_crop"],
            self.dataset_fingerprint["spacings"],
            memory_gib=self.UNet_vram_target_GB,
            training_bytes=lambda grid, batch_size: training_bytes(grid, batch_size, protocol=self.protocol),
            cases_per_fold=min(len(fold.train) for fold in folds),
        )

    def _choose_field(self) -> FieldChoice:
        fingerprint = self.dataset_fingerprint
        return choose_field_settings(fingerprint["shapes_after_crop"], fingerprint["spacings"])

    @staticmethod
    def _reasons(derived: Derived) -> dict[str, str]:
        return {
            **derived.reasons,
            "transpose_forward": "converted cases have their sagittal slices on the first axis",
            "resampling_fn_data": "nnU-Net's own: cubic in the plane; slices apart where they are over 3 times thicker",
            "normalization_schemes": f"none of nnU-Net's; `{SETTINGS_KEY}` holds the documented intensity steps",
            "batch_dice": "MONAI's DiceLoss with batch=False",
            "architecture": "documented: channels, strides, kernels; see docs/protocol.md for the rest",
        }


def _medians(rows: list[list[float]]) -> list[float]:
    """Median of each column."""
    return [float(v) for v in np.median(np.asarray(rows, dtype=float), axis=0)]
