"""Plans and descriptions of data sets that other people wrote, read and checked before nnU-Net acts by them.

nnU-Net joins names in them to paths, imports what they name, and takes memory as they ask. Here a name stays a name, a
class is one of a list, and a size has a bound. Imports neither torch nor nnU-Net.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.files import read_object
from nnunet_spine.nnunet.environment import TRUST_OPTION, TRUST_VARIABLE, is_trusted
from nnunet_spine.nnunet.orientation import ORIENTATION_KEY, PREPROCESSOR_NAME, is_record
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY, IntensitySettings

FILE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".gipl", ".png", ".bmp", ".tif", ".tiff")
"""Those that nnU-Net reads."""

READERS = (
    *("SimpleITKIO", "SimpleITKIOWithReorient", "NibabelIO", "NibabelIOWithReorient"),
    *("NaturalImage2DIO", "Tiff3DIO"),
)
PREPROCESSORS = (PREPROCESSOR_NAME, "DefaultPreprocessor")
NORMALIZATIONS = (
    *("ZScoreNormalization", "CTNormalization", "NoNormalization"),
    *("RescaleTo01Normalization", "RGBTo01Normalization"),
)
RESAMPLINGS = ("resample_data_or_seg_to_shape", "resample_torch_fornnunet", "no_resampling_hack")
"""Those that take what nnU-Net hands to a function of plans: an array, its new shape, and both spacings."""

OLD_NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")

NETWORKS = re.compile(
    r"nnunet_spine\.networks\.unet\.SpineUNet|"
    r"(dynamic_network_architectures\.architectures|monai\.networks\.nets)(\.[a-z_][a-z0-9_]*)*\.[A-Z]\w*"
)
"""Classes of networks that plans may name."""

PARTS_OF_NETWORKS = re.compile(
    r"(torch\.nn|dynamic_network_architectures\.building_blocks)(\.[a-z_][a-z0-9_]*)*\.[A-Z]\w*"
)
"""Classes that the arguments of a network may name."""

LONGEST_NAME = 128
"""Bytes of a name that becomes part of a file's or folder's name."""

MOST_CONFIGURATIONS = 200
MOST_LABELS = 1024
MOST_CHANNELS = 64
LARGEST_LABEL = 65535
LARGEST_SIDE = 4096
MOST_VOXELS = 2**28
"""Of a patch; nnU-Net's largest have some 2**24."""

LARGEST_WHOLE, LARGEST_NUMBER = 4096, 1e6
"""Of a network's arguments; nnU-Net's have 512 channels at most."""

LONGEST_LIST, DEEPEST = 64, 5


@dataclass(frozen=True)
class Rule:
    """What a value must be.

    Parameters
    ----------
    words
        In a message, after "expected".
    holds
        Whether a value is so; any value may be asked for.
    needed
        Whether it must be there.
    closed
        Whether a trusted model may have others, as long as they are names.
    """

    words: str
    holds: Callable[[Any], bool]
    needed: bool = True
    closed: bool = False


def is_plain_name(value: Any) -> bool:
    """Whether a text can be one part of a path and stays where it is put."""
    return (
        isinstance(value, str)
        and 0 < len(value.encode("utf-8", "replace")) <= LONGEST_NAME
        and value == value.strip()
        and value[0] not in ".-~"
        and value.isprintable()
        and not set(value) & set('/\\:*?"<>|$')
    )


def check_name(value: str) -> None:
    """Refuse a name of plans, a trainer or a configuration that cannot be one; `BadInput`."""
    if not is_plain_name(value):
        raise BadInput(f"{_shown(value)} is no name of plans, a trainer or a configuration; expected {_NAME.words}.")


def _is_number(value: Any, least: float = -math.inf, most: float = math.inf) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _is_list(value: Any, holds: Callable[[Any], bool], *lengths: int) -> bool:
    return isinstance(value, list) and (not lengths or len(value) in lengths) and all(map(holds, value))


