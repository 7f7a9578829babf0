"""How busy a study of 3 models x 4 folds keeps the CPUs while it trains, on this machine with nothing else running.

    python benchmarks/study_core_use.py WORK [--cases 12] [--epochs 30]

Busy is the time of all CPUs that was not idle (/proc/stat, every second), from the start of the first training to the
end of the last. The largest sum of the jobs' demands for memory at a moment is told beside what the machine has.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from convert_exports import Size
from prepared import SPINE, Prepared

STUDY = """\
source: {export}
output: {output}
threads: 1
device: cpu
models:
  documented: {{epochs: {epochs}}}
  no-bias: {{epochs: {epochs}, bias: none}}
  second-seed: {{epochs: {epochs}, seed: 1}}
"""


@dataclass(frozen=True)
class Moment:
    """Time since the epoch, CPU seconds that were not idle by then, and free memory in GiB."""

    time: float
    busy: float
    free_gib: float


def now() -> Moment:
    """What /proc tells at the moment."""
    fields = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
    busy = (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")
    free = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable"))
    return Moment(time.time(), busy, int(free.split()[1]) / 2**20)


def main() -> None:
    """Run the study anew and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    work = given.work.resolve()
    output = work / "core_use"
    shutil.rmtree(output, ignore_errors=True)
    file = work / "core_use.yaml"
    export = Prepared(work).export(Size(given.cases))
    file.write_text(STUDY.format(export=export, output=output, epochs=given.epochs), encoding="utf-8")
    moments = [now()]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1):
            moments.append(now())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    subprocess.run([*SPINE, "run", str(file)], check=True)
    seconds = time.monotonic() - started
    ended.set()
    watcher.join()
    tell(output, moments, seconds)


def tell(output: Path, moments: list[Moment], seconds: float) -> None:
    """Print what was measured."""
    states = [json.loads(path.read_text()) for path in output.glob("state/train/*/*.json")]
    first, last = (
        choose(datetime.fromisoformat(state[key]).timestamp() for state in states)
        for choose, key in ((min, "started"), (max, "ended"))
    )
    within = [moment for moment in moments if first <= moment.time <= last]
    cpus = len(os.sched_getaffinity(0))
    wall = within[-1].time - within[0].time
    share = (within[-1].busy - within[0].busy) / (cpus * wall)
    shares = [(b.busy - a.busy) / (cpus * (b.time - a.time)) for a, b in pairwise(within)]
    high = sum(s > 0.8 for s in shares) / len(shares)
    print(f"{len(states)} trainings on {cpus} CPUs: {wall:.0f} s of {seconds:.0f} s of the whole study")
    print(f"CPUs busy {share:.1%} of that time; above 80 % in {high:.1%} of its seconds")
    print(f"memory least free: {min(m.free_gib for m in within):.1f} GiB of {moments[0].free_gib:.1f} GiB at the start")


if __name__ == "__main__":
    main()
