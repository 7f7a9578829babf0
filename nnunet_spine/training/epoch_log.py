"""The log of a fold's training: a JSON object a line, for whoever watches. Imports nothing heavy."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from nnunet_spine.errors import NotWritable
from nnunet_spine.files import is_regular_file

PROGRESS_FILE = "training_progress.jsonl"

LARGEST_NUMBER = 2**53


@dataclass(frozen=True)
class Epoch:
    """A finished epoch.

    Parameters
    ----------
    epoch
        Number of epochs that are finished with it, from 1.
    epochs
        Of the whole training.
    train_loss, test_loss
        Means over the epoch's batches.
    pseudo_dice
        nnU-Net's, over the voxels of all test cases.
    learning_rate
        Of the optimiser in this epoch.
    seconds
        From its start to its end, without the checkpoint.
    time
        When it ended, ISO 8601 in UTC.
    host, pid
        Where it ran.
    """

    epoch: int
    epochs: int
    train_loss: float | None
    test_loss: float | None
    pseudo_dice: float | None
    learning_rate: float
    seconds: float
    time: str = ""
    host: str = ""
    pid: int = 0


@dataclass(frozen=True)
class Event:
    """What happened to a training: started, stopped, finished or failed; `reason` in words."""

    event: str
    time: str = ""
    host: str = ""
    pid: int = 0
    epoch: int = 0
    reason: str = ""


def append_epoch(folder: Path, epoch: Epoch) -> None:
    """Add a finished epoch to the log in a fold's folder; time and place are filled in."""
    _append(folder, {**asdict(epoch), **_here()})


def append_event(folder: Path, event: str, *, epoch: int = 0, reason: str = "") -> None:
    """Add an event to the log in a fold's folder."""
    _append(folder, {"event": event, **_here(), "epoch": epoch, "reason": reason})


def read_epochs(path: Path, last: int | None = None) -> list[Epoch]:
    """Epochs of a training in their order, each once: of one that was done again, the newest; none without a log.

    Parameters
    ----------
    path
        A fold's folder, or its log.
    last
        As many of the newest ones; None for all.
    """
    epochs: list[Epoch] = []
    for line in _lines(path):
        epoch = _made(Epoch, line) if "event" not in line else None
        if epoch:
            # An epoch that was done again makes those after it void: they belong to the thread that was cut off.
            while epochs and epochs[-1].epoch >= epoch.epoch:
                epochs.pop()
            epochs.append(epoch)
    return epochs if last is None else epochs[-last:]


def read_events(path: Path) -> list[Event]:
    """Events of a training in their order."""
    return [event for line in _lines(path) if "event" in line and (event := _made(Event, line))]


def _made(kind: Any, line: dict[str, Any]) -> Any:
    """An epoch or event of a line; None if somebody changed the line to what no training writes."""
    try:
        made = kind(**line)
        return made if all(_fits(getattr(made, name), hint) for name, hint in _hints(kind).items()) else None
    except (TypeError, OverflowError):
        return None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    if isinstance(value, int) and isinstance(value, hint):
        return 0 <= value <= LARGEST_NUMBER
    return isinstance(value, hint) or (isinstance(value, int) and isinstance(float(value), hint))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Lines that are whole; a killed process may leave a torn one."""
    file = path / PROGRESS_FILE if path.is_dir() else path
    if not is_regular_file(file):  # a pipe would block
        return
    try:
        text = file.read_bytes().decode("utf-8", errors="replace")
    except OSError:
        return
    for line in text.split("\n"):
        try:
            content = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict):
            yield content


def _here() -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }


def _append(folder: Path, content: dict[str, Any]) -> None:
    """Write a line in one go. One that a killed process tore is ended first."""
    path = folder / PROGRESS_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            size = os.fstat(descriptor).st_size
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            os.write(descriptor, (b"\n" if torn else b"") + json.dumps(content).encode("utf-8") + b"\n")
        finally:
            os.close(descriptor)
    except OSError as error:
        raise NotWritable(f"Cannot write {path}: {error.strerror or error}.") from error
