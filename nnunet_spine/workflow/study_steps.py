"""The steps of a study, what each needs, and whether what it made is what the study asks for now.

A step's fingerprint covers its settings and the results of the steps before it. A step that ended well writes a record
with its fingerprint, last of all; where the record has another fingerprint than the study asks for, the step is to be
done again. Only `convert` is known by the bytes that it made, so that a source that was looked at again in vain leaves
everything after it alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file, read_object
from nnunet_spine.workflow.study_settings import ModelSettings, PlanSettings, StudySettings

RECORDS = "steps"
STATES = "state"
LOGS = "logs"

LONGEST_NAME = 1000
"""A field of a list of cases that is longer is no path."""

LARGEST_LIST = 2**26
"""Bytes; a larger file is no list of cases."""

SHOWN_STEPS = 20


@dataclass(frozen=True)
class Step:
    """One step of a study.

    Parameters
    ----------
    name
        Such as train/documented/0; also where its record, state and log are.
    kind
        One of `STEP_KINDS`.
    needs
        Names of the steps whose results it is made from.
    after
        Names of steps that must have ended before, since they write into the same folder.
    settings
        What it is asked to do.
    model, plans, fold
        What it is about, where it is about one.
    """

    name: str
    kind: str
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: ModelSettings | None = None
    plans: PlanSettings | None = None
    fold: int | None = None

    def record(self, study: StudySettings) -> Path:
        """Where the step is written down once it is done."""
        return study.output / RECORDS / f"{self.name}.json"

    def state(self, study: StudySettings) -> Path:
        """Where the step says how it is."""
        return study.output / STATES / f"{self.name}.json"

    def log(self, study: StudySettings) -> Path:
        """The step's log."""
        return study.output / LOGS / f"{self.name}.log"


def steps_of(study: StudySettings) -> dict[str, Step]:
    """All steps by name, each after those that it needs."""
    steps: list[Step] = [Step("convert", "convert", settings=_conversion(study))]
    before: tuple[str, ...] = ()
    for kind in ("plan", "preprocess"):
        # One after the other: they write into the same folder, and each takes all CPUs that it is given.
        for plans in study.plans:
            needed = "convert" if kind == "plan" else f"plan/{plans.name}"
            settings = asdict(plans) if kind == "plan" else {}
            steps.append(Step(f"{kind}/{plans.name}", kind, (needed,), before, settings, plans=plans))
            before = (steps[-1].name,)
    for model in study.models:
        steps += [_training(study, model, fold) for fold in range(study.folds)]
    for model in study.models:
        needs = (f"plan/{model.plans.name}", *(f"train/{model.label}/{fold}" for fold in range(study.folds)))
        steps.append(Step(f"evaluate/{model.label}", "evaluate", needs, model=model, plans=model.plans))
    judged = tuple(f"evaluate/{model.label}" for model in study.models)
    shown = {"notes": list(study.notes), "methods": [model.method for model in study.models]}
    if len(study.models) > 1:
        steps.append(Step("compare", "compare", judged, settings=shown))
    last = ("compare", *judged) if len(study.models) > 1 else judged
    steps.append(Step("report", "report", last, settings={"title": study.name, "notes": list(study.notes)}))
    return {step.name: step for step in steps}


def _conversion(study: StudySettings) -> dict[str, Any]:
    if study.source is None:
        return {"dataset": study.dataset, "folds": study.folds}
    keys = ("dataset", "name", "folds", "seed", "allow_partial")
    return {"source": str(study.source), **{key: getattr(study, key) for key in keys}}


def _training(study: StudySettings, model: ModelSettings, fold: int) -> Step:
    settings = {"trainer": model.trainer, "epochs": model.epochs, "seed": model.seed, "threads": study.threads}
    settings |= {"precision": model.precision} if model.precision else {}
    needs = (f"preprocess/{model.plans.name}",)
    return Step(f"train/{model.label}/{fold}", "train", needs, (), settings, model, model.plans, fold)


def find_step(study: StudySettings, name: str) -> Step:
    """The step of a name.

    Raises
    ------
    BadInput
        Where the study has no such step.
    """
    steps = steps_of(study)
    if name not in steps:
        shown = ", ".join(list(steps)[:SHOWN_STEPS])
        more = f" and {len(steps) - SHOWN_STEPS} more" if len(steps) > SHOWN_STEPS else ""
        raise BadInput(f"{study.file} has no step {name[:80]!r}. Its steps: {shown}{more}.")
    return steps[name]


