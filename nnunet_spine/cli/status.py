"""`nnunet-spine status`: where a study is."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.options import add_json, path_of

if TYPE_CHECKING:
    from nnunet_spine.workflow.study_status import Row

HEADER = ("step", "state", "epoch", "loss", "left", "host")
WATCH_SECONDS = 5.0


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "status",
        help="show where a study is: steps, epochs, time left, errors",
        description="Show each step of a study: its state, epoch, loss, time left and host, and of those that failed "
        "the last error with the log's path. It only reads, and works from any machine that sees the output.",
    )
    parser.add_argument("study", type=path_of, metavar="STUDY.yaml", help="the study file")
    parser.add_argument("--watch", action="store_true", help="show it again every few seconds, until all is done")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Show the rows, once or until all is done."""
    from nnunet_spine.cli.console import print_json
    from nnunet_spine.workflow.step_state import State
    from nnunet_spine.workflow.study_file import read_study
    from nnunet_spine.workflow.study_status import counts, study_status

    study = read_study(arguments.study)
    while True:
        rows = study_status(study)
        if arguments.json:
            print_json({"study": str(study.file), "steps": [row.as_dict() for row in rows]})
        else:
            if arguments.watch and sys.stdout.isatty():
                print("\033[H\033[2J", end="")
            print_rows(rows)
            print(f"\n{counts(rows)}", flush=True)
        if not arguments.watch or all(row.state is State.DONE for row in rows):
            return 0
        time.sleep(WATCH_SECONDS)


def print_rows(rows: Sequence[Row]) -> None:
    """Print the table, and below it the errors with the logs' paths."""
    from nnunet_spine.cli.console import format_table

    print(format_table(HEADER, [cells(row) for row in rows]))
    print_errors(rows)


def print_errors(rows: Sequence[Row]) -> None:
    """Print the last error of each step that has one, with the path of its log."""
    for row in rows:
        if row.error is not None:
            print(f"\n{row.step} {row.state}: {row.error}\n  log: {row.log}")


def cells(row: Row) -> list[str]:
    """A row as the table shows it."""
    epoch = "" if row.epoch is None else f"{row.epoch}/{row.epochs}"
    loss = "" if row.loss is None else f"{row.loss:.3f}"
    return [row.step, str(row.state), epoch, loss, duration(row.seconds_left), row.host or ""]


def duration(seconds: float | None) -> str:
    """A time left in the two largest units."""
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"
