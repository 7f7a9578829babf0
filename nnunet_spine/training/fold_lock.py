"""One process for each fold: a lock file with a heartbeat, which a process that is gone does not hold.

The kernel's locks end with their process, but not every cluster's file system has them across hosts. So the lock is a
file that its holder touches every few seconds. On the holder's own host its process is looked up; elsewhere a lock
whose heartbeat has stopped is taken over. Host clocks are not compared: both times are the file system's.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from nnunet_spine.errors import NotWritable, WorkFailed
from nnunet_spine.training.process_identity import is_process, process_start

LOCK_FILE = "fold.lock"
BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0
"""Without a heartbeat for as long, a holder on another host counts as gone. Network file systems show old times."""

WATCH_SECONDS = 12.0
"""For as long a silent lock is watched before it is taken over: more than two heartbeats."""

SAME_JOB_SECONDS = 90.0
"""After a requeue, the process of the same job that is ending is waited for."""

_DIGITS = re.compile("[0-9]{0,20}")
_TOKEN = re.compile("[0-9a-f]{32}")
"""Part of a file's name, so that it must not lead elsewhere."""

_held: set[Path] = set()


@dataclass(frozen=True)
class Holder:
    """Who holds a fold.

    Parameters
    ----------
    host, pid
        Where its process runs.
    place
        Tells one start of one system from others, containers included.
    started
        When its process began, as the system counts; "" where it does not tell.
    job
        SLURM's number of its job, or "".
    token
        Of this very lock.
    """

    host: str
    pid: int
    place: str
    started: str
    job: str
    token: str

    @classmethod
    def here(cls) -> Holder:
        """Make one of the process that asks."""
        pid, job = os.getpid(), os.environ.get("SLURM_JOB_ID", "")
        return cls(socket.gethostname(), pid, _place(), str(process_start(pid) or ""), job, uuid4().hex)


@contextmanager
def sole_trainer(folder: Path) -> Iterator[None]:
    """Hold the fold in `folder` for the block; within a block of this process, it does nothing.

    Raises
    ------
    WorkFailed
        Where another living process holds it.
    NotWritable
        Where the folder cannot be written.
    """
    path = folder.resolve() / LOCK_FILE
    if path in _held:
        yield
        return
    own = Holder.here()
    _acquire(path, own)
    _held.add(path)
    done = threading.Event()
    beat = threading.Thread(target=_beat, args=(path, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        _held.discard(path)
        if _read(path) == own:
            path.unlink(missing_ok=True)


def _acquire(path: Path, own: Holder) -> None:
    patience = time.monotonic() + SAME_JOB_SECONDS
    while not _create(path, own):
        holder = _read(path)
        if _is_gone(path, holder):
            _break(path, holder)
        elif holder and holder.job and holder.job == own.job and time.monotonic() < patience:
            time.sleep(1)
        elif path.exists():
            raise WorkFailed(_refusal(path, holder))


def _refusal(path: Path, holder: Holder | None) -> str:
    who = f"process {holder.pid} on {holder.host}" if holder else "another process"
    return (
        f"The fold {path.parent} is being trained by {who}. Wait until it has ended, or stop it, and run again. A "
        f"process that is gone gives the fold free by itself, on another host after {SILENT_SECONDS:.0f} s."
    )


def _create(path: Path, own: Holder) -> bool:
    """Make the lock, with its content from the first instant; whether nobody else had it."""
    beside = path.with_name(f".{own.token}.partial.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(json.dumps(asdict(own)), encoding="utf-8")
        try:
            os.link(beside, path)
        except FileExistsError:
            return False
        except OSError:  # a file system without hard links: exclusive creation, for an instant without content
            return _create_exclusively(path, own)
    except OSError as error:
        raise NotWritable(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return True


def _create_exclusively(path: Path, own: Holder) -> bool:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(asdict(own), stream)
    return True


def _read(path: Path) -> Holder | None:
    """Who holds it; None where there is no lock, or one without (readable) content."""
    try:
        if not path.is_file():  # a pipe would block
            return None
        holder = Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    texts = (holder.host, holder.place, holder.started, holder.job, holder.token)
    sound = isinstance(holder.pid, int) and all(isinstance(text, str) for text in texts)
    return holder if sound and _DIGITS.fullmatch(holder.started) and _TOKEN.fullmatch(holder.token) else None


def _is_gone(path: Path, holder: Holder | None) -> bool:
    """Whether the process that made a lock is gone."""
    if holder and holder.place == _place():
        return not is_process(holder.pid, int(holder.started or 0))
    try:
        last = path.stat().st_mtime
        if file_system_time(path) - last < SILENT_SECONDS:
            return False
        end = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < end:
            time.sleep(0.5)
            if path.stat().st_mtime != last:
                return False
    except FileNotFoundError:
        return False  # given free in the meantime: the next attempt gets it
    return True


def file_system_time(path: Path) -> float:
    """Now, by the clock that the times of files beside `path` are of."""
    probe = path.with_name(f".{uuid4().hex}.partial.{path.name}")
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _break(path: Path, holder: Holder | None) -> None:
    """Remove the lock of a process that is gone. Of several that try, one does: whoever makes the mark of that lock."""
    mark = path.with_name(f".{holder.token if holder else 'unreadable'}.broken.{path.name}")
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    except FileExistsError:
        with suppress(FileNotFoundError):
            if file_system_time(path) - mark.stat().st_mtime > SILENT_SECONDS:  # its maker was killed at it
                mark.unlink(missing_ok=True)
        time.sleep(0.1)
        return
    except OSError as error:
        raise NotWritable(f"Cannot write {mark}: {error.strerror or error}.") from error
    try:
        if _read(path) == holder:
            path.unlink(missing_ok=True)
    finally:
        mark.unlink(missing_ok=True)


def _beat(path: Path, done: threading.Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with suppress(OSError):
            os.utime(path)


def _place() -> str:
    """Tell one start of one system, and one space of process numbers, from others."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    space = Path("/proc/self/ns/pid")
    try:
        return f"{boot.read_text().strip()} {space.readlink()}"
    except OSError:
        return socket.gethostname()
