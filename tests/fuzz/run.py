"""The fuzz test of `nnunet-spine convert`: damaged sources, none of which may do harm.

    python tests/fuzz/run.py --inputs 500              # seeds 0 to 499
    python tests/fuzz/run.py --seed 123 --keep DIR     # one again; its source stays in DIR

Prints each input that did harm with its seed, and exits 1 where there was one.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from pool import FAST, judge_all, options, seeds_of
from templates import write_templates

from nnunet_spine.cli.main import main as nnunet_spine

HERE = Path(__file__).parent
PATIENCE_SECONDS = 20.0
"""An input that takes longer hangs."""


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


def main() -> int:
    """Run the inputs; returns 1 where one did harm."""
    arguments = options(__doc__).parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz_", dir=FAST, ignore_cleanup_errors=True) as name:
        with Path(os.devnull).open("w") as nothing, redirect_stdout(nothing):
            templates = prepare(Path(name))
        if arguments.keep:
            from worker import make_input

            make_input(templates, arguments.keep, arguments.seed)
        work = Path(name) / "work"
        work.mkdir()
        command = [str(HERE / "worker.py"), str(templates), str(work)]
        return judge_all(seeds_of(arguments), arguments, command, PATIENCE_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
