"""The command `nnunet-spine`: one module of this folder for each sub-command."""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from nnunet_spine import __version__
from nnunet_spine.cli.console import (
    StandardErrorHandler,
    checked_output,
    only_our_words,
    open_missing_streams,
    report_error,
)
from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.files import system_reason

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


READS_FILES = frozenset(
    ("convert", "import-corrections", "plan", "preprocess", "predict", "evaluate", "compare", "report", "correct-bias")
)
"""Sub-commands that read other people's files by libraries that print."""

DEBUG_VARIABLE = "NNUNET_SPINE_DEBUG"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command and return its exit code: 0 done, 1 the work failed, 2 bad usage or bad input."""
    open_missing_streams()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[StandardErrorHandler()])
    with checked_output() as lost:
        try:
            arguments = build_parser().parse_args(argv)
        except SystemExit:  # the usage was bad, or help was printed
            if error := lost():
                return _without_output(error)
            raise
        with only_our_words(arguments.command in READS_FILES), warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")  # they quote values of headers
            code = _run(arguments, lost)
            error = lost()
            return _without_output(error) if error and not code else code


def _run(arguments: argparse.Namespace, lost: Callable[[], OSError | None]) -> int:
    try:
        return int(arguments.run(arguments))
    except NnunetSpineError as error:
        report_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        report_error("Interrupted. Run the same command again: it goes on from what is complete.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a sentence on what to do instead of a traceback
        if _lacks_memory(error):
            report_error("There is not enough memory for this. Use a machine with more, or give smaller images.")
            return 1
        if isinstance(error, OSError) and lost():
            return 0  # the caller says that output was lost
        if os.environ.get(DEBUG_VARIABLE):
            traceback.print_exc()
        report_error(_unexpected(error))
        return 1


def _lacks_memory(error: Exception) -> bool:
    """Whether memory ran out, also in loading a library or in starting a thread."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, ImportError) and ("cannot allocate memory" in words or "failed to map segment" in words))
        or (isinstance(error, RuntimeError) and ("can't start new thread" in words or "bad_alloc" in words))
    )


def _without_output(lost: OSError) -> int:
    """Say that standard output could not be written; nothing if its reader is gone, as with `| head`."""
    if not isinstance(lost, BrokenPipeError):
        report_error(f"Standard output cannot be written: {system_reason(lost)}. What was to be printed is incomplete.")
    return 1


def _unexpected(error: Exception) -> str:
    """What to say of an error that this program should have foreseen."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if f"{os.sep}nnunet_spine{os.sep}" in frame.filename
    ]
    place = f"{Path(ours[-1].filename).name}, line {ours[-1].lineno}" if ours else "an unknown place"
    return (
        f"This is a defect of nnunet-spine ({place}): it met something that it does not know. Please report it with "
        f"the command that you gave. {DEBUG_VARIABLE}=1 prints the details, which may name files."
    )


if __name__ == "__main__":
    sys.exit(main())