def _is_patch(value: Any) -> bool:
    return _is_list(value, lambda n: _is_whole(n, 1, LARGEST_SIDE), 2, 3) and math.prod(value) <= MOST_VOXELS


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Whether a value is a number, text or nothing, or a list or object of such, of sizes that a network has."""
    if isinstance(value, list | dict):
        items = list(value.values()) if isinstance(value, dict) else value
        return depth < DEEPEST and len(items) <= LONGEST_LIST and all(_is_plain(item, depth + 1) for item in items)
    if isinstance(value, str):
        return len(value) <= LONGEST_NAME
    if type(value) is int:
        return abs(value) <= LARGEST_WHOLE
    return value is None or isinstance(value, bool) or _is_number(value, -LARGEST_NUMBER, LARGEST_NUMBER)


def _is_object(value: Any, holds: Callable[[Any], bool], most: int = LONGEST_LIST, least: int = 1) -> bool:
    return isinstance(value, dict) and least <= len(value) <= most and all(map(holds, value.values()))


def _is_order(value: Any) -> bool:
    return _is_list(value, lambda n: _is_whole(n, 0, 2), 3) and sorted(value) == [0, 1, 2]


def _of(names: tuple[str, ...], *, needed: bool = True) -> Rule:
    return Rule(f"one of {', '.join(names)}", lambda value: value in names, needed, closed=True)


_NAME = Rule(f"a name of at most {LONGEST_NAME} bytes without separators", is_plain_name)
_ORDER = Rule("0, 1 and 2 in some order", _is_order)
_WHOLE_LISTS = Rule("lists of whole numbers of a network's size", lambda v: isinstance(v, list) and _is_plain(v))
_FEATURES = Rule(f"a whole number from 1 to {LARGEST_WHOLE}", lambda v: _is_whole(v, 1, LARGEST_WHOLE))
_OPTIONS = Rule("an object of plain values", lambda v: isinstance(v, dict) and _is_plain(v))

_TRUTH = Rule("a truth value", lambda v: isinstance(v, bool))
_SPLINE = Rule("the order of a spline, 0 to 5", lambda v: _is_whole(v, 0, 5))
_MODES = Rule("linear, nearest, nearest-exact or area", lambda v: v in ("linear", "nearest", "nearest-exact", "area"))
_SEPARATE: dict[str, Rule] = {
    "is_seg": _TRUTH,
    "force_separate_z": Rule("a truth value or null", lambda v: v is None or isinstance(v, bool)),
    "separate_z_anisotropy_threshold": Rule("a number from 0", lambda v: _is_number(v, 0, LARGEST_NUMBER)),
}

_RESAMPLING_ARGUMENTS: dict[str, dict[str, Rule]] = {
    "resample_data_or_seg_to_shape": {**_SEPARATE, "order": _SPLINE, "order_z": _SPLINE},
    "resample_torch_fornnunet": {
        **_SEPARATE,
        "num_threads": Rule("a whole number from 1 to 1024", lambda v: _is_whole(v, 1, 1024)),
        "memefficient_seg_resampling": _TRUTH,
        "mode": _MODES,
        "aniso_axis_mode": _MODES,
    },
    "no_resampling_hack": {},
}
"""By the function of `RESAMPLINGS`; each may be missing."""

_PLANS: dict[str, Rule] = {
    "dataset_name": _NAME,
    "plans_name": _NAME,
    "image_reader_writer": _of(READERS),
    "label_manager": _of(("LabelManager",), needed=False),
    "transpose_forward": _ORDER,
    "transpose_backward": _ORDER,
    ORIENTATION_KEY: Rule("what `nnunet-spine plan` writes: axes and an angle", is_record, needed=False),
    **{
        f"foreground_intensity_properties_{key}": Rule(
            "statistics of each channel",
            lambda v: _is_object(v, lambda one: _is_object(one, _is_number), least=0),
            needed=False,
        )
        for key in ("per_channel", "by_modality")
    },
}

_CONFIGURATION: dict[str, Rule] = {
    "data_identifier": _NAME,
    "preprocessor_name": _of(PREPROCESSORS),
    "batch_size": Rule("a whole number from 1 to 4096", lambda v: _is_whole(v, 1, 4096)),
    "patch_size": Rule(f"2 or 3 sizes of at most {LARGEST_SIDE}, {MOST_VOXELS} voxels in all", _is_patch),
    "median_image_size_in_voxels": Rule(
        "2 or 3 sizes", lambda v: _is_list(v, lambda n: _is_number(n, 1, LARGEST_NUMBER), 2, 3), needed=False
    ),
    "spacing": Rule("2 or 3 distances in mm", lambda v: _is_list(v, lambda n: _is_number(n, 1e-4, 1e4), 2, 3)),
    "normalization_schemes": Rule(
        f"a list of {', '.join(NORMALIZATIONS)}",
        lambda v: _is_list(v, lambda name: name in NORMALIZATIONS) and 0 < len(v) <= MOST_CHANNELS,
        closed=True,
    ),
    "use_mask_for_norm": Rule("a list of truth values", lambda v: _is_list(v, lambda one: isinstance(one, bool))),
    "batch_dice": Rule("a truth value", lambda v: isinstance(v, bool), needed=False),
    **{f"resampling_fn_{of}": _of(RESAMPLINGS) for of in ("data", "seg", "probabilities")},
    **{f"resampling_fn_{of}_kwargs": _OPTIONS for of in ("data", "seg", "probabilities")},
    "previous_stage": Rule(_NAME.words, lambda v: v is None or is_plain_name(v), needed=False),
    "next_stage": Rule(
        "names without separators",
        lambda v: v is None or is_plain_name(v) or _is_list(v, is_plain_name),
        needed=False,
    ),
}

_ARCHITECTURE: dict[str, Rule] = {
    "network_class_name": Rule(
        "a network of this package, of dynamic_network_architectures or of MONAI",
        lambda v: isinstance(v, str) and NETWORKS.fullmatch(v) is not None,
        closed=True,
    ),
    "arch_kwargs": Rule(
        f"plain arguments: lists of at most {LONGEST_LIST} entries, whole numbers of at most {LARGEST_WHOLE}",
        lambda v: isinstance(v, dict) and _is_plain(v),
    ),
    "_kw_requires_import": Rule("a list of arguments", lambda v: _is_list(v, lambda one: isinstance(one, str))),
}

_OLD_ARCHITECTURE: dict[str, Rule] = {
    "UNet_class_name": _of(OLD_NETWORKS),
    "UNet_base_num_features": _FEATURES,
    "unet_max_num_features": _FEATURES,
    "n_conv_per_stage_encoder": _WHOLE_LISTS,
    "n_conv_per_stage_decoder": _WHOLE_LISTS,
    "num_pool_per_axis": _WHOLE_LISTS,
    "pool_op_kernel_sizes": _WHOLE_LISTS,
    "conv_kernel_sizes": _WHOLE_LISTS,
}
"""Of plans that nnU-Net wrote before version 2.5."""

_DATASET: dict[str, Rule] = {
    "file_ending": Rule(f"one of {', '.join(FILE_ENDINGS)}", lambda v: v in FILE_ENDINGS),
    "overwrite_image_reader_writer": _of((*READERS, "None"), needed=False),
    "regions_class_order": Rule(
        "a list of labels", lambda v: v is None or _is_list(v, lambda n: _is_whole(n, 0, LARGEST_LABEL)), needed=False
    ),
}


def read_plans(path: Path, *, trusted: bool = False) -> dict[str, Any]:
    """Read a plans file and check what does not depend on the configuration.

    Parameters
    ----------
    path
        The file.
    trusted
        Whether classes and functions may be others than those of the lists.

    Raises
    ------
    NotFound, BadInput
        As for `files.read_json`; `BadInput` also if a value is not what nnU-Net writes. It is named.
    """
    plans = read_object(path)
    check_plans(plans, str(path), trusted=trusted)
    return plans


def check_plans(plans: Mapping[str, Any], where: str, *, trusted: bool = False) -> None:
    """Check what in plans does not depend on the configuration; `BadInput` names what is wrong in `where`."""
    configurations = plans.get("configurations", {})
    if not isinstance(configurations, dict) or len(configurations) > MOST_CONFIGURATIONS:
        raise _wrong(where, "configurations", configurations, f"an object of at most {MOST_CONFIGURATIONS}")
    for name, configuration in configurations.items():
        if not is_plain_name(name) or not isinstance(configuration, dict):
            raise _wrong(where, f"configurations.{_named(name)}", configuration, f"an object under {_NAME.words}")
        if "data_identifier" in configuration:
            _check(configuration, {"data_identifier": _NAME}, f"{where}, configuration {name}", trusted=trusted)
    _check(plans, _PLANS, where, trusted=trusted)
    forward, backward = plans["transpose_forward"], plans["transpose_backward"]
    if [forward[axis] for axis in backward] != [0, 1, 2]:
        inverse = sorted(range(3), key=forward.__getitem__)
        raise _wrong(where, "transpose_backward", backward, f"{inverse}, which undoes `transpose_forward` {forward}")


def check_configuration(
    plans: Mapping[str, Any], configuration: str, where: str, *, trusted: bool = False
) -> dict[str, Any]:
    """Check a configuration of plans, with what it inherits, and return it.

    Parameters
    ----------
    plans
        Plans that `check_plans` passed.
    configuration
        Name of the configuration.
    where
        Where the plans are from, for messages.
    trusted
        As for `read_plans`.

    Raises
    ------
    BadInput
        If the plans do not have it, or a value is not what nnU-Net writes.
    """
    found = _inherited(plans.get("configurations", {}), configuration, where)
    here = f"{where}, configuration {configuration}"
    _check(found, _CONFIGURATION, here, trusted=trusted)
    if len(found["spacing"]) != len(found["patch_size"]):
        raise _wrong(here, "spacing", found["spacing"], f"as many as `patch_size` has, {len(found['patch_size'])}")
    if len(found["use_mask_for_norm"]) != len(found["normalization_schemes"]):
        raise _wrong(here, "use_mask_for_norm", found["use_mask_for_norm"], "one for each of `normalization_schemes`")
    _check_resampling(found, here)
    if found["preprocessor_name"] == PREPROCESSOR_NAME:
        _check_ours(found, here)
    if "architecture" in found:
        _check_architecture(found["architecture"], f"{here}, architecture", trusted=trusted)
    else:
        _check(found, _OLD_ARCHITECTURE, here, trusted=trusted)
    return found


def _check_resampling(configuration: Mapping[str, Any], where: str) -> None:
    """Check the arguments of resampling functions that nnU-Net has; those of a trusted model's own are not known."""
    for function in ("resampling_fn_data", "resampling_fn_seg", "resampling_fn_probabilities"):
        known = _RESAMPLING_ARGUMENTS.get(str(configuration[function]))
        if known is None:
            continue
        for name, value in configuration[f"{function}_kwargs"].items():
            key = f"{function}_kwargs.{_named(name)}"
            if name not in known:
                has = f"one of the arguments {', '.join(known)}" if known else "no argument"
                raise _wrong(where, key, value, f"{has} of {configuration[function]}")
            if not known[name].holds(value):
                raise _wrong(where, key, value, known[name].words)


