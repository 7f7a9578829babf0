"""Processes that judge inputs by their seeds, and the report of what they found; for every fuzz test."""

from __future__ import annotations

import argparse
import json
import os
import selectors
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

MOST_SHOWN = 20

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where to work: in memory, where the system offers it."""

_LIMITS = (
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-dac_override,-dac_read_search",
)
BOUND = _LIMITS if os.geteuid() == 0 and shutil.which("setpriv") else ()
"""What makes permissions of files hold for root as they do for users."""


class Worker:
    """A process that judges one input at a time, and is replaced if an input hangs or kills it."""

    def __init__(self, command: Sequence[str]) -> None:
        self.command = [*BOUND, sys.executable, *command]
        self.process = self._start()

    def _start(self) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1"}
        return subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def judge(self, seed: int, patience: float) -> dict[str, Any]:
        """Verdict on one input."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            line = self.process.stdout.readline() if selector.select(patience) else None
        if line:
            return json.loads(line)
        wrong = f"no answer in {patience:.0f} s" if line is None else "the process was killed"
        self.stop()
        self.process = self._start()
        return {"seed": seed, "what": "", "code": None, "wrong": [wrong], "errors": "", "seconds": 0}

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def verdicts(seeds: list[int], command: Sequence[str], processes: int, patience: float) -> Iterator[dict[str, Any]]:
    """Judge all seeds side by side, in any order; an input that takes longer than `patience` seconds hangs."""
    waiting, found, lock = iter(seeds), [], threading.Condition()

    def serve() -> None:
        worker = Worker(command)
        seconds = patience * 3  # the first one waits for imports too
        while (seed := _next(waiting, lock)) is not None:
            verdict = worker.judge(seed, seconds)
            seconds = patience * (1 if verdict["code"] is not None else 3)
            with lock:
                found.append(verdict)
                lock.notify()
        worker.stop()

    threads = [threading.Thread(target=serve, daemon=True) for _ in range(processes)]
    for thread in threads:
        thread.start()
    for _ in seeds:
        with lock:
            lock.wait_for(lambda: found)
            verdict = found.pop()
        yield verdict


def _next(waiting: Iterator[int], lock: threading.Condition) -> int | None:
    with lock:
        return next(waiting, None)


def options(description: str | None) -> argparse.ArgumentParser:
    """Options that every fuzz test has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--keep", type=Path, help="with --seed: leave its input here")
    parser.add_argument("--log", type=Path, help="write what did harm to this file, one JSON object a line")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    return parser


def seeds_of(arguments: argparse.Namespace, taken: Callable[[int], bool] = lambda seed: True) -> list[int]:
    """Seeds that the options ask for, those alone that are `taken`."""
    if arguments.seed is not None:
        return [arguments.seed]
    return list(islice(filter(taken, count(arguments.first)), arguments.inputs))


def judge_all(
    seeds: list[int],
    arguments: argparse.Namespace,
    command: Sequence[str],
    patience: float,
    *,
    kind_of: Callable[[int], str] = str,
) -> int:
    """Judge seeds, print each that did harm and the figures; 1 where there was one.

    `kind_of` says what a seed is about whose process gave no verdict.
    """
    started, harmful, codes, slowest, largest = time.monotonic(), [], Counter[str](), (0.0, -1), (0, -1)
    for done, verdict in enumerate(verdicts(seeds, command, arguments.processes, patience), start=1):
        verdict["what"] = verdict["what"] or kind_of(verdict["seed"])
        codes[str(verdict["code"])] += 1
        slowest = max(slowest, (verdict["seconds"], verdict["seed"]))
        largest = max(largest, (verdict.get("mb", 0), verdict["seed"]))
        if verdict["wrong"]:
            harmful.append(verdict)
            if arguments.log:
                with arguments.log.open("a") as log:
                    log.write(json.dumps(verdict) + "\n")
            if len(harmful) <= MOST_SHOWN:
                show(verdict)
        if done % 250 == 0:
            print(f"{done} inputs, {len(harmful)} harmful, {time.monotonic() - started:.0f} s", flush=True)
    print(
        f"{len(seeds)} inputs in {time.monotonic() - started:.0f} s, exit codes {dict(sorted(codes.items()))}, ", end=""
    )
    print(f"slowest {slowest[0]} s (seed {slowest[1]}), largest {largest[0]} MB (seed {largest[1]})")
    print(f"{len(harmful)} did harm: seeds {sorted(verdict['seed'] for verdict in harmful)}")
    return 1 if harmful else 0


def show(verdict: dict[str, Any]) -> None:
    """Print an input that did harm."""
    print(f"seed {verdict['seed']} ({verdict['what']}): {'; '.join(verdict['wrong'])}")
    print("    " + verdict["errors"][-1500:].replace("\n", "\n    "))
