"""What benchmarks measure with: cost of whole processes, runs in turn, and a row of the table."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO

SAMPLED_SECONDS = 0.05
MEMORY_SHARE = 0.02
"""Largest share of a core that sampling memory may take from what it measures; CPU time is read at little cost."""

TICKS = os.sysconf("SC_CLK_TCK")
BESIDE = Path(sys.executable).parent
"""Where the commands of this Python's environment are."""


@dataclass(frozen=True)
class Cost:
    """What a process took with all below it.

    Parameters
    ----------
    seconds
        On the clock, from its start to its end, imports included.
    cpu_seconds
        User and system time, which other work on the machine changes less.
    peak_mib
        Largest sum of proportional set sizes (Pss), sampled; pages that processes share count once.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float


def median_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """Median ratio of figures to those of the same turn.

    A machine that grows slower from turn to turn changes it less than it changes the ratio of two medians.
    """
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True)
class Runs:
    """What a command took each time that it ran.

    Parameters
    ----------
    costs
        By run.
    """

    costs: tuple[Cost, ...]

    @property
    def median(self) -> Cost:
        """Median of each figure."""
        return Cost(*(statistics.median(getattr(cost, field.name) for cost in self.costs) for field in fields(Cost)))

    def ratio(self, other: Runs) -> float:
        """Ratio of the seconds to those of the other command: see `median_ratio`."""
        return median_ratio(*([cost.seconds for cost in runs.costs] for runs in (self, other)))


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Parameters
    ----------
    name
        What the row is called.
    measured
        What is over what.
    figures
        The two medians, with units.
    ratio
        The one over the other.
    target
        Such as "≤ 1.05"; empty where there is none.
    """

    name: str
    measured: str
    figures: str
    ratio: float
    target: str = ""

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty without one."""
        if not self.target:
            return ""
        sign, _, bound = self.target.partition(" ")
        return "met" if (self.ratio <= float(bound) if sign == "≤" else self.ratio >= float(bound)) else "**missed**"

    def __str__(self) -> str:
        shown = f"{self.ratio:.0f}" if self.ratio >= 100 else f"{self.ratio:.2f}"
        return f"| {self.name} | {self.measured} | {self.figures} | {shown} | {self.target} | {self.verdict} |"


def cost_of(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, *, codes: str = "0") -> Cost:
    """Run a command to its end; the benchmark ends where its exit code is none of `codes`."""
    cpu: dict[int, float] = {}
    largest, rested = 0.0, 0.0
    started = time.monotonic()
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - a pipe that nobody reads would fill up
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
    )
    ended: list[float] = []
    waiter = threading.Thread(target=lambda: (process.wait(), ended.append(time.monotonic())))
    waiter.start()
    while waiter.is_alive():
        total, sampled = 0.0, time.monotonic()
        with_memory = sampled >= rested
        for number in _descendants(process.pid):
            try:
                cpu[number] = _cpu_seconds(number)
                total += _pss_mib(number) if with_memory else 0
            except (OSError, IndexError):  # it has just ended
                continue
        largest = max(largest, total)
        if with_memory:
            rested = time.monotonic() + (time.monotonic() - sampled) / MEMORY_SHARE
        waiter.join(SAMPLED_SECONDS)
    if str(process.returncode) not in codes:
        sys.exit(f"{' '.join(map(str, command))[:200]} ended with {process.returncode}: {_text(errors)}")
    return Cost(ended[0] - started, sum(cpu.values()), largest)


def in_turn(
    commands: Mapping[str, Sequence[str | Path]],
    runs: int,
    *,
    before: Callable[[str], None] = lambda _: None,
    environment: Callable[[str], Mapping[str, str]] = lambda _: {},
    codes: str = "0",
) -> dict[str, Runs]:
    """Costs of each command; they run in turn, the order alternated, each after `before`; both functions take names."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for run in range(runs):
        for name in list(commands)[:: -1 if run % 2 else 1]:
            before(name)
            costs[name].append(cost_of(commands[name], environment(name), codes=codes))
    return {name: Runs(tuple(found)) for name, found in costs.items()}


def side_by_side(one: Runs, other: Runs) -> str:
    """Medians of two commands, for a row."""
    a, b = one.median, other.median
    cpu, memory = f"CPU {a.cpu_seconds:.1f} / {b.cpu_seconds:.1f} s", f"memory {a.peak_mib:.0f} / {b.peak_mib:.0f} MiB"
    return f"{a.seconds:.1f} s / {b.seconds:.1f} s ({cpu}, {memory})"


def _text(stream: IO[str]) -> str:
    stream.seek(0)
    return stream.read()[-2000:]


def _descendants(root: int) -> Iterator[int]:
    yield root
    try:
        for task in Path(f"/proc/{root}/task").glob("*/children"):
            for child in task.read_text().split():
                yield from _descendants(int(child))
    except OSError:
        return


def _cpu_seconds(process: int) -> float:
    parts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / TICKS


def _pss_mib(process: int) -> float:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0
