"""`nnunet-spine job`: one step of a study, as the workflow's rules call it."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.options import path_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command; it is not listed, since `run` calls it."""
    parser = subparsers.add_parser(
        "job",
        description="Do one step of a study, as the workflow does it. Exit code 75 where it was stopped and goes on "
        "when it is run again.",
    )
    parser.add_argument("study", type=path_of, metavar="STUDY.yaml")
    parser.add_argument("step", metavar="STEP", help="such as train/documented/0")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do the step, and say what went wrong."""
    from nnunet_spine.cli.console import report_error
    from nnunet_spine.workflow.job import run_job
    from nnunet_spine.workflow.study_file import read_study
    from nnunet_spine.workflow.study_steps import find_step

    study = read_study(arguments.study)
    end = run_job(study, find_step(study, arguments.step))
    if end.problem:
        report_error(end.problem)
    return end.code
