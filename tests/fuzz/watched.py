"""A command run in this process, with what it prints, its time and its memory; for the workers of every fuzz test."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_spine.cli.main import main


def run(command: list[str]) -> object:
    """Exit code of the command, or what it raised; bad usage raises its exit code."""
    try:
        return main(command)
    except SystemExit as end:
        return end.code
    except BaseException as failure:  # noqa: BLE001  whatever it is: none may come out
        traceback.print_exc()
        return f"raised {type(failure).__name__}"


@contextmanager
def caught(work: Path) -> Iterator[tuple[Path, Path]]:
    """Standard output and error in files, also what libraries in C write."""
    paths = work / "stdout", work / "stderr"
    saved = os.dup(1), os.dup(2)
    for path, number in zip(paths, (1, 2), strict=True):
        with path.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    try:
        yield paths
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, number in zip(saved, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def limited(addresses: int) -> Iterator[None]:
    """Let this process and its children reserve no more than so many bytes beyond what it has."""
    usual = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (memory("VmSize") + addresses, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)


def reset_peak() -> None:
    """Begin to measure VmHWM again."""
    Path("/proc/self/clear_refs").write_text("5")


def memory(name: str) -> int:
    """A size from Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def answer(judge: Callable[[Path, int], dict[str, Any]], folder: Path) -> None:
    """Judge the seeds that come in on standard input, each in a folder of its own."""
    for line in sys.stdin:
        work = Path(tempfile.mkdtemp(dir=folder))
        print(json.dumps(judge(work, int(line))), flush=True)
        shutil.rmtree(work, ignore_errors=True)
