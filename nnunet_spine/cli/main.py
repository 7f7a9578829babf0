"""The command `nnunet-spine`: one module of this folder for each sub-command."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence

from nnunet_spine import __version__
from nnunet_spine.cli.console import report_error
from nnunet_spine.errors import NnunetSpineError

COMMANDS = (
    "phantoms",
    "convert",
    "import-corrections",
    "plan",
    "preprocess",
    "train",
    "predict",
    "evaluate",
    "compare",
    "report",
    "correct-bias",
    "init",
    "run",
    "status",
    "job",
    "demo",
    "env",
    "exec",
    "info",
)
"""Sub-commands in the order of the work; each is a module `nnunet_spine.cli.NAME`, with _ for - (`exec_` for exec)."""

INTERRUPTED = 130


def build_parser() -> argparse.ArgumentParser:
    """Parser with all sub-commands; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="nnunet-spine",
        description="A documented spine-tumour protocol beside nnU-Net v2: convert, plan, train, judge, compare.",
        epilog="Research software; not a medical device.",
    )
    parser.add_argument("--version", action="version", version=f"nnunet-spine {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module = importlib.import_module(f"nnunet_spine.cli.{name.replace('-', '_') if name != 'exec' else 'exec_'}")
        module.add_subparser(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code: 0 done, 1 the work failed, 2 bad usage or bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    arguments = build_parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except NnunetSpineError as error:
        report_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        report_error("Interrupted. Run the same command again: it goes on from what is complete.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader is gone, as with `| head`: what Python still flushes on its way out goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
