"""Reading a study file: small, commented, and checked to the last key before anything starts."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.files import system_reason
from nnunet_spine.nnunet.environment import DEFAULT_TRAINER, PLANS_NAME
from nnunet_spine.nnunet.runtime import DEVICES
from nnunet_spine.protocol import PROTOCOL, BiasMethod, Precision
from nnunet_spine.workflow.plain_text import control_character
from nnunet_spine.workflow.slurm_options import read_constraint, read_extra, read_name
from nnunet_spine.workflow.study_settings import (
    NNUNET_PLANS,
    STEP_KINDS,
    AskedResources,
    ModelSettings,
    PlanSettings,
    SlurmSettings,
    StudySettings,
    number_text,
)
from nnunet_spine.workflow.study_yaml import Entry, optional, read_yaml

KEYS = (
    "source",
    "dataset",
    "name",
    "root",
    "output",
    "folds",
    "seed",
    "threads",
    "device",
    "tensorboard",
    "allow_partial",
    "models",
    "resources",
    "slurm",
    "notes",
)
MODEL_KEYS = ("trainer", "plans", "bias", "gamma", "memory_gib", "epochs", "seed", "precision", "method")
RESOURCE_KEYS = ("cpus", "gpus", "memory_gib", "hours", "partition")
SLURM_KEYS = (
    "partition",
    "account",
    "qos",
    "constraint",
    "accounting",
    "requeue",
    "stop_before_seconds",
    "poll_seconds",
    "extra",
)

DEFAULT_NAME = "IntraduralSpineTumor"
DEFAULT_DATASET = 58

MOST_MODELS = 200
MOST_FOLDS = 100
MOST_THREADS = 1024
MOST_EPOCHS = 10**6
MOST_CPUS = 10**4
MOST_GPUS = 1000
MOST_GIB = 10**6
MOST_HOURS = 10**4
MOST_NOTES = 100
MOST_SECONDS = 86_400
LARGEST_SEED = 2**32 - 1
LARGEST_GAMMA = 1000
LONGEST_PATH = 3500
"""Bytes; the system takes 4096, and nnU-Net's folders and files come below."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?|.*\.", re.IGNORECASE)
"""Names that Windows, and shares that it holds, do not take or change."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_METHOD = re.compile(r"[^\W_][^\n\t]{0,99}")


def read_study(file: Path) -> StudySettings:
    """Read a study file; its relative paths begin at its folder.

    Raises
    ------
    NotFound, BadInput
        Where the file is absent or anything in it is not as expected; file, line and key are named.
    """
    file = file.absolute()
    top = read_yaml(file)
    entries = top.mapping(KEYS, what="a study: keys such as output and models, each with its value")
    for needed in ("output", "models"):
        if needed not in entries:
            raise top.refuse(f"the key {needed} is missing. `nnunet-spine init` writes a study file to begin with.")
    source = optional(entries, "source", lambda e: _path(e, file.parent), None)
    if source is None and "dataset" not in entries:
        raise top.refuse("neither source nor dataset is given: name what to convert, or a data set that is converted.")
    output = _written_path(entries["output"], file.parent)
    seed = optional(entries, "seed", _seed, PROTOCOL.seed)
    return StudySettings(
        file=file,
        output=output,
        root=optional(entries, "root", lambda e: _written_path(e, file.parent), output if source is not None else None),
        source=source,
        dataset=optional(entries, "dataset", lambda e: e.integer(1, 999), DEFAULT_DATASET),
        name=optional(entries, "name", _dataset_name, DEFAULT_NAME),
        folds=optional(entries, "folds", lambda e: e.integer(2, MOST_FOLDS), PROTOCOL.folds),
        seed=seed,
        threads=optional(entries, "threads", lambda e: e.integer(1, MOST_THREADS), 1),
        device=optional(entries, "device", lambda e: e.choice(DEVICES), "auto"),
        tensorboard=optional(entries, "tensorboard", Entry.truth, False),
        allow_partial=optional(entries, "allow_partial", Entry.truth, False),
        models=_models(entries["models"], seed),
        resources=optional(entries, "resources", _resources, {}),
        slurm=optional(entries, "slurm", _slurm, SlurmSettings()),
        notes=optional(entries, "notes", _notes, ()),
        lines={key: entry.line for key, entry in entries.items()},
    )


def _path(entry: Entry, folder: Path) -> Path:
    """The real path of an entry; what is refused is not shown, since the source's path may name a patient."""
    text = entry.exact_text(what="a path")
    try:
        path = folder / Path(text).expanduser()
    except RuntimeError as error:
        raise entry.refuse("the path begins with the ~ of no user. Give it in full.") from error
    try:
        path = path.resolve()
        path.exists()
    except RuntimeError as error:
        raise entry.refuse("the path leads through links that go round in a circle. Mend the links.") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # whoever needs the place finds what else is wrong with it
            raise entry.refuse(f"no file can have this path: {system_reason(error)}. Shorten it.") from error
    return path


