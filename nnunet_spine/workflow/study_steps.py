"""The steps of a study, what each needs, and whether what it made is what the study asks for now.

A step's fingerprint covers its settings and the results of the steps before it. A step that ended well writes a record
with its fingerprint, last of all; where the record has another fingerprint than the study asks for, the step is to be
done again. Only `convert` is known by the bytes that it made, so that a source that was looked at again in vain leaves
everything after it alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_json
from nnunet_spine.workflow.study_settings import ModelSettings, PlanSettings, StudySettings

RECORDS = "steps"
STATES = "state"
LOGS = "logs"

LONGEST_NAME = 1000
"""A field of a list of cases that is longer is no path."""


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
        raise BadInput(f"{study.file} has no step {name[:80]!r}. Its steps: {', '.join(steps)}.")
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
    """A step's record, or None where there is none that can be read."""
    try:
        record = read_json(path) if path.is_file() else None
    except BadInput:
        return None
    return record if isinstance(record, dict) and {"fingerprint", "result"} <= record.keys() else None


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
    return path.read_text(encoding="ascii", errors="replace") if path.is_file() else None


def digest(content: Any) -> str:
    """SHA-256 of a value's JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def source_digest(study: StudySettings) -> str:
    """What the source looks like by names, sizes and times of its files, without reading them."""
    if study.source is None:
        raw = study.workspace().raw / study.dataset_name()
        return _listing(raw, [path for path in sorted(raw.rglob("*")) if path.is_file()])
    if study.source.is_dir():
        return _listing(study.source, [path for path in sorted(study.source.rglob("*")) if path.is_file()])
    content = study.source.read_bytes()
    lines = content.decode("utf-8", "replace").splitlines()
    names = {part.strip().strip('"') for line in lines for part in line.split(",")}
    paths = [study.source.parent / name for name in sorted(names) if 0 < len(name) < LONGEST_NAME and "\0" not in name]
    files = [file for path in paths for file in ([path] if path.is_file() else _below(path, study.source.parent))]
    return digest([hashlib.sha256(content).hexdigest(), _listing(study.source.parent, files)])


def _below(path: Path, list_folder: Path) -> list[Path]:
    """Files of a folder that a list of cases names; the list's own folder, and those above it, are none."""
    if not path.is_dir() or list_folder.resolve().is_relative_to(path.resolve()):
        return []
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def _listing(root: Path, files: Sequence[Path]) -> str:
    found = []
    for path in files:
        status = path.stat()
        name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        found.append([name, status.st_size, status.st_mtime_ns])
    return digest(found)