def fingerprint(step: Step, study: StudySettings) -> str | None:
    """What the step is made of now, or None while a step that it needs is not done."""
    results = {}
    for name in step.needs:
        record = read_record(study.output / RECORDS / f"{name}.json")
        if record is None:
            return None
        results[name] = record["result"]
    return digest({"kind": step.kind, "settings": dict(step.settings), "needs": results})


def read_record(path: Path) -> dict[str, Any] | None:
    """A step's record; None if there is none, or it is damaged."""
    try:
        return checked_record(path)
    except BadInput:
        return None


def checked_record(path: Path) -> dict[str, Any] | None:
    """A step's record, or None if there is none.

    Raises
    ------
    BadInput
        If it is damaged.
    """
    if not is_regular_file(path):
        return None
    record = read_object(path)
    if not isinstance(record.get("fingerprint"), str) or not isinstance(record.get("result"), str):
        raise BadInput(f"{path} is damaged: it is not what a step that ended well writes.")
    return record


def finished(study: StudySettings, *, source: str | None = None) -> dict[str, bool]:
    """Which steps are done as the study asks for them now.

    Parameters
    ----------
    study
        The study.
    source
        `source_digest` of the source as it is now; None leaves a changed source unnoticed.
    """
    done: dict[str, bool] = {}
    for name, step in steps_of(study).items():
        record = read_record(step.record(study))
        done[name] = (
            record is not None
            and all(done[need] for need in step.needs)
            and record["fingerprint"] == fingerprint(step, study)
            and (step.kind != "convert" or source is None or _looked_at(step, study) == source)
        )
    return done


def source_note(step: Step, study: StudySettings) -> Path:
    """Where the conversion notes what its source looked like; beside its record, whose bytes stay for equal cases."""
    return step.record(study).with_suffix(".source")


def _looked_at(step: Step, study: StudySettings) -> str | None:
    path = source_note(step, study)
    try:
        return path.read_text(encoding="ascii", errors="replace") if path.is_file() else None
    except OSError:
        return None


def digest(content: Any) -> str:
    """SHA-256 of a value's JSON; names of files that are not UTF-8 are the bytes that they are."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def source_digest(study: StudySettings) -> str:
    """What the source looks like by names, sizes and times of its files, without reading them."""
    if study.source is None:
        raw = study.workspace().raw / study.dataset_name()
        return _listing(raw, _files_below(raw))
    if not is_regular_file(study.source):
        return _listing(study.source, _files_below(study.source))
    content = _list_of_cases(study.source)
    lines = content.decode("utf-8", "replace").splitlines()
    names = {part.strip().strip('"') for line in lines for part in (*line.split(","), *re.split("[;\t]", line))}
    paths = [study.source.parent / name for name in sorted(names) if 0 < len(name) < LONGEST_NAME and "\0" not in name]
    files = [file for path in paths for file in ([path] if is_regular_file(path) else _named_folder(path, study))]
    return digest([hashlib.sha256(content).hexdigest(), _listing(study.source.parent, files)])


def _list_of_cases(path: Path) -> bytes:
    """Bytes of a list; nothing of a file that cannot be one, which `convert` refuses."""
    try:
        return path.read_bytes() if path.stat().st_size <= LARGEST_LIST else b""
    except OSError:
        return b""


def _named_folder(path: Path, study: StudySettings) -> list[Path]:
    """Files of a folder that a list of cases names; the list's own folder, and those above it, are none."""
    if study.source is None or study.source.parent.is_relative_to(os.path.realpath(path)):
        return []
    return _files_below(path)


def _files_below(folder: Path) -> list[Path]:
    """Files of a folder and those below it that can be seen."""
    found = [Path(parent, name) for parent, _, names in os.walk(folder) for name in names]
    return sorted(path for path in found if is_regular_file(path))


def _listing(root: Path, files: Sequence[Path]) -> str:
    found: list[list[Any]] = []
    for path in files:
        name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        try:
            status = path.stat()
        except OSError:  # gone or closed since it was listed: that is a change too
            found.append([name, None, None])
        else:
            found.append([name, status.st_size, status.st_mtime_ns])
    return digest(found)
