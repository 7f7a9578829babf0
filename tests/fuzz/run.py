"""The fuzz test of `nnunet-spine convert`: damaged sources, none of which may do harm.

    python tests/fuzz/run.py --inputs 500              # seeds 0 to 499
    python tests/fuzz/run.py --seed 123 --keep DIR     # one again; its source stays in DIR

Prints each input that did harm with its seed, and exits 1 where there was one.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from templates import write_templates

from nnunet_spine.cli.main import main as nnunet_spine

HERE = Path(__file__).parent
PATIENCE_SECONDS = 20.0
"""An input that takes longer hangs."""

MOST_SHOWN = 20

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where to work: in memory, where the system offers it."""


class Worker:
    """A process that judges one input at a time, and is replaced where one hangs or kills it."""

    def __init__(self, templates: Path, work: Path) -> None:
        self.command = [sys.executable, str(HERE / "worker.py"), str(templates), str(work)]
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
        return {"seed": seed, "template": "", "mode": None, "code": None, "wrong": [wrong], "errors": "", "seconds": 0}

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()


def verdicts(seeds: list[int], templates: Path, work: Path, processes: int) -> Iterator[dict[str, Any]]:
    """Judge all seeds side by side, in any order."""
    waiting, found, lock = iter(seeds), [], threading.Condition()

    def serve() -> None:
        worker = Worker(templates, work)
        patience = PATIENCE_SECONDS * 3  # the first one waits for imports too
        while (seed := _next(waiting, lock)) is not None:
            verdict = worker.judge(seed, patience)
            patience = PATIENCE_SECONDS * (1 if verdict["code"] is not None else 3)
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


def prepare(folder: Path) -> Path:
    """Write the templates, and the data sets that the sound ones make."""
    templates = folder / "templates"
    for name in write_templates(templates):
        source = templates / name
        source = source / "cases.csv" if name.startswith("list") else source
        root = folder / "converted" / name
        if nnunet_spine(["convert", str(source), "--root", str(root), "--folds", "2", "--json"]) != 0:
            raise SystemExit(f"The sound source {name} was not converted.")
    (folder / "converted").rename(templates / "converted")
    return templates


def show(verdict: dict[str, Any]) -> None:
    """Print an input that did harm."""
    print(f"seed {verdict['seed']} ({verdict['template']}, {verdict['mode']}): {'; '.join(verdict['wrong'])}")
    print("    " + verdict["errors"][-1500:].replace("\n", "\n    "))


def main() -> int:
    """Run the inputs; returns 1 where one did harm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--keep", type=Path, help="with --seed: leave its source here")
    parser.add_argument("--log", type=Path, help="write what did harm to this file, one JSON object a line")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    seeds = list(range(arguments.first, arguments.first + arguments.inputs))
    seeds = seeds if arguments.seed is None else [arguments.seed]
    started, harmful, codes, slowest, largest = time.monotonic(), [], Counter[str](), (0.0, -1), (0, -1)
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=FAST, ignore_cleanup_errors=True) as name:
        with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
            templates = prepare(Path(name))
        if arguments.keep:
            from worker import make_input

            make_input(templates, arguments.keep, arguments.seed)
        work = Path(name) / "work"
        work.mkdir()
        for done, verdict in enumerate(verdicts(seeds, templates, work, arguments.processes), start=1):
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


if __name__ == "__main__":
    sys.exit(main())
