"""How long models were trained, and which comparison of them that allows: full-schedule, equal-cost, or neither."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file, read_json, read_text
from nnunet_spine.json_entries import MOST_COUNTED, Entry, read_entry
from nnunet_spine.manifest import FOLLOWS_PROTOCOL, MANIFEST_FILE
from nnunet_spine.protocol import PROTOCOL

TRAINING_KEY = "training"
NNUNET_EPOCHS = 1000
"""Epochs of nnU-Net's own schedule, of `NNUNET_ITERATIONS` iterations each."""
NNUNET_ITERATIONS = 250
COST_TOLERANCE = 0.1
"""Relative difference of training seconds up to which two models cost the same."""
_NNUNET_RECORD = "debug.json"
_EPOCH_SECONDS = re.compile(r"(?:Epoch time:|,) (\d{1,9}\.\d{1,9}) s\s*$", re.MULTILINE)
_MOST_DIGITS, _LONGEST_WORD = 15, 200


class Mode(StrEnum):
    """Which comparison of models their training allows."""

    FULL_SCHEDULE = "full-schedule"
    """Each ran the whole schedule of its method: what the methods reach."""
    EQUAL_COST = "equal-cost"
    """Each was given the same training: what the methods reach for a price."""
    MIXED = "mixed"
    """Neither: a difference may come from the training's length."""
    UNKNOWN = "unknown"
    """No record of a training."""


@dataclass(frozen=True)
class FoldTraining:
    """Training of one fold as its folder records it; None where it does not.

    Parameters
    ----------
    fold
        nnU-Net's number.
    trainer, plans
        nnU-Net's names.
    epochs, iterations_per_epoch, batch_size
        The schedule that was asked for.
    seed
        This package's trainers alone have one.
    device
        What it was computed on.
    seconds
        Time of all epochs by the logs, those that an interruption cost included.
    own
        Whether a trainer of this package ran.
    """

    fold: int
    trainer: str | None = None
    plans: str | None = None
    epochs: int | None = None
    iterations_per_epoch: int | None = None
    batch_size: int | None = None
    seed: int | None = None
    device: str | None = None
    seconds: float | None = None
    own: bool = False

    @property
    def is_full(self) -> bool:
        """Whether this is the method's whole schedule: the protocol's, or nnU-Net's own."""
        if self.own:
            return (self.epochs or 0) >= PROTOCOL.epochs
        return (self.epochs or 0) >= NNUNET_EPOCHS and (self.iterations_per_epoch or 0) >= NNUNET_ITERATIONS

    @property
    def schedule(self) -> tuple[object, ...]:
        """What two trainings share that take the same steps."""
        return self.fold, self.own, self.epochs, self.iterations_per_epoch, self.batch_size


Training = tuple[FoldTraining, ...]
"""Of one model, by fold; empty where nothing is recorded."""


@dataclass(frozen=True)
class Schedules:
    """The mode of a comparison, with the sentence that explains it."""

    mode: Mode
    explanation: str

    @property
    def caveat(self) -> str:
        """What a verdict must say besides, or ""."""
        return {
            Mode.MIXED: "trained on different schedules, so that training time may explain any difference",
            Mode.UNKNOWN: "training schedules not recorded",
        }.get(self.mode, "")


def recorded_training(model: Path) -> list[dict[str, Any]]:
    """What the folders fold_K of nnU-Net's trained-model folder record, for a manifest; empty where there is none."""
    parts = model.absolute().name.split("__")
    names = (parts[0], parts[1]) if len(parts) == 3 else (None, None)
    folders = sorted(model.glob("fold_[0-9]*"), key=lambda folder: folder.name)
    found = [_read_fold(folder, *names) for folder in folders]
    return [asdict(training) for training in found if training is not None]


def training_of(evaluation: Path) -> Training:
    """Training of the model that an evaluation's folder judged, from its manifest; empty where it names none.

    Raises
    ------
    BadInput
        If the manifest is not as this package writes it; file and key are named.
    """
    path = evaluation / MANIFEST_FILE
    if not is_regular_file(path):
        return ()
    parameters = read_entry(path, "Evaluate again with this version.").given("parameters")
    rows = parameters.given(TRAINING_KEY) if parameters else None
    return tuple(_training_of_entry(row) for row in rows.items()) if rows else ()


def _training_of_entry(row: Entry) -> FoldTraining:
    return FoldTraining(
        fold=row.get("fold").count(),
        trainer=row.get("trainer").optional(Entry.text),
        plans=row.get("plans").optional(Entry.text),
        epochs=row.get("epochs").optional(Entry.count),
        iterations_per_epoch=row.get("iterations_per_epoch").optional(Entry.count),
        batch_size=row.get("batch_size").optional(Entry.count),
        seed=row.get("seed").optional(Entry.count),
        device=row.get("device").optional(Entry.text),
        seconds=row.get("seconds").optional(lambda entry: entry.number(0)),
        own=row.get("own").truth(),
    )


