"""One process at a time in one place: a lock that ends with the process that holds it, and says who that is.

The kernel's lock (`flock`) belongs to the open file, so that nothing is left of a process that was killed. File systems
without locks are trusted. Trainings, which run on several hosts at once, have their own lock (`training.fold_lock`).
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from nnunet_spine.errors import NotWritable
from nnunet_spine.files import check_output, is_folder, make_folder, real_folder, system_reason

LOCK_NAME = ".nnunet_spine.lock"
"""Lock of a folder whose content a command writes."""

_TICK_SECONDS = 0.2
_LONGEST_HOLDER = 1000
_TRIES = 10


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from making or replacing `folder`, by a lock beside it.

    Folders that had to be made for the lock are removed at the end if they are empty.

    Raises
    ------
    NotWritable
        If another process is at work on `folder`, or its parent cannot be written.
    """
    folder = real_folder(folder)
    with empty_folders_removed(folder.parent), hold(make_folder(folder.parent) / f".{folder.name}.lock", what=folder):
        yield


@contextmanager
def empty_folders_removed(folder: Path) -> Iterator[None]:
    """Remove a folder and its parents at the end, as far as they were missing before the block and are empty after."""
    missing = [parent for parent in (folder, *folder.parents) if not os.path.lexists(parent)]
    try:
        yield
    finally:
        for parent in missing:
            with suppress(OSError):  # not empty, or gone
                parent.rmdir()


@contextmanager
def sole_writer_in(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into `folder`, by a lock in it; the folder is made if it is missing.

    Folders that had to be made are removed at the end if they are empty.

    Raises
    ------
    NotWritable
        If another process is at work in `folder`, or it cannot be written.
    """
    with empty_folders_removed(folder), hold(make_folder(folder) / LOCK_NAME, what=folder):
        yield


@contextmanager
def hold(path: Path, *, what: Path, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the lock at `path` for the block; its file is removed at the end.

    Parameters
    ----------
    path
        File of the lock.
    what
        What is locked, for the message.
    wait_seconds
        How long to wait for another process.

    Raises
    ------
    NotWritable
        If another process holds it, naming that process, or the file cannot be written.
    """
    check_output(path)
    deadline = time.monotonic() + wait_seconds
    while (descriptor := _taken(path)) is None:
        if time.monotonic() > deadline:
            raise NotWritable(f"{what} is being written by {_holder(path)}. Wait until it has ended, and run again.")
        time.sleep(_TICK_SECONDS)
    try:
        _write_holder(descriptor)
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is free: whoever opened the file meanwhile finds it gone
        os.close(descriptor)


def _taken(path: Path) -> int | None:
    """Descriptor of the locked file that has the name; None if another process holds it."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if not is_folder(path.parent):  # a process that failed meanwhile removed the folder that it had made
                make_folder(path.parent)
                continue
            raise NotWritable(f"Cannot write {path}: {system_reason(error)}. Choose another place.") from error
        if not got_lock(descriptor):
            os.close(descriptor)
            return None
        with suppress(OSError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)  # its holder removed it between the two steps: take the next one


def got_lock(descriptor: int) -> bool:
    """Lock an open file for this process if no other has it; whether it has it now.

    The lock ends with the descriptor, so with the process. A file system without locks is trusted.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _write_holder(descriptor: int) -> None:
    here = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    with suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(here).encode(), 0)


def _holder(path: Path) -> str:
    """Who holds a lock, in words."""
    for _ in range(_TRIES):
        with suppress(OSError, ValueError, KeyError, TypeError):
            with path.open("rb") as stream:
                content = json.loads(stream.read(_LONGEST_HOLDER))
            return f"process {int(content['pid'])} on {content['host']} (since {content['since']})"
        time.sleep(_TICK_SECONDS)  # between the lock and the name of its holder
    return "another process"
