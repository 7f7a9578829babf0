"""How a step is doing: a small file that its job keeps, and that `status` reads from anywhere."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import MISSING, Field, asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, get_type_hints

from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file, read_object, write_json
from nnunet_spine.training.process_identity import is_process, process_start

HEARTBEAT_SECONDS = 10.0
"""How often a job touches its state."""

SILENT_SECONDS = 90.0
"""A job of another host that has not touched its state for so long is taken for dead."""


MOST_ATTEMPTS = 10**6


class State(StrEnum):
    """What a step is."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"


@dataclass(frozen=True)
class StepState:
    """What a job wrote about its step.

    Parameters
    ----------
    state
        What it is.
    host, pid, started_ticks
        Process of the job; its start (`process_start`) distinguishes it from another process of that number.
    job
        SLURM's number of the job, or None.
    started, ended
        Times in UTC, ISO 8601; `ended` is None while it runs.
    code
        Exit code of the command, or None.
    error
        Its last error in one line, or None.
    attempts
        How often it was begun.
    """

    state: State
    host: str
    pid: int
    started_ticks: int | None
    job: str | None
    started: str
    ended: str | None = None
    code: int | None = None
    error: str | None = None
    attempts: int = 1


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def begin(path: Path) -> StepState:
    """Write that this process has begun a step."""
    earlier = read_state(path)
    state = StepState(
        State.RUNNING,
        socket.gethostname(),
        os.getpid(),
        process_start(os.getpid()),
        os.environ.get("SLURM_JOB_ID"),
        now(),
        attempts=earlier.attempts + 1 if earlier else 1,
    )
    write_state(path, state)
    return state


def end(path: Path, state: StepState, kind: State, code: int | None, error: str | None) -> None:
    """Write how a step ended."""
    write_state(path, replace(state, state=kind, ended=now(), code=code, error=error))


def write_state(path: Path, state: StepState) -> None:
    """Write a state, complete or not at all."""
    write_json(path, asdict(state))


def read_state(path: Path) -> StepState | None:
    """The state that a job wrote; None if there is none, or it is damaged."""
    try:
        return checked_state(path)
    except BadInput:
        return None


def checked_state(path: Path) -> StepState | None:
    """The state that a job wrote, or None if there is none.

    Raises
    ------
    BadInput
        If it is damaged.
    """
    if not is_regular_file(path):
        return None
    content = read_object(path)
    values = {field.name: content.get(field.name, _default(field)) for field in fields(StepState)}
    kinds = {**get_type_hints(StepState), "state": str}
    bad = [key for key, value in values.items() if not isinstance(value, kinds[key])]
    if bad or values["state"] not in set(State) or not 0 < values["attempts"] <= MOST_ATTEMPTS:
        raise BadInput(f"{path} is damaged: it is not what a job writes.")
    return StepState(**{**values, "state": State(values["state"])})


def _default(field: Field[Any]) -> Any:
    return None if field.default is MISSING else field.default


def is_alive(path: Path, state: StepState) -> bool:
    """Whether the job that wrote a state is at work: by its process on this host, by its heartbeat elsewhere."""
    if state.state is not State.RUNNING:
        return False
    if state.host == socket.gethostname():
        return is_process(state.pid, state.started_ticks)
    try:
        return time.time() - path.stat().st_mtime < SILENT_SECONDS
    except OSError:
        return False
