"""Plans and dataset.json that others wrote: what nnU-Net writes passes, everything else is refused with its name."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
from nnunetv2.preprocessing.resampling.utils import recursive_find_resampling_fn_by_name
from small_plans import DATASET, RESAMPLING, small_configuration, small_plans, write_plans

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.plans_check import (
    _RESAMPLING_ARGUMENTS,
    RESAMPLINGS,
    check_configuration,
    check_dataset_json,
    check_plans,
    find_plans,
    is_plain_name,
    read_plans,
)

STAGES = 6

OLD_CONFIGURATION = {
    "data_identifier": "nnUNetPlans_3d_fullres",
    "preprocessor_name": "DefaultPreprocessor",
    "batch_size": 2,
    "patch_size": [64, 192, 160],
    "median_image_size_in_voxels": [186.0, 575.5, 480.0],
    "spacing": [0.5999993681907654, 0.296875, 0.296875],
    "normalization_schemes": ["ZScoreNormalization", "CTNormalization"],
    "use_mask_for_norm": [False, True],
    "UNet_class_name": "PlainConvUNet",
    "UNet_base_num_features": 32,
    "n_conv_per_stage_encoder": [2] * STAGES,
    "n_conv_per_stage_decoder": [2] * (STAGES - 1),
    "num_pool_per_axis": [4, 5, 5],
    "pool_op_kernel_sizes": [[1, 1, 1], *[[2, 2, 2]] * (STAGES - 1)],
    "conv_kernel_sizes": [[3, 3, 3]] * STAGES,
    "unet_max_num_features": 320,
    **{f"resampling_fn_{of}": "resample_data_or_seg_to_shape" for of in ("data", "seg", "probabilities")},
    **{f"resampling_fn_{of}_kwargs": RESAMPLING for of in ("data", "seg", "probabilities")},
    "batch_dice": True,
}
"""As nnU-Net 2.0 to 2.4 wrote it."""

RESENC = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet",
    "arch_kwargs": {
        "n_stages": STAGES,
        "features_per_stage": [32, 64, 128, 256, 320, 320],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3]] * STAGES,
        "strides": [[1, 1, 1], *[[2, 2, 2]] * (STAGES - 1)],
        "n_blocks_per_stage": [1, 3, 4, 6, 6, 6],
        "n_conv_per_stage_decoder": [1] * (STAGES - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
"""As the residual encoder presets of nnU-Net 2.5 and later have it."""


def nnunets_plans() -> dict[str, Any]:
    """Plans of nnU-Net's own, old and new configurations, a cascade among them."""
    new = {k: v for k, v in OLD_CONFIGURATION.items() if "UNet" not in k and "kernel" not in k and "n_conv" not in k}
    del new["unet_max_num_features"], new["num_pool_per_axis"]
    configurations = {
        "2d": {**new, "patch_size": [512, 448], "spacing": [0.3, 0.3], "architecture": RESENC},
        "3d_lowres": {**OLD_CONFIGURATION, "next_stage": "3d_cascade_fullres"},
        "3d_fullres": {**new, "architecture": RESENC},
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
        "3d_fullres_bs40": {"inherits_from": "3d_fullres", "batch_size": 40},
    }
    plans = small_plans("Dataset102_PETCT", configurations=configurations, plans_name="nnUNetResEncUNetLPlans")
    del plans["label_manager"]  # nnU-Net takes its default then
    return plans


@pytest.mark.parametrize("name", ["2d", "3d_lowres", "3d_fullres", "3d_cascade_fullres", "3d_fullres_bs40"])
def test_plans_of_nnunet_old_and_new_pass(name: str) -> None:
    plans = nnunets_plans()
    check_plans(plans, "plans.json")
    found = check_configuration(plans, name, "plans.json")
    assert found["batch_size"] == (40 if name.endswith("bs40") else 2)
    assert found["spacing"] == ([0.3, 0.3] if name == "2d" else OLD_CONFIGURATION["spacing"])


def test_ours_pass() -> None:
    plans = small_plans()
    check_plans(plans, "plans.json")
    assert check_configuration(plans, "3d_fullres", "plans.json") == plans["configurations"]["3d_fullres"]
    check_dataset_json(DATASET, "dataset.json")


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "", " ", "a/b", "/etc", "a\\b", "../../x", "~", "~root", "-rf", ".hidden", "a\0b", "a\nb", "a:b"),
        *("x" * 129, "ü" * 65, "$HOME", 'a"b', "a*", "a ", None, 3, ["a"]),
    ],
)
def test_what_is_no_plain_name(name: Any) -> None:
    assert not is_plain_name(name)