def _written_path(entry: Entry, folder: Path) -> Path:
    """The real path of a folder that the steps write, by programs that do not take every path."""
    path = _path(entry, folder)
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise entry.refuse(f"the path has more than {LONGEST_PATH} bytes, too many for what comes below. Shorten it.")
    odd = control_character(str(path))
    if odd is not None and "\ud800" <= odd <= "\udfff":
        raise entry.refuse("a folder of the path has a name that is not UTF-8, and ITK opens no file there. Rename it.")
    if odd is not None:
        raise entry.refuse(f"a folder of the path has the control character U+{ord(odd):04X} in its name. Rename it.")
    return path


def _notes(entry: Entry) -> tuple[str, ...]:
    notes = entry.texts()
    if len(notes) > MOST_NOTES:
        raise entry.refuse(f"found {len(notes)} notes; expected at most {MOST_NOTES}.")
    return notes


def _dataset_name(entry: Entry) -> str:
    text = entry.text()
    if not _NAME.fullmatch(text):
        raise entry.expected("letters, digits, _ and -, at most 100 (the number goes under dataset)")
    return text


def _seed(entry: Entry) -> int:
    return entry.integer(0, LARGEST_SEED)


def _models(entry: Entry, seed: int) -> tuple[ModelSettings, ...]:
    entries = entry.mapping(what="models by their labels")
    if not entries:
        raise entry.refuse("no model is named; expected at least one, such as `documented: {}`.")
    if len(entries) > MOST_MODELS:
        raise entry.refuse(f"found {len(entries)} models; expected at most {MOST_MODELS}.")
    models = tuple(_model(label, model, seed) for label, model in entries.items())
    if any(model.method for model in models):
        without = [model for model in models if not model.method]
        if without:
            raise entries[without[0].label].refuse("method is missing; give it to all models or to none.")
    _require_own_folders(models, entries)
    by_plans: dict[str, ModelSettings] = {}
    for model in models:
        first = by_plans.setdefault(model.plans.name, model)
        if first.plans != model.plans:
            raise entries[model.label].refuse(
                f"its plans {model.plans.name} differ from those of the same name in line {first.line} "
                f"({first.label}) in bias, gamma or memory_gib. Give one of them another name under plans."
            )
    return models


def _require_own_folders(models: Sequence[ModelSettings], entries: dict[str, Entry]) -> None:
    """Refuse names that are one and the same where a file system does not tell capital letters from small ones."""
    for kind in ("label", "plans"):
        first: dict[str, tuple[str, int]] = {}
        for model in models:
            name = model.label if kind == "label" else model.plans.name
            other, line = first.setdefault(name.lower(), (name, model.line))
            if other != name:
                raise entries[model.label].refuse(
                    f"the {kind} {name} and {other} of line {line} differ only in capital letters, and some file "
                    "systems do not tell them apart. Give one of them another name."
                )