def schedules_of(trainings: Mapping[str, Training], folds: Sequence[int]) -> Schedules:
    """Mode of a comparison of models, by their names, judged on `folds`."""
    kept = {name: tuple(t for t in training if t.fold in folds) for name, training in trainings.items()}
    if absent := [name for name, training in kept.items() if not _is_known(training, folds)]:
        return Schedules(Mode.UNKNOWN, f"The evaluations of {', '.join(absent)} record no training of every fold.")
    described = "; ".join(f"{name}: {_describe(training)}" for name, training in kept.items())
    if all(t.is_full for training in kept.values() for t in training):
        return Schedules(Mode.FULL_SCHEDULE, f"Each model ran the whole schedule of its method ({described}).")
    if len({tuple(t.schedule for t in training) for training in kept.values()}) == 1:
        return Schedules(Mode.EQUAL_COST, f"All models ran one schedule, short of their method's ({described}).")
    if _cost_the_same(list(kept.values())):
        percent = f"{100 * COST_TOLERANCE:.0f} %"
        return Schedules(Mode.EQUAL_COST, f"Training times differ by {percent} at most ({described}).")
    return Schedules(
        Mode.MIXED,
        f"The models were trained on different schedules, of different cost ({described}). A difference may "
        "come from the length of training alone. Train each to the end of its schedule, or all for the same time.",
    )


def require(schedules: Schedules, mode: Mode | None) -> None:
    """Refuse a comparison that is not of the mode asked for.

    Raises
    ------
    BadInput
        Where `mode` is not None and not what the records show.
    """
    if mode is not None and mode is not schedules.mode:
        raise BadInput(f"This is no {mode} comparison, but {schedules.mode}: {schedules.explanation}")


def _read_fold(folder: Path, trainer: str | None, plans: str | None) -> FoldTraining | None:
    number = folder.name.removeprefix("fold_")
    ours, theirs = (_content(folder / name) for name in (MANIFEST_FILE, _NNUNET_RECORD))
    recorded = ours.get("step") == "train"
    if not number.isdecimal() or len(number) > _MOST_DIGITS or not (recorded or theirs):
        return None
    recorded_parameters = ours.get("parameters") if recorded else None
    parameters = recorded_parameters if isinstance(recorded_parameters, dict) else {}
    return FoldTraining(
        fold=int(number),
        trainer=_word(parameters.get("trainer", trainer)),
        plans=_word(parameters.get("plans", plans)),
        epochs=_whole(parameters.get("epochs", theirs.get("num_epochs"))),
        iterations_per_epoch=_whole(theirs.get("num_iterations_per_epoch")),
        batch_size=_whole(parameters.get("batch_size", theirs.get("batch_size"))),
        seed=_whole(parameters.get("seed")),
        device=_word(parameters.get("device", theirs.get("device"))),
        seconds=_logged_seconds(folder),
        own=recorded and parameters.get(FOLLOWS_PROTOCOL, True) is True,
    )


def _content(path: Path) -> Mapping[str, Any]:
    content = read_json(path) if is_regular_file(path) else {}
    return content if isinstance(content, dict) else {}


def _whole(value: object) -> int | None:
    """A count from either record; nnU-Net's holds all values as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value <= MOST_COUNTED else None
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= _MOST_DIGITS else None


def _word(value: object) -> str | None:
    """A name from either record."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_WORD else None


def _logged_seconds(folder: Path) -> float | None:
    times = [
        float(t) for log in sorted(folder.glob("training_log_*.txt")) for t in _EPOCH_SECONDS.findall(read_text(log))
    ]
    return round(sum(times), 2) if times else None


def _is_known(training: Training, folds: Sequence[int]) -> bool:
    return {t.fold for t in training if t.epochs is not None} >= set(folds)


def _cost_the_same(models: Sequence[Training]) -> bool:
    """Whether all logged times of all models are there, on one kind of device, with near totals."""
    logged = [[t.seconds for t in training if t.seconds is not None] for training in models]
    complete = all(len(times) == len(training) for times, training in zip(logged, models, strict=True))
    devices = {(t.device or "").partition(":")[0] for training in models for t in training}
    totals = [sum(times) for times in logged]
    return complete and len(devices) == 1 and max(totals) - min(totals) <= COST_TOLERANCE * max(totals)


def _describe(training: Training) -> str:
    """As "400 epochs, 9 iterations each, 5210 s"."""
    epochs, iterations = (
        "-".join(str(v) for v in sorted({min(values), max(values)})) if (values := [v for v in found if v]) else "?"
        for found in ([t.epochs for t in training], [t.iterations_per_epoch for t in training])
    )
    seconds = [t.seconds for t in training if t.seconds is not None]
    time = f", {sum(seconds):.0f} s in all" if len(seconds) == len(training) else ""
    return f"{epochs} epoch{'' if epochs == '1' else 's'} of {iterations} iterations{time}"