@pytest.mark.parametrize(
    "name", ["nnUNetPlans_3d_fullres", "Dataset058_Rückenmark", "a b", "x" * 128, "ü" * 64, "v1.2+b"]
)
def test_what_is_a_plain_name(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize("value", ["/etc/passwd", "..", "../../elsewhere", "", ".", "a/b", None, 7, ["a"], "x" * 300])
@pytest.mark.parametrize("key", ["dataset_name", "plans_name", "data_identifier"])
def test_names_that_would_leave_their_folder_are_refused(key: str, value: Any) -> None:
    plans = small_plans()
    (plans["configurations"]["3d_fullres"] if key == "data_identifier" else plans)[key] = value
    with pytest.raises(BadInput, match=f"`{key}` is .*expected a name"):
        check_plans(plans, "plans.json")


@pytest.mark.parametrize("name", ["../x", "/x", "", ".x"])
def test_a_configuration_is_a_plain_name_too(name: str) -> None:
    with pytest.raises(BadInput, match="configurations"):
        check_plans(small_plans(configurations={name: small_configuration()}), "plans.json")


HUGE = 10**30

WRONG_PLANS = [
    ("image_reader_writer", "os.system"),
    ("image_reader_writer", None),
    ("label_manager", "Popen"),
    ("transpose_forward", [0, 1]),
    ("transpose_forward", [0, 0, 2]),
    ("transpose_backward", [0, 1, True]),
    ("transpose_backward", "012"),
    ("transpose_backward", [0, 2, 1]),  # small plans transpose nothing
    ("configurations", []),
    ("configurations", {f"c{n}": {} for n in range(300)}),
    ("configurations", {"3d_fullres": []}),
    ("foreground_intensity_properties_per_channel", {"0": {"mean": "much"}}),
    ("foreground_intensity_properties_per_channel", {"0": {"mean": float("nan")}}),
    ("spine_orientation", {"axes": "XYZ", "largest_angle_degrees": 1.0}),
    ("spine_orientation", {"axes": ["P", "I", "L"], "largest_angle_degrees": 1.0}),
    ("spine_orientation", {"axes": "PIL", "largest_angle_degrees": "much"}),
    ("spine_orientation", "PIL"),
]


@pytest.mark.parametrize(("key", "value"), WRONG_PLANS, ids=str)
def test_other_values_of_plans_are_named(key: str, value: Any) -> None:
    with pytest.raises(BadInput, match=f"plans.json.*`{key}.*expected"):
        check_plans(small_plans(**{key: value}), "plans.json")


@pytest.mark.parametrize(
    ("forward", "backward", "inverse"),
    [
        ([1, 2, 0], [1, 2, 0], "[2, 0, 1]"),
        ([2, 0, 1], [2, 0, 1], "[1, 2, 0]"),
        ([1, 0, 2], [0, 1, 2], "[1, 0, 2]"),
    ],
)
def test_axes_that_would_not_come_back_are_refused(forward: list[int], backward: list[int], inverse: str) -> None:
    plans = small_plans(transpose_forward=forward, transpose_backward=backward)
    with pytest.raises(BadInput, match=re.escape(f"expected {inverse}, which undoes")):
        check_plans(plans, "plans.json")
    check_plans({**plans, "transpose_backward": json.loads(inverse)}, "plans.json")


@pytest.mark.parametrize("key", ["dataset_name", "plans_name", "image_reader_writer", "transpose_forward"])
def test_what_plans_lack_is_named(key: str) -> None:
    plans = small_plans()
    del plans[key]
    with pytest.raises(BadInput, match=f"has no `{key}`"):
        check_plans(plans, "plans.json")


WRONG_CONFIGURATIONS = [
    ("preprocessor_name", "subprocess.Popen"),
    ("batch_size", 0),
    ("batch_size", 2.5),
    ("batch_size", True),
    ("batch_size", HUGE),
    ("patch_size", [16]),
    ("patch_size", [16, 32, -32]),
    ("patch_size", [16, 32, "32"]),
    ("patch_size", [4096, 4096, 4096]),
    ("patch_size", [HUGE, 32, 32]),
    ("spacing", [0, 1, 1]),
    ("spacing", [1.0, 1.0]),
    ("spacing", [float("nan"), 1.0, 1.0]),
    ("spacing", [1e9, 1.0, 1.0]),
    ("median_image_size_in_voxels", "large"),
    ("normalization_schemes", ["__import__"]),
    ("normalization_schemes", []),
    ("use_mask_for_norm", [False, False]),
    ("use_mask_for_norm", [0]),
    ("resampling_fn_data", "eval"),
    ("resampling_fn_data", "resample_data_or_seg_to_spacing"),
    ("resampling_fn_data", "resample_torch_simple"),
    ("resampling_fn_seg", None),
    ("resampling_fn_probabilities_kwargs", {"order": HUGE}),
    ("resampling_fn_probabilities_kwargs", ["order"]),
    ("previous_stage", "../../elsewhere"),
    ("next_stage", ["a/b"]),
    ("batch_dice", "yes"),
    ("spine_preprocessing", None),
    ("architecture", ["UNet"]),
]


@pytest.mark.parametrize(("key", "value"), WRONG_CONFIGURATIONS, ids=str)
def test_other_values_of_a_configuration_are_named(key: str, value: Any) -> None:
    plans = small_plans(configurations={"3d_fullres": small_configuration(**{key: value})})
    check_plans(plans, "plans.json")
    with pytest.raises(BadInput, match=f"configuration 3d_fullres.*`{key}`.*expected"):
        check_configuration(plans, "3d_fullres", "plans.json")


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("resample_data_or_seg_to_shape", {"order": 77}),
        ("resample_data_or_seg_to_shape", {"order_z": True}),
        ("resample_data_or_seg_to_shape", {"nonsense": 1}),
        ("resample_data_or_seg_to_shape", {"mode": "linear"}),
        ("resample_data_or_seg_to_shape", {"is_seg": "no"}),
        ("resample_data_or_seg_to_shape", {"force_separate_z": 2}),
        ("resample_data_or_seg_to_shape", {"separate_z_anisotropy_threshold": -1}),
        ("resample_torch_fornnunet", {"order": 1}),
        ("resample_torch_fornnunet", {"mode": "cubic"}),
        ("resample_torch_fornnunet", {"num_threads": 0}),
        ("resample_torch_fornnunet", {"device": "cuda"}),
        ("no_resampling_hack", {"is_seg": True}),
    ],
    ids=str,
)
@pytest.mark.parametrize("of", ["data", "seg", "probabilities"])
def test_arguments_that_a_resampling_does_not_take(of: str, function: str, arguments: dict[str, Any]) -> None:
    key = f"resampling_fn_{of}"
    plans = small_plans(configurations={"c": small_configuration(**{key: function, f"{key}_kwargs": arguments})})
    for trusted in (False, True):
        with pytest.raises(BadInput, match=rf"configuration c.*`{key}_kwargs\.{next(iter(arguments))}` is .*expected"):
            check_configuration(plans, "c", "plans.json", trusted=trusted)