def _model(label: str, entry: Entry, seed: int) -> ModelSettings:
    if not _LABEL.fullmatch(label):
        raise entry.refuse("a label is at most 60 letters, digits, _, . and -, the first being a letter or digit.")
    if _RESERVED.fullmatch(label):
        raise entry.refuse("Windows and its shares take no folder of this name. Choose another label.")
    entries = entry.mapping(MODEL_KEYS, what="the model's keys, or {} for the documented protocol")
    return ModelSettings(
        label=label,
        trainer=optional(entries, "trainer", _identifier, DEFAULT_TRAINER),
        plans=_plans(entries),
        epochs=optional(entries, "epochs", lambda e: e.integer(1, MOST_EPOCHS), None),
        seed=optional(entries, "seed", _seed, seed),
        precision=optional(entries, "precision", lambda e: e.choice(list(Precision)), None),
        method=optional(entries, "method", _method, None),
        line=entry.line,
    )


def _method(entry: Entry) -> str:
    text = entry.text()
    if not _METHOD.fullmatch(text):
        raise entry.expected("a name of at most 100 characters in one line, the first being a letter or digit")
    return text


def _identifier(entry: Entry) -> str:
    text = entry.text()
    if not _IDENTIFIER.fullmatch(text):
        raise entry.expected("a name of letters, digits and _, at most 100, the first not being a digit")
    return text


def _plans(entries: dict[str, Entry]) -> PlanSettings:
    bias = optional(entries, "bias", lambda e: e.choice([method.value for method in BiasMethod]), None)
    gamma = optional(entries, "gamma", lambda e: e.number(LARGEST_GAMMA), None)
    memory = optional(entries, "memory_gib", lambda e: e.number(MOST_GIB), None)
    name = optional(entries, "plans", _identifier, None)
    if name == NNUNET_PLANS:
        for key in ("bias", "gamma", "memory_gib"):
            if key in entries:
                raise entries[key].refuse(f"{NNUNET_PLANS} are nnU-Net's own plans, which do not have this. Remove it.")
    return PlanSettings(name or _plans_name(bias, gamma, memory), bias, gamma, memory)


def _plans_name(bias: str | None, gamma: float | None, memory_gib: float | None) -> str:
    """Name of plans by what they differ in from the protocol's, so that models of the same options share them."""
    parts = [f"bias_{bias}"] if bias is not None else []
    parts += [f"gamma_{number_text(gamma)}"] if gamma is not None else []
    parts += [f"memory_{number_text(memory_gib)}"] if memory_gib is not None else []
    return "_".join([PLANS_NAME, *parts]).replace(".", "p").replace("-", "m").replace("+", "")


def _resources(entry: Entry) -> dict[str, AskedResources]:
    return {kind: _asked(asked) for kind, asked in entry.mapping(STEP_KINDS).items()}


def _asked(entry: Entry) -> AskedResources:
    entries = entry.mapping(RESOURCE_KEYS)
    return AskedResources(
        cpus=optional(entries, "cpus", lambda e: e.integer(1, MOST_CPUS), None),
        gpus=optional(entries, "gpus", lambda e: e.integer(0, MOST_GPUS), None),
        memory_gib=optional(entries, "memory_gib", lambda e: e.number(MOST_GIB), None),
        hours=optional(entries, "hours", lambda e: e.number(MOST_HOURS), None),
        partition=optional(entries, "partition", read_name, None),
    )


def _slurm(entry: Entry) -> SlurmSettings:
    entries = entry.mapping(SLURM_KEYS)
    defaults = SlurmSettings()
    return SlurmSettings(
        partition=optional(entries, "partition", read_name, None),
        account=optional(entries, "account", read_name, None),
        qos=optional(entries, "qos", read_name, None),
        constraint=optional(entries, "constraint", read_constraint, None),
        accounting=optional(entries, "accounting", lambda e: e.choice(("on", "off")), "on") == "on",
        requeue=optional(entries, "requeue", Entry.truth, defaults.requeue),
        stop_before_seconds=optional(
            entries, "stop_before_seconds", lambda e: e.integer(5, MOST_SECONDS), defaults.stop_before_seconds
        ),
        poll_seconds=optional(entries, "poll_seconds", lambda e: e.integer(1, MOST_SECONDS), defaults.poll_seconds),
        extra=optional(entries, "extra", read_extra, None),
    )
