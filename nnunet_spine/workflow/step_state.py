"""How a step is doing: a small file that its job keeps, and that `status` reads from anywhere."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_json, write_json

HEARTBEAT_SECONDS = 10.0
"""How often a job touches its state."""

SILENT_SECONDS = 90.0
"""A job of another host that has not touched its state for so long is taken for dead."""


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
        Process of the job; the ticks tell it from another process of that number.
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
        start_ticks(os.getpid()),
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
    """The state that a job wrote, or None where there is none that can be read."""
    try:
        content = read_json(path) if path.is_file() else None
    except BadInput:
        return None
    if not isinstance(content, Mapping) or not {"state", "host", "pid", "started"} <= content.keys():
        return None
    known = {field.name for field in fields(StepState)}
    values = {key: value for key, value in content.items() if key in known}
    try:
        return StepState(**{"started_ticks": None, "job": None, **values, "state": State(values["state"])})
    except ValueError:
        return None


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


def is_process(pid: int, ticks: int | None) -> bool:
    """Whether a process lives on this host, and is the one that began at these ticks (None: any)."""
    found = start_ticks(pid)
    return found is not None and ticks in (None, found)


def start_ticks(pid: int) -> int | None:
    """When a process began, in the kernel's ticks; None where there is no such process, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    values = text.rpartition(")")[2].split()
    return None if values[0] in {"Z", "X"} else int(values[19])
