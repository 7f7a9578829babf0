"""Reading a study file: small, commented, and checked to the last key before anything starts."""

from __future__ import annotations

import re
from pathlib import Path

from nnunet_spine.errors import BadInput
from nnunet_spine.nnunet.environment import DEFAULT_TRAINER, PLANS_NAME
from nnunet_spine.nnunet.runtime import DEVICES
from nnunet_spine.protocol import PROTOCOL, BiasMethod, Precision
from nnunet_spine.workflow.study_settings import (
    NNUNET_PLANS,
    STEP_KINDS,
    AskedResources,
    ModelSettings,
    PlanSettings,
    SlurmSettings,
    StudySettings,
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

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,59}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


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
    output = _path(entries["output"], file.parent)
    seed = optional(entries, "seed", lambda e: e.integer(0), PROTOCOL.seed)
    return StudySettings(
        file=file,
        output=output,
        root=optional(entries, "root", lambda e: _path(e, file.parent), output if source is not None else None),
        source=source,
        dataset=optional(entries, "dataset", lambda e: e.integer(1, 999), DEFAULT_DATASET),
        name=optional(entries, "name", _dataset_name, DEFAULT_NAME),
        folds=optional(entries, "folds", lambda e: e.integer(2), PROTOCOL.folds),
        seed=seed,
        threads=optional(entries, "threads", lambda e: e.integer(1), 1),
        device=optional(entries, "device", lambda e: e.choice(DEVICES), "auto"),
        tensorboard=optional(entries, "tensorboard", Entry.truth, False),
        allow_partial=optional(entries, "allow_partial", Entry.truth, False),
        models=_models(entries["models"], seed),
        resources=optional(entries, "resources", _resources, {}),
        slurm=optional(entries, "slurm", _slurm, SlurmSettings()),
        notes=optional(entries, "notes", Entry.texts, ()),
    )


def _path(entry: Entry, folder: Path) -> Path:
    text = entry.text(what="a path")
    try:
        return (folder / Path(text).expanduser()).resolve()
    except RuntimeError as error:
        raise entry.refuse(f"{text!r} begins with the ~ of no user. Give the path in full.") from error


def _dataset_name(entry: Entry) -> str:
    text = entry.text()
    if not _NAME.fullmatch(text):
        raise entry.expected("letters, digits, _ and - (the number goes under dataset)")
    return text


def _models(entry: Entry, seed: int) -> tuple[ModelSettings, ...]:
    entries = entry.mapping(what="models by their labels")
    if not entries:
        raise entry.refuse("no model is named; expected at least one, such as `documented: {}`.")
    models = tuple(_model(label, model, seed) for label, model in entries.items())
    if any(model.method for model in models):
        without = [model for model in models if not model.method]
        if without:
            raise entries[without[0].label].refuse("method is missing; give it to all models or to none.")
    by_plans: dict[str, ModelSettings] = {}
    for model in models:
        first = by_plans.setdefault(model.plans.name, model)
        if first.plans != model.plans:
            raise entries[model.label].refuse(
                f"its plans {model.plans.name} differ from those of the same name in line {first.line} "
                f"({first.label}) in bias, gamma or memory_gib. Give one of them another name under plans."
            )
    return models


def _model(label: str, entry: Entry, seed: int) -> ModelSettings:
    if not _LABEL.fullmatch(label):
        raise entry.refuse("a label is at most 60 letters, digits, _, . and -, the first being a letter or digit.")
    entries = entry.mapping(MODEL_KEYS, what="the model's keys, or {} for the documented protocol")
    return ModelSettings(
        label=label,
        trainer=optional(entries, "trainer", _identifier, DEFAULT_TRAINER),
        plans=_plans(entries),
        epochs=optional(entries, "epochs", lambda e: e.integer(1), None),
        seed=optional(entries, "seed", lambda e: e.integer(0), seed),
        precision=optional(entries, "precision", lambda e: e.choice(list(Precision)), None),
        method=optional(entries, "method", Entry.text, None),
        line=entry.line,
    )


def _identifier(entry: Entry) -> str:
    text = entry.text()
    if not text.isidentifier():
        raise entry.expected("a name of letters, digits and _")
    return text


def _plans(entries: dict[str, Entry]) -> PlanSettings:
    bias = optional(entries, "bias", lambda e: e.choice([method.value for method in BiasMethod]), None)
    gamma = optional(entries, "gamma", Entry.number, None)
    memory = optional(entries, "memory_gib", Entry.number, None)
    name = optional(entries, "plans", _identifier, None)
    if name == NNUNET_PLANS:
        for key in ("bias", "gamma", "memory_gib"):
            if key in entries:
                raise entries[key].refuse(f"{NNUNET_PLANS} are nnU-Net's own plans, which do not have this. Remove it.")
    return PlanSettings(name or _plans_name(bias, gamma, memory), bias, gamma, memory)


def _plans_name(bias: str | None, gamma: float | None, memory_gib: float | None) -> str:
    """Name of plans by what they differ in from the protocol's, so that models of the same options share them."""
    parts = [f"bias_{bias}"] if bias is not None else []
    parts += [f"gamma_{gamma:g}"] if gamma is not None else []
    parts += [f"memory_{memory_gib:g}"] if memory_gib is not None else []
    return "_".join([PLANS_NAME, *parts]).replace(".", "p").replace("-", "m").replace("+", "")


def _resources(entry: Entry) -> dict[str, AskedResources]:
    return {kind: _asked(asked) for kind, asked in entry.mapping(STEP_KINDS).items()}


def _asked(entry: Entry) -> AskedResources:
    entries = entry.mapping(RESOURCE_KEYS)
    return AskedResources(
        cpus=optional(entries, "cpus", lambda e: e.integer(1), None),
        gpus=optional(entries, "gpus", lambda e: e.integer(0), None),
        memory_gib=optional(entries, "memory_gib", Entry.number, None),
        hours=optional(entries, "hours", Entry.number, None),
        partition=optional(entries, "partition", Entry.text, None),
    )


def _slurm(entry: Entry) -> SlurmSettings:
    entries = entry.mapping(SLURM_KEYS)
    defaults = SlurmSettings()
    return SlurmSettings(
        partition=optional(entries, "partition", Entry.text, None),
        account=optional(entries, "account", Entry.text, None),
        qos=optional(entries, "qos", Entry.text, None),
        constraint=optional(entries, "constraint", Entry.text, None),
        accounting=optional(entries, "accounting", lambda e: e.choice(("on", "off")), "on") == "on",
        requeue=optional(entries, "requeue", Entry.truth, defaults.requeue),
        stop_before_seconds=optional(
            entries, "stop_before_seconds", lambda e: e.integer(5), defaults.stop_before_seconds
        ),
        poll_seconds=optional(entries, "poll_seconds", lambda e: e.integer(1), defaults.poll_seconds),
        extra=optional(entries, "extra", Entry.text, None),
    )


def check_source(study: StudySettings) -> None:
    """Refuse a study whose source, or whose converted data set, is not there.

    Raises
    ------
    BadInput, NotFound
        What is absent is named.
    """
    if study.source is None:
        name = study.dataset_name()
        if not (study.workspace().raw / name / "dataset.json").is_file():
            raise BadInput(
                f"{study.file}: dataset: there is no raw data set {study.workspace().raw / name}. "
                "Name its folder's parent under root, or give a source to convert."
            )
    elif not study.source.exists():
        raise BadInput(f"{study.file}: source: there is no {study.source}. Check the path, which begins at the file.")
