"""All rows of docs/benchmarks.md's first table, each two things side by side in one run (`make bench`).

    python benchmarks/bench.py WORK [--rows epoch predict ...] [--runs 5] [--write]

WORK keeps what is made once: exports of phantoms, data sets, trained folds. With --write the table, the command and the
machine go into docs/benchmarks.md, between its markers; rows that were not asked for are those measured last.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import re
import sys
import time
from datetime import date
from importlib import metadata
from pathlib import Path

from convert import DICOM2NIFTI
from measuring import Row
from prepared import Prepared

SCRIPTS = ("start", "evaluate", "bias", "convert", "predict", "preprocess", "epoch", "protocol", "growth")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
HEAD = "| row | measured | medians | ratio | target | |\n|---|---|---|---|---|---|"
LIBRARIES = ("nnunetv2", "torch", "monai", "SimpleITK", "numpy", "scipy", "dcm2niix")


def machine() -> str:
    """Processor, cores, memory, and versions."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = f"{len(os.sched_getaffinity(0))} cores of {model[1] if model else platform.machine()}, {total:.0f} GiB"
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return f"{cores}; Python {platform.python_version()}, {versions}, {DICOM2NIFTI.replace('==', ' ')}"


def keep(results: Path, script: str, rows: list[Row], runs: int) -> None:
    """Add the rows of a script to those that are kept, in place of earlier ones."""
    kept = json.loads(results.read_text(encoding="utf-8")) if results.is_file() else {}
    kept[script] = {"rows": list(map(str, rows)), "how": f"{date.today().isoformat()}, --runs {runs}, {machine()}"}
    results.write_text(json.dumps(kept, indent=1), encoding="utf-8")


def write(results: Path) -> None:
    """Put all rows that are kept into the page, with how they were measured."""
    kept = json.loads(results.read_text(encoding="utf-8"))
    scripts = [script for script in SCRIPTS if script in kept]
    lines = "\n".join(line for script in scripts for line in kept[script]["rows"])
    by_how: dict[str, list[str]] = {}
    for script in scripts:
        by_how.setdefault(kept[script]["how"], []).append(script)
    how = "\n".join(f"{', '.join(names)}: {text}." for text, names in by_how.items())
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n{HEAD}\n{lines}\n\n{how}\n\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rows", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    prepared = Prepared(given.work.resolve())
    print(machine(), flush=True)
    for script in SCRIPTS:
        if script not in given.rows:
            continue
        started = time.monotonic()
        rows = importlib.import_module(f"bench_{script}").rows(prepared, given.runs)
        print("\n".join(map(str, rows)), flush=True)
        print(f"{script}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        keep(given.work / "rows.json", script, rows, given.runs)
        if given.write:
            write(given.work / "rows.json")


if __name__ == "__main__":
    main()
