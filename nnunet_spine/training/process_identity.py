"""Whether a process of this host still lives, and is not a later one of the same number. Imports nothing heavy."""

from __future__ import annotations

import os
from pathlib import Path

LARGEST_PID = 2**31 - 1


def process_start(pid: int) -> int | None:
    """When a process began, as a number that no later process of its number has.

    Linux counts ticks since the system started, which no change of the clock moves. Elsewhere it is microseconds.

    Returns
    -------
    start
        0 if the system does not say it; None if there is no such process, or it has ended and waits for its parent.
    """
    if not 0 < pid <= LARGEST_PID:
        return None
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _start_without_proc(pid)
    values = text.rpartition(")")[2].split()
    return None if values[0] in {"Z", "X"} else int(values[19])


def _start_without_proc(pid: int) -> int | None:
    import psutil

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return 0  # another user's
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else round(process.create_time() * 1e6)
    except psutil.NoSuchProcess:
        return None
    except psutil.Error:
        return 0


def is_process(pid: int, start: int | None) -> bool:
    """Whether a process lives and is the one that began then; any process of that number if `start` is 0 or None."""
    found = process_start(pid)
    return found is not None and (not start or found in (0, start))
