"""Whole plans and descriptions of data sets, as nnU-Net and this package write them, for tests to change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nnunet_spine.networks.unet import NETWORK_CLASS, architecture_arguments
from nnunet_spine.preprocessing.pipeline import IntensitySettings

RESAMPLING = {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None}
DATASET = {
    "channel_names": {"0": "T1 post-contrast"},
    "labels": {"background": 0, "tumor": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def small_configuration(**changes: Any) -> dict[str, Any]:
    """A configuration for this package's preprocessor; `changes` are added."""
    return {
        "data_identifier": "nnUNetSpinePlans_3d_fullres",
        "preprocessor_name": "SpinePreprocessor",
        "batch_size": 2,
        "patch_size": [16, 32, 32],
        "median_image_size_in_voxels": [12, 32, 30],
        "spacing": [3.0, 1.0, 1.0],
        "normalization_schemes": ["NoNormalization"],
        "use_mask_for_norm": [False],
        **{f"resampling_fn_{of}": "resample_data_or_seg_to_shape" for of in ("data", "seg", "probabilities")},
        **{f"resampling_fn_{of}_kwargs": dict(RESAMPLING) for of in ("data", "seg", "probabilities")},
        "architecture": {
            "network_class_name": NETWORK_CLASS,
            "arch_kwargs": architecture_arguments(),
            "_kw_requires_import": [],
        },
        "batch_dice": False,
        "spine_preprocessing": IntensitySettings().as_json(),
        **changes,
    }


def small_plans(dataset: str = "Dataset058_Spine", *, configurations: Any = None, **changes: Any) -> dict[str, Any]:
    """Plans with one configuration, or those given; `changes` are added."""
    return {
        "dataset_name": dataset,
        "plans_name": "nnUNetSpinePlans",
        "original_median_spacing_after_transp": [3.0, 1.0, 1.0],
        "original_median_shape_after_transp": [12, 32, 30],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"3d_fullres": small_configuration()} if configurations is None else configurations,
        "experiment_planner_used": "SpinePlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {"mean": 250.0, "std": 40.0}},
        **changes,
    }


def write_plans(folder: Path, plans: Any = None, dataset: Any = None) -> Path:
    """Write plans and dataset.json into a data set's folder; the plans' file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "nnUNetSpinePlans.json"
    path.write_text(json.dumps(small_plans(folder.name) if plans is None else plans), encoding="utf-8")
    (folder / "dataset.json").write_text(json.dumps(DATASET if dataset is None else dataset), encoding="utf-8")
    return path
