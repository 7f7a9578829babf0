"""Time and memory of `nnunet-spine convert`, beside dcm2niix and dicom2nifti, on one export.

Usage: convert.py WORK [--cases 58] [--side 0] [--slices 16] [--only-wanted] [--runs 3] [--tools convert dcm2niix ...]

Makes the export below WORK once (phantoms with all their series; --side 512 in the size of a clinical image), then runs
the tools in turn, `--runs` times, and prints a Markdown table of medians. Tools: `convert`; `dcm2niix` on the whole
export (-z y); `wanted`, dcm2niix on the folders of the wanted series alone, one after the other; `dicom2nifti` on the
whole export. They do not the same: only `convert` chooses a series, reads the reference, checks, and writes a data set.

Wall is the whole process, from its start to its end. CPU is user and system time of the process and all below it, which
other work on the machine changes less. Memory is the largest sum of their proportional set sizes (Pss), read every
0.1 s; pages that processes share count once.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convert_exports import Size, wanted_series, write_export

SAMPLED_SECONDS = 0.1
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Cost:
    """Of one run: seconds on the clock, of the processors, largest memory in MB."""

    wall: float
    cpu: float
    memory: float


def descendants(root: int) -> Iterator[int]:
    """A process and all below it."""
    yield root
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from descendants(int(child))


def cpu_seconds(process: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_mb(process: int) -> float:
    """Proportional set size of a process."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(command: list[str], environment: dict[str, str]) -> Cost:
    """Run a command to its end."""
    cpu: dict[int, float] = {}
    largest = 0.0
    start = time.monotonic()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while running.poll() is None:
            total = 0.0
            try:
                for process in list(descendants(running.pid)):
                    cpu[process] = cpu_seconds(process)
                    total += memory_mb(process)
            except (OSError, IndexError, ProcessLookupError):
                pass  # one of them has just ended
            largest = max(largest, total)
            time.sleep(SAMPLED_SECONDS)
    wall = time.monotonic() - start
    if running.returncode not in (0, 1):
        sys.exit(f"{command[0]} ended with {running.returncode}.")
    return Cost(wall, sum(cpu.values()), largest)


def command_of(tool: str, export: Path, output: Path) -> list[str]:
    """What runs a tool on an export."""
    beside = Path(sys.executable).parent
    if tool == "convert":
        return [sys.executable, "-m", "nnunet_spine", "convert", str(export), "--root", str(output)]
    if tool == "dcm2niix":
        return [str(beside / "dcm2niix"), "-z", "y", "-o", str(output), str(export)]
    if tool == "wanted":
        quoted = [f"'{beside}/dcm2niix' -z y -o '{output}' '{series}'" for series in wanted_series(export)]
        return ["sh", "-c", "\n".join(quoted)]
    return [str(beside / "dicom2nifti"), str(export), str(output)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=58)
    parser.add_argument("--side", type=int, default=0)
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--only-wanted", action="store_true")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--tools", nargs="+", default=["convert", "dcm2niix", "wanted", "dicom2nifti"])
    given = parser.parse_args()
    size = Size(given.cases, given.side, given.slices, given.only_wanted)
    wanted = "wanted" if size.only_wanted else "all"
    export = given.work / f"export_{size.cases}_{size.side}_{size.slices}_{wanted}"
    write_export(export, size)
    files = [path for path in export.rglob("*") if path.is_file()]
    print(f"{size.cases} cases, {len(files)} files, {sum(p.stat().st_size for p in files) / 1e6:.0f} MB", flush=True)
    costs: dict[str, list[Cost]] = {tool: [] for tool in given.tools}
    for _ in range(given.runs):
        for tool in given.tools:
            output = given.work / f"output_{tool}"
            shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True)
            costs[tool].append(measure(command_of(tool, export, output), dict(os.environ)))
            print(tool, costs[tool][-1], file=sys.stderr, flush=True)
    print_table(costs, size.cases)


def print_table(costs: dict[str, list[Cost]], cases: int) -> None:
    """Medians, and ratios of `convert` to each tool."""
    medians = {
        tool: Cost(*(statistics.median(getattr(run, name) for run in runs) for name in ("wall", "cpu", "memory")))
        for tool, runs in costs.items()
    }
    ours = medians.get("convert")
    print("| tool | wall, s | CPU, s | CPU per case, s | memory, MB | convert / this: wall | CPU | memory |")
    print("|---|---|---|---|---|---|---|---|")
    for tool, cost in medians.items():
        ratios = [f"{getattr(ours, name) / getattr(cost, name):.2f}" if ours else "" for name in vars(cost)]
        shown = f"{cost.wall:.1f} | {cost.cpu:.1f} | {cost.cpu / cases:.3f} | {cost.memory:.0f}"
        print(f"| {tool} | {shown} | {' | '.join(ratios)} |")


if __name__ == "__main__":
    main()