def test_every_argument_of_a_resampling_that_nnunet_has_passes() -> None:
    """Whatever is known of a function, the function takes; nnU-Net hands it four more by their places."""
    for name, rules in _RESAMPLING_ARGUMENTS.items():
        function = recursive_find_resampling_fn_by_name(name)
        parameters = list(inspect.signature(function).parameters)
        assert set(rules) <= set(parameters[4:])
        assert set(parameters[4:]) - set(rules) <= {"device"}  # which no JSON holds
    assert set(_RESAMPLING_ARGUMENTS) == set(RESAMPLINGS)


def test_arguments_of_a_trusted_resampling_are_its_own() -> None:
    changed = small_configuration(resampling_fn_data="my_resampling", resampling_fn_data_kwargs={"nonsense": 1})
    plans = small_plans(configurations={"c": changed})
    check_configuration(plans, "c", "plans.json", trusted=True)
    with pytest.raises(BadInput, match="resampling_fn_data"):
        check_configuration(plans, "c", "plans.json")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gamma": "much", "bias_method": "none"},
        {"gamma": 0.7, "bias_method": "magic"},
        {"gamma": 0.7, "bias_method": "van_leemput"},
        {"gamma": 0.7, "bias_method": "van_leemput", "bias_field": {"classes": HUGE}},
        {"gamma": 0.7, "bias_method": "n4", "command": "rm"},
    ],
    ids=str,
)
def test_settings_of_the_intensity_steps_that_cannot_be_used(settings: dict[str, Any]) -> None:
    plans = small_plans(configurations={"3d_fullres": small_configuration(spine_preprocessing=settings)})
    with pytest.raises(BadInput, match="settings in the plans cannot be used"):
        check_configuration(plans, "3d_fullres", "plans.json")


