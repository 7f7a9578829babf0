"""Where a study is: a row for each step, from its record, its state, and the log of its epochs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError
from nnunet_spine.training.epoch_log import read_epochs
from nnunet_spine.workflow.plain_text import printable
from nnunet_spine.workflow.step_commands import fold_folder
from nnunet_spine.workflow.step_state import State, StepState, checked_state, is_alive, read_state
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import Step, checked_record, finished, steps_of

EPOCHS_LOOKED_AT = 10
"""The time left follows the median of so many last epochs."""

LONGEST_SECONDS = 1e9

DIED = "ended without a word: killed, or its machine is down"


@dataclass(frozen=True)
class Row:
    """How one step is.

    Parameters
    ----------
    step, kind, state
        Its name, kind and state.
    epoch, epochs
        Epochs finished and asked for, of a training that has begun.
    loss
        Training loss of the last epoch.
    seconds_left
        Of the epochs that are left, by the median of the last ones.
    host, job
        Where it runs or ran, and SLURM's number.
    error
        Its last error, where it failed or was stopped.
    log
        Its log.
    """

    step: str
    kind: str
    state: State
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    seconds_left: float | None = None
    host: str | None = None
    job: str | None = None
    error: str | None = None
    log: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row for machines."""
        return asdict(self)


def study_status(study: StudySettings) -> list[Row]:
    """A row for each step, in the order of the work."""
    done = finished(study)
    return [_row(study, step, done[name]) for name, step in steps_of(study).items()]


def _row(study: StudySettings, step: Step, is_done: bool) -> Row:
    path = step.state(study)
    record_damage, state_damage = _damage(checked_record, step.record(study)), _damage(checked_state, path)
    written = read_state(path)
    state, error = _state(is_done, written, written is not None and is_alive(path, written))
    if record_damage:
        error = f"{record_damage} `nnunet-spine run` does the step again."
    elif state_damage and not is_done:
        error = f"{state_damage} It is written again when the step runs."
    log = str(step.log(study)) if written is not None or error else None
    host, job = (printable(written.host), written.job) if written is not None else (None, None)
    training = _training(study, step, state) if step.kind == "train" and written is not None else {}
    shown = printable(error) if error else None
    return Row(step.name, step.kind, state, **training, host=host, job=job, error=shown, log=log)


def _damage(read: Callable[[Path], Any], path: Path) -> str | None:
    """What to say of a file that somebody damaged, or None."""
    try:
        read(path)
    except BadInput as error:
        return str(error)
    return None


def _state(is_done: bool, written: StepState | None, alive: bool) -> tuple[State, str | None]:
    if written is not None and alive:
        return State.RUNNING, None
    if is_done:
        return State.DONE, None
    if written is None or written.state is State.DONE:
        return State.WAITING, None
    if written.state is State.RUNNING:
        return State.STOPPED, DIED
    return written.state, written.error


def _training(study: StudySettings, step: Step, state: State) -> dict[str, Any]:
    try:
        epochs = read_epochs(fold_folder(step, study), last=EPOCHS_LOOKED_AT)
    except NnunetSpineError:
        return {}
    if not epochs:
        return {}
    last = epochs[-1]
    left = statistics.median(epoch.seconds for epoch in epochs) * (last.epochs - last.epoch)
    return {
        "epoch": last.epoch,
        "epochs": last.epochs,
        "loss": last.train_loss if last.train_loss is not None and math.isfinite(last.train_loss) else None,
        "seconds_left": None if state is State.DONE or not 0 <= left < LONGEST_SECONDS else round(left, 1),
    }


def counts(rows: Sequence[Row]) -> str:
    """How many steps are in which state, in words."""
    numbers = {state: sum(row.state is state for row in rows) for state in State}
    return ", ".join(f"{number} {state}" for state, number in numbers.items() if number) or "no steps"
