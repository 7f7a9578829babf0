"""`nnunet-spine run`: a whole study, on this machine or on SLURM."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.options import add_json, path_of

if TYPE_CHECKING:
    from nnunet_spine.workflow.driver import Outcome, Planned, Update
    from nnunet_spine.workflow.study_settings import StudySettings
    from nnunet_spine.workflow.study_status import Row

INTERRUPTED = 130
DEMAND_HEADER = ("step", "CPUs", "GPUs", "memory", "time")
SHOWN_WAITING = 5


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "run",
        help="do a whole study: convert, plan, train, judge, compare, report",
        description="Do what is missing of a study, from its source to its report. Run again after whatever "
        "interruption, it goes on. This process has to stay alive; where it is killed, run it again. "
        "Exit code 1 where a step failed, 130 where it was stopped.",
    )
    parser.add_argument(
        "study", type=path_of, metavar="STUDY.yaml", help="the study file; `nnunet-spine init` writes one"
    )
    parser.add_argument(
        "--executor", choices=("local", "slurm"), default="local", help="where steps run (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="most jobs at once (default: what fits; SLURM: 100)")
    parser.add_argument("--dry-run", action="store_true", help="show what would be done, and what each step needs")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Check, do, and list what failed."""
    from nnunet_spine.cli.console import print_json
    from nnunet_spine.errors import BadInput
    from nnunet_spine.workflow.driver import plan_run
    from nnunet_spine.workflow.study_file import read_study

    if arguments.jobs is not None and arguments.jobs < 1:
        raise BadInput(f"--jobs is {arguments.jobs}; expected at least 1.")
    study = read_study(arguments.study)
    planned = plan_run(study, arguments.executor)
    if arguments.dry_run:
        return _show_plan(planned, as_json=arguments.json)
    outcome = show_run(study, arguments.executor, jobs=arguments.jobs, visible=not arguments.json)
    if arguments.json:
        steps = [row.as_dict() for row in outcome.rows]
        print_json({"stopped": outcome.stopped, "problem": outcome.problem, "steps": steps})
    code = require_done(outcome)
    if code == 0 and not arguments.json:
        print(f"report: {study.output / 'report' / 'index.html'}")
    return code


def show_run(study: StudySettings, executor: str, *, jobs: int | None = None, visible: bool) -> Outcome:
    """Do what is missing of a study and show, where `visible`, how it goes on."""
    from nnunet_spine.workflow.driver import run_study

    with _display(visible=visible) as update:
        return run_study(study, executor, jobs=jobs, update=update)


def require_done(outcome: Outcome) -> int:
    """Exit code of a run, after it was said what stopped it or failed."""
    from nnunet_spine.cli.console import report

    if outcome.stopped:
        report("error", "Interrupted. Run the same command again: it goes on from what is complete.")
        return INTERRUPTED
    if outcome.failed or outcome.problem:
        _report_failures(outcome)
        return 1
    return 0


def _report_failures(outcome: Outcome) -> None:
    from nnunet_spine.cli.console import report

    for row in outcome.failed:
        report("error", f"{row.step} failed: {row.error} Its log: {row.log}")
    if outcome.problem:
        report("error", outcome.problem)


def _show_plan(planned: Sequence[Planned], *, as_json: bool) -> int:
    from nnunet_spine.cli.console import format_table, print_json, print_paragraph

    if as_json:
        print_json({"steps": [{"step": item.step.name, **vars(item.demand)} for item in planned]})
        return 0
    if not planned:
        print("All is done; nothing to do.")
        return 0
    rows = [
        [
            item.step.name,
            str(item.demand.cpus),
            str(item.demand.gpus),
            f"{item.demand.memory_mb / 1024:.1f} GiB",
            f"{item.demand.minutes / 60:.1f} h",
        ]
        for item in planned
    ]
    print(format_table(DEMAND_HEADER, rows))
    print()
    by_reason: dict[tuple[str, str], int] = {}
    for item in planned:
        key = (item.step.kind, item.demand.reason)
        by_reason[key] = by_reason.get(key, 0) + 1
    for (kind, reason), number in by_reason.items():
        print_paragraph(f"{kind}{f' ({number} steps)' if number > 1 else ''}: {reason}")
    return 0


@contextmanager
def _display(*, visible: bool) -> Iterator[Update]:
    """One live table on a terminal, a line for each change elsewhere, nothing where a machine reads."""
    if not visible:
        yield lambda _rows: None
    elif sys.stdout.isatty():
        with _live_table() as update:
            yield update
    else:
        yield _plain_changes()


@contextmanager
def _live_table() -> Iterator[Update]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stdout)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:

        def update(rows: Sequence[Row]) -> None:
            """Draw the table anew."""
            live.update(_table(rows), refresh=True)

        yield update


def _table(rows: Sequence[Row]) -> Any:
    """What runs, failed or was stopped, and the next steps; the others as numbers."""
    from rich.table import Table

    from nnunet_spine.cli.status import HEADER, cells
    from nnunet_spine.workflow.step_state import State
    from nnunet_spine.workflow.study_status import counts

    table = Table(box=None, caption=counts(rows), caption_justify="left")
    for number, name in enumerate(HEADER):
        table.add_column(name, justify="left" if number < 2 else "right")
    busy = [row for row in rows if row.state not in {State.DONE, State.WAITING}]
    waiting = [row for row in rows if row.state is State.WAITING]
    for row in [*busy, *waiting[:SHOWN_WAITING]]:
        table.add_row(*cells(row))
    return table


def _plain_changes() -> Update:
    from nnunet_spine.workflow.step_state import State

    shown: dict[str, str] = {}
    started = time.monotonic()

    def update(rows: Sequence[Row]) -> None:
        """Print each step whose state changed."""
        for row in rows:
            earlier = shown.get(row.step)
            shown[row.step] = row.state
            if row.state == earlier or (earlier is None and row.state is not State.RUNNING):
                continue  # what an earlier run left is no news
            error = f": {row.error}" if row.error else ""
            print(f"{time.monotonic() - started:7.0f} s  {row.step}  {row.state}{error}", flush=True)

    return update