NETWORKS = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "torch.hub.load",
    "nnunet_spine.networks.memory.training_bytes",
    "nnunet_spine.networks.unet.SpineUNet.eval",
    "monai.networks.nets",
    "monai.bundle.ConfigParser",
    "dynamic_network_architectures.architectures.unet.torch.load",
    "evil.dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "",
    None,
    ["monai.networks.nets.UNet"],
]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_networks_of_no_list_are_refused(network: Any) -> None:
    changed = small_configuration()
    changed["architecture"]["network_class_name"] = network
    with pytest.raises(BadInput, match="`network_class_name`.*expected a network of this package"):
        check_configuration(small_plans(configurations={"c": changed}), "c", "plans.json")


@pytest.mark.parametrize(
    "network",
    [
        "nnunet_spine.networks.unet.SpineUNet",
        "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "dynamic_network_architectures.architectures.primus.PrimusM",
        "monai.networks.nets.UNet",
        "monai.networks.nets.swin_unetr.SwinUNETR",
    ],
)
def test_networks_of_the_lists_pass(network: str) -> None:
    changed = small_configuration()
    changed["architecture"]["network_class_name"] = network
    check_configuration(small_plans(configurations={"c": changed}), "c", "plans.json")


@pytest.mark.parametrize(
    ("arguments", "imported"),
    [
        ({"channels": [HUGE]}, []),
        ({"channels": [5000]}, []),
        ({"channels": [1] * 65}, []),
        ({"dropout": float("inf")}, []),
        ({"a": [[[[[[1]]]]]]}, []),
        ({"act": "x" * 1000}, []),
        ({"conv_op": "os.system"}, ["conv_op"]),
        ({"conv_op": "torch.nn.functional.relu"}, ["conv_op"]),
        ({"conv_op": 3}, ["conv_op"]),
        ({}, ["conv_op"]),
        ({}, [3]),
        ({}, "conv_op"),
        ([], []),
    ],
    ids=str,
)
def test_arguments_of_a_network_are_plain_and_bounded(arguments: Any, imported: Any) -> None:
    architecture = {**RESENC, "arch_kwargs": arguments, "_kw_requires_import": imported}
    plans = small_plans(configurations={"c": small_configuration(architecture=architecture)})
    with pytest.raises(BadInput, match="architecture: `.*expected"):
        check_configuration(plans, "c", "plans.json")


def test_an_old_configuration_is_checked_as_well() -> None:
    for key, value in (("UNet_class_name", "os.system"), ("UNet_base_num_features", HUGE), ("conv_kernel_sizes", 3)):
        with pytest.raises(BadInput, match=f"`{key}`"):
            check_configuration(small_plans(configurations={"c": {**OLD_CONFIGURATION, key: value}}), "c", "plans.json")
    without = {k: v for k, v in OLD_CONFIGURATION.items() if k != "num_pool_per_axis"}
    with pytest.raises(BadInput, match="has no `num_pool_per_axis`"):
        check_configuration(small_plans(configurations={"c": without}), "c", "plans.json")


@pytest.mark.parametrize("parent", ["c", "d", "nowhere", 3, ["d"]], ids=str)
def test_inheritance_ends(parent: Any) -> None:
    configurations = {"c": {"inherits_from": parent}, "d": {"inherits_from": "c"}}
    with pytest.raises(BadInput, match="`inherits_from` is .*without a circle"):
        check_configuration(small_plans(configurations=configurations), "c", "plans.json")


def test_a_long_inheritance_is_resolved_without_recursion() -> None:
    configurations: dict[str, Any] = {f"c{n}": {"inherits_from": f"c{n - 1}"} for n in range(1, 199)}
    configurations["c0"] = small_configuration()
    plans = small_plans(configurations=configurations)
    check_plans(plans, "plans.json")
    assert check_configuration(plans, "c198", "plans.json")["batch_size"] == 2