def _check_ours(configuration: Mapping[str, Any], where: str) -> None:
    """Check what only this package's preprocessor reads."""
    if len(configuration["patch_size"]) != 3:
        raise _wrong(where, "patch_size", configuration["patch_size"], "3 sizes")
    settings = configuration.get(SETTINGS_KEY)
    if not isinstance(settings, dict):
        raise _wrong(where, SETTINGS_KEY, settings, "the settings of the intensity steps. Run `nnunet-spine plan`")
    IntensitySettings.from_json(settings)


def _check_architecture(architecture: Any, where: str, *, trusted: bool) -> None:
    if not isinstance(architecture, dict):
        raise _wrong(where, "architecture", architecture, "an object")
    _check(architecture, _ARCHITECTURE, where, trusted=trusted)
    arguments = architecture["arch_kwargs"]
    for name in architecture["_kw_requires_import"]:
        value = arguments.get(name)
        known = value is None or (isinstance(value, str) and PARTS_OF_NETWORKS.fullmatch(value) is not None)
        if name not in arguments or not (known or (trusted and isinstance(value, str))):
            raise _wrong(where, f"arch_kwargs.{_named(name)}", value, f"a class of torch.nn. {_TRUSTED}")


def _inherited(configurations: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    """A configuration with what it inherits, as nnU-Net resolves it."""
    chain: list[str] = []
    parent: Any = name
    while parent is not None:
        if not isinstance(parent, str) or parent not in configurations or parent in chain:
            has = ", ".join(configurations) or "none"
            if not chain:
                raise BadInput(f"{where} has no configuration {name[:LONGEST_NAME]}; it has {has}.")
            expected = f"another of the configurations {has}, without a circle"
            raise _wrong(f"{where}, configuration {chain[-1]}", "inherits_from", parent, expected)
        chain.append(parent)
        parent = configurations[parent].get("inherits_from")
    found: dict[str, Any] = {}
    for one in reversed(chain):
        found.update(configurations[one])
    return found


def read_dataset_json(path: Path) -> dict[str, Any]:
    """Read nnU-Net's description of a data set and check it.

    Raises
    ------
    NotFound, BadInput
        As for `files.read_json`; `BadInput` also if a value is not what nnU-Net reads.
    """
    content = read_object(path)
    check_dataset_json(content, str(path))
    return content


def check_dataset_json(content: Mapping[str, Any], where: str) -> None:
    """Check nnU-Net's description of a data set; `BadInput` names what is wrong in `where`."""
    key = "modality" if "modality" in content else "channel_names"
    channels = Rule("a text for each channel", lambda v: _is_object(v, lambda t: isinstance(t, str), MOST_CHANNELS))
    _check(content, {key: channels, **_DATASET}, where, trusted=False)
    labels = content.get("labels")
    if not _is_object(labels, _is_label, MOST_LABELS) or not isinstance(labels, dict):
        raise _wrong(where, "labels", labels, f"a whole number up to {LARGEST_LABEL}, or a list of them, by name")
    if labels.get("background") != 0 or type(labels.get("background")) is not int:
        raise _wrong(where, "labels.background", labels.get("background"), "0")
    _check_special_labels(content, labels, where)
    _check_listed_images(content.get("dataset"), where)


def _is_label(value: Any) -> bool:
    def is_one(one: Any) -> bool:
        return _is_whole(one, 0, LARGEST_LABEL)

    return is_one(value) or (_is_list(value, is_one) and 0 < len(value) <= MOST_LABELS)


def _check_special_labels(content: Mapping[str, Any], labels: Mapping[str, Any], where: str) -> None:
    """Check the label to ignore, and the order of regions, as nnU-Net asserts them."""
    plain = {name: value if isinstance(value, list) else [value] for name, value in labels.items() if name != "ignore"}
    largest = max(max(values) for values in plain.values())
    if "ignore" in labels and labels["ignore"] != largest + 1:
        raise _wrong(where, "labels.ignore", labels["ignore"], f"{largest + 1}, one above the others")
    whole = {value for values in plain.values() for value in values}
    if not any(isinstance(value, list) for value in labels.values()) and whole != set(range(largest + 1)):
        raise _wrong(where, "labels", labels, "the whole numbers from 0 on, without a gap: nnU-Net numbers classes so")
    if any(len(values) > 1 for values in plain.values()):
        regions = sum(set(values) != {0} for values in plain.values())
        order = content.get("regions_class_order")
        if not isinstance(order, list) or len(order) != regions:
            raise _wrong(where, "regions_class_order", order, f"a label for each of {regions} regions")


def _check_listed_images(listed: Any, where: str) -> None:
    """Refuse images that are named one by one and lie outside the data set's folder."""
    if listed is None:
        return
    if not isinstance(listed, dict):
        raise _wrong(where, "dataset", listed, "an object of cases")
    for case, files in listed.items():
        paths = [files.get("label"), *_as_list(files.get("images"))] if isinstance(files, dict) else [None]
        if not is_plain_name(case) or not all(_stays(path) for path in paths):
            raise _wrong(where, f"dataset.{_named(case)}", files, "`images` and a `label` in the data set's folder")


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [None]


def _stays(path: Any) -> bool:
    """Whether a path that nnU-Net joins to a folder, variables replaced, stays in it."""
    if not isinstance(path, str) or not path or set(path) & set("$~\\\0"):
        return False
    return not path.startswith("/") and ".." not in PurePosixPath(path).parts


_TRUSTED = f"{TRUST_OPTION} (or {TRUST_VARIABLE}=1) takes others, and runs the code that they are"


def _check(content: Mapping[str, Any], rules: Mapping[str, Rule], where: str, *, trusted: bool) -> None:
    for key, rule in rules.items():
        if key not in content:
            if rule.needed:
                raise BadInput(f"{where} has no `{key}`; expected {rule.words}. Plan the data set again.")
        elif not rule.holds(content[key]) and not (trusted and rule.closed and _is_dotted(content[key])):
            raise _wrong(where, key, content[key], f"{rule.words}. {_TRUSTED}" if rule.closed else rule.words)


def _is_dotted(value: Any) -> bool:
    """Whether a value is a name of Python's, or a list of such."""
    names = value if isinstance(value, list) else [value]
    return all(isinstance(name, str) and all(part.isidentifier() for part in name.split(".")) for name in names)


def _wrong(where: str, key: str, value: Any, expected: str) -> BadInput:
    return BadInput(f"{where}: `{key}` is {_shown(value)}; expected {expected.rstrip('.')}.")


def _named(key: Any) -> str:
    return _shown(key).strip('"')


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_before_training(plans: Mapping[str, Any], configuration: str, dataset_json: Mapping[str, Any]) -> None:
    """Check what a trainer is given, which nnU-Net's own command has read; errors as for the other checks."""
    trusted = is_trusted()
    check_plans(plans, "The plans", trusted=trusted)
    check_configuration(plans, configuration, "The plans", trusted=trusted)
    check_dataset_json(dataset_json, "dataset.json")


def check_belongs(plans: Mapping[str, Any], dataset_name: str, path: Path) -> None:
    """Check that plans name themselves as their file and folder do: nnU-Net writes results where the plans say.

    Raises
    ------
    BadInput
        If they name another data set, or other plans.
    """
    for key, name in (("dataset_name", dataset_name), ("plans_name", path.stem)):
        if plans[key] != name:
            raise BadInput(
                f"{path} has `{key}` {_shown(plans[key])} and lies where that of {_shown(name)} belongs: nnU-Net would "
                "write elsewhere. Plan the data set again, or correct the file."
            )


def find_plans(folder: Path, plans_name: str, dataset: str, *, trusted: bool = False) -> dict[str, Any]:
    """Plans of a data set by their name, checked.

    Parameters
    ----------
    folder
        The data set's folder below nnUNet_preprocessed.
    plans_name
        Name of the plans, without suffix.
    dataset
        What the user calls the data set, for the remedy.
    trusted
        As for `read_plans`.

    Raises
    ------
    NotFound, BadInput
        If there are none, or they cannot be used.
    """
    check_name(plans_name)
    path = folder / f"{plans_name}.json"
    if not path.is_file():
        raise NotFound(f"There are no plans {plans_name} in {folder}. Make them with `nnunet-spine plan {dataset}`.")
    plans = read_plans(path, trusted=trusted)
    check_belongs(plans, folder.name, path)
    return plans
