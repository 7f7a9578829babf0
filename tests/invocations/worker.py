"""One process of the test of invocations: reads seeds line by line, runs what each makes, and writes a verdict.

The first argument is the folder of the samples, the second a folder for work.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "fuzz"))

from invocation import Invocation, make
from samples import unset_variables
from verdict import complaints, snapshot
from watched import answer, caught, limited, memory, reset_peak, run

MOST_ADDRESSES, MOST_RESIDENT = 6 * 2**30, 2500 * 2**20
"""Bytes that an invocation may reserve, and that it may use, beyond what the process has before."""

PRELOADED = (
    *("nnunet_spine.evaluation.insight", "nnunet_spine.evaluation.compare", "nnunet_spine.evaluation.tables"),
    *("nnunet_spine.reporting.report_inputs", "nnunet_spine.workflow.bias_images", "nnunet_spine.phantoms.cohort"),
    *("nnunet_spine.workflow.driver", "nnunet_spine.dataset_conversion.convert", "scipy.stats"),
)
"""What commands import: an import that ends half-way for want of memory would spoil the invocations after it."""

PATIENCE_SECONDS = 100.0
"""Of an invocation that is a process of its own."""


def judge(samples: Path, place: Path, seed: int) -> dict[str, Any]:
    """Run the invocation of a seed; returns what is wrong, time and memory."""
    work = place / "sandbox"
    work.mkdir()
    made = make(samples, work, seed)
    before = snapshot(work)
    reset_peak()
    resident, started = memory("VmRSS"), time.monotonic()
    with _surroundings(made), caught(place) as streams:
        code = _as_process(made) if made.as_process else _in_process(made)
    took, used = time.monotonic() - started, memory("VmHWM") - resident
    printed, errors = (path.read_text(errors="replace") for path in streams)
    wrong = list(complaints(made, code, printed, errors, before, snapshot(work)))
    _open_folders(work)
    if used > MOST_RESIDENT:
        wrong.append(f"{used // 2**20} MB were used")
    what = " ".join(ascii(word[:120])[1:-1] for word in made.words)
    extra = {"variables": made.variables, "output": made.output, "process": made.as_process, "memory": made.addresses}
    verdict = {"seed": seed, "what": f"{what} {extra}", "command": made.sound.command, "code": code, "wrong": wrong}
    return {**verdict, "errors": errors[-3000:] if wrong else "", "seconds": round(took, 3), "mb": used // 2**20}


def _open_folders(work: Path) -> None:
    """Make folders writable, so that they can be removed."""
    work.chmod(0o700)
    for parent, folders, _ in os.walk(work):
        for name in folders:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(0o700)


@contextmanager
def _surroundings(made: Invocation) -> Iterator[None]:
    """The folder, the variables and what a command changes of this process, as they were before at the end."""
    folder, variables, arguments = Path.cwd(), dict(os.environ), list(sys.argv)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)}
    loggers = list(logging.getLogger().handlers), logging.getLogger().level
    os.chdir(made.work)
    unset_variables()
    os.environ |= {"HOME": str(made.work.parent.parent), **made.variables}
    random.seed(0)
    try:
        with warnings.catch_warnings():
            yield
    finally:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(variables)
        sys.argv[:] = arguments
        for number, handler in handlers.items():
            signal.signal(number, handler)
        logging.getLogger().handlers[:], logging.getLogger().level = loggers


def _in_process(made: Invocation) -> object:
    """Exit code of the invocation in this process, what argparse raises included."""
    limit = limited(made.addresses or MOST_ADDRESSES)
    with limit, _output(made.output) if made.output != "file" else nullcontext():
        return run(made.words)


@contextmanager
def _output(kind: str) -> Iterator[None]:
    """Standard output that cannot be written to."""
    saved, stream = os.dup(1), sys.stdout
    ends = os.pipe()
    os.close(ends[0])
    target = os.open("/dev/full", os.O_WRONLY) if kind == "full" else ends[1]
    os.dup2(target, 1)
    if kind in ("closed", "both closed"):
        sys.stdout = None  # type: ignore[assignment]  # as Python does where descriptor 1 is closed
    else:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stdout and sys.stdout.close()
        sys.stdout = stream
        os.dup2(saved, 1)
        os.close(saved)


def _as_process(made: Invocation) -> object:
    """Exit code of the invocation as a user runs it."""
    words = [word.replace("\0", "").replace("\ud800", "") for word in made.words]  # no process can be given these
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL}
    ends = os.pipe()
    os.close(ends[0])
    with Path("/dev/full").open("w") as full, os.fdopen(ends[1], "w") as pipe:
        streams |= {"full": {"stdout": full}, "pipe": {"stdout": pipe}}.get(made.output, {})
        closed = {"closed": (1,), "both closed": (1, 2)}.get(made.output, ())
        process = subprocess.Popen(
            [sys.executable, "-m", "nnunet_spine", *words],
            preexec_fn=lambda: [os.close(number) for number in closed] and None,
            start_new_session=True,
            **streams,
        )
        try:
            return process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"no end in {PATIENCE_SECONDS:.0f} s"


if __name__ == "__main__":
    for name in PRELOADED:
        import_module(name)
    answer(partial(judge, Path(sys.argv[1])), Path(sys.argv[2]))
