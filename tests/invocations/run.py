"""The test of all sub-commands: hostile arguments, damaged inputs and things in the way, none of which may do harm.

    python tests/invocations/run.py --inputs 500              # seeds 0 to 499
    python tests/invocations/run.py --seed 123 --keep DIR     # one again; its input stays in DIR
    python tests/invocations/run.py --samples DIR             # keep the sound inputs for the next run
    python tests/invocations/run.py --commands evaluate plan  # seeds of these sub-commands alone

Prints each invocation that did harm with its seed, and exits 1 where there was one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.with_name("fuzz")))

from invocation import command_of, make  # noqa: E402
from pool import FAST, judge_all, options, seeds_of  # noqa: E402
from samples import make_samples, unset_variables  # noqa: E402

PATIENCE_SECONDS = 120.0
"""An invocation that takes longer hangs."""


def main() -> int:
    """Run the invocations; returns 1 where one did harm."""
    parser = options(__doc__)
    parser.add_argument("--samples", type=Path, help="folder of the sound inputs; made where it is missing")
    parser.add_argument("--commands", nargs="+", metavar="NAME", help="only seeds of these sub-commands")
    arguments = parser.parse_args()
    unset_variables()
    with tempfile.TemporaryDirectory(prefix="invocations_", dir=FAST, ignore_cleanup_errors=True) as name:
        samples = arguments.samples or Path(name) / "samples"
        if not samples.is_dir():
            make_samples(samples)
        if arguments.keep:
            arguments.keep.mkdir()
            print(make(samples, arguments.keep, arguments.seed).words)
        work = Path(name) / "work"
        work.mkdir()
        seeds = seeds_of(arguments, lambda seed: not arguments.commands or command_of(seed) in arguments.commands)
        command = [str(HERE / "worker.py"), str(samples), str(work)]
        return judge_all(seeds, arguments, command, PATIENCE_SECONDS, kind_of=command_of)


if __name__ == "__main__":
    sys.exit(main())