def test_trusted_plans_may_name_other_code_and_nothing_more() -> None:
    changed = small_configuration(preprocessor_name="TheirPreprocessor", normalization_schemes=["Theirs"])
    changed["architecture"] = {**RESENC, "network_class_name": "their_package.nets.Net"}
    plans = small_plans(configurations={"c": changed}, image_reader_writer="TheirReader")
    with pytest.raises(BadInput, match=r"--trust-model \(or NNUNET_SPINE_TRUST_MODEL=1\) takes others"):
        check_plans(plans, "plans.json")
    check_plans(plans, "plans.json", trusted=True)
    assert check_configuration(plans, "c", "plans.json", trusted=True) == changed
    for key, value in (("data_identifier", ".."), ("patch_size", [HUGE] * 3), ("normalization_schemes", ["rm -rf"])):
        wrong = small_plans(configurations={"c": {**changed, key: value}}, image_reader_writer="TheirReader")
        with pytest.raises(BadInput, match=key):
            check_plans(wrong, "plans.json", trusted=True)
            check_configuration(wrong, "c", "plans.json", trusted=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[]", "holds a list; expected an object"),
        ('"plans"', "holds a text; expected an object"),
        ("null", "holds nothing; expected an object"),
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ('{"a": NaN}', "NaN, which is no number"),
        ('{"a": Infinity}', "no number"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "more than 4000 digits"),
        ("\x00", "not valid JSON"),
    ],
    ids=lambda text: text[:20],
)
def test_odd_json_is_a_sentence(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "plans.json"
    path.write_text(content)
    with pytest.raises(BadInput, match=words):
        read_plans(path)


def test_plans_are_where_they_say(tmp_path: Path) -> None:
    folder = tmp_path / "Dataset058_Spine"
    with pytest.raises(NotFound, match="nnunet-spine plan 58"):
        find_plans(folder, "nnUNetSpinePlans", "58")
    write_plans(folder)
    assert find_plans(folder, "nnUNetSpinePlans", "58") == small_plans()
    for key, value in (("dataset_name", "Dataset059_Other"), ("plans_name", "OtherPlans")):
        write_plans(folder, small_plans(**{key: value}))
        with pytest.raises(BadInput, match=f'`{key}` "{value}".*write elsewhere'):
            find_plans(folder, "nnUNetSpinePlans", "58")
    for name in ("../plans", "", "/plans"):
        with pytest.raises(BadInput, match="no name of plans"):
            find_plans(folder, name, "58")


WRONG_DATASETS: list[tuple[str, Any]] = [
    ("channel_names", None),
    ("channel_names", {}),
    ("channel_names", ["T1"]),
    ("channel_names", {"0": 1}),
    ("channel_names", {str(n): "T1" for n in range(100)}),
    ("labels", None),
    ("labels", {"0": "background", "1": "tumor"}),
    ("labels", {"background": 0, "tumor": -1}),
    ("labels", {"background": 0, "tumor": 1.5}),
    ("labels", {"background": 0, "tumor": HUGE}),
    ("labels", {"background": 0, "tumor": []}),
    ("labels", {"background": 0, "tumor": 2}),
    ("labels", {"background": 0, "cord": 1, "tumor": 3, "ignore": 4}),
    ("labels", {"background": 0, "tumor": 255}),
    ("labels", {"background": 0, **{f"l{n}": n for n in range(1, 2000)}}),
    ("labels.background", {"tumor": 1}),
    ("labels.background", {"background": 1, "tumor": 0}),
    ("labels.ignore", {"background": 0, "tumor": 1, "ignore": 1}),
    ("regions_class_order", {"background": 0, "whole": [1, 2], "core": 2}),
    ("file_ending", ".exe"),
    ("file_ending", "/../x.nii.gz"),
    ("file_ending", None),
    ("overwrite_image_reader_writer", "os"),
    ("dataset", ["a"]),
    ("dataset.a", {"a": {"images": ["/etc/passwd"], "label": "labelsTr/a.nii.gz"}}),
    ("dataset.a", {"a": {"images": ["imagesTr/a.nii.gz"], "label": "../../x.nii.gz"}}),
    ("dataset.a", {"a": {"images": ["$HOME/x"], "label": "labelsTr/a.nii.gz"}}),
    ("dataset.a", {"a": {"images": "imagesTr/a.nii.gz", "label": "labelsTr/a.nii.gz"}}),
    ("dataset.a", {"a": []}),
]


@pytest.mark.parametrize(("key", "value"), WRONG_DATASETS, ids=str)
def test_other_values_of_dataset_json_are_named(key: str, value: Any) -> None:
    name = "labels" if key == "regions_class_order" else key.split(".")[0]
    with pytest.raises(BadInput, match=f"dataset.json: `{key}`"):
        check_dataset_json({**DATASET, name: value}, "dataset.json")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"background": 0, "whole": [1, 2], "core": 2}, "regions_class_order": [1, 2]},
        {"labels": {"background": 0, "tumor": 1, "ignore": 2}},
        {"modality": {"0": "MRI"}},
        {"file_ending": ".nrrd", "overwrite_image_reader_writer": "None"},
        {"dataset": {"a": {"images": ["imagesTr/a_0000.nii.gz"], "label": "labelsTr/a.nii.gz"}}},
        {"numTraining": 3, "reference": "https://example.org", "licence": None},
    ],
    ids=str,
)
def test_other_data_sets_of_nnunet_pass(change: dict[str, Any]) -> None:
    check_dataset_json(json.loads(json.dumps({**DATASET, **change})), "dataset.json")
