"""`nnunet-spine init`: write a study file to begin with."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from nnunet_spine.cli.options import path_of

DEFAULT_FILE = Path("study.yaml")


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "init",
        help="write a commented study file for `run`",
        description="Write a commented study file. An existing file is left alone.",
    )
    parser.add_argument(
        "study", type=path_of, nargs="?", default=DEFAULT_FILE, metavar="STUDY.yaml", help="default: %(default)s"
    )
    parser.add_argument(
        "--example",
        choices=("documented", "ablation", "seeds"),
        default="documented",
        help="documented (default): the protocol against nnU-Net's own configuration; ablation: the protocol without "
        "each step of its preprocessing; seeds: one method twice, the A/A control",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the file and say what comes next."""
    from nnunet_spine.errors import NotWritable
    from nnunet_spine.files import write_text
    from nnunet_spine.workflow.study_examples import example

    if os.path.lexists(arguments.study):
        raise NotWritable(f"{arguments.study} is there already, and is left alone. Give another name.")
    write_text(arguments.study, example(arguments.example))
    print(f"study file: {arguments.study}")
    print("next:       set its source and output, then")
    print(f"            nnunet-spine run {shlex.quote(str(arguments.study))} --dry-run")
    return 0
