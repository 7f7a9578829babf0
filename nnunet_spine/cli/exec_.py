"""`nnunet-spine exec`: any nnU-Net command with this package's planner and preprocessor registered."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.options import add_root, add_trust, trusting, workspace_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "exec",
        help="run an nnU-Net command with this package registered",
        description="Run an nnU-Net command in this process with our planner (SpinePlanner) and preprocessor "
        "(SpinePreprocessor) registered. Example: nnunet-spine exec nnUNetv2_plan_experiment -d 58 -pl SpinePlanner",
    )
    add_root(parser)
    add_trust(parser)
    parser.add_argument("nnunet_command", metavar="COMMAND", help="such as nnUNetv2_train")
    parser.add_argument("nnunet_arguments", nargs=argparse.REMAINDER, metavar="...", help="its own arguments")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the command; its exit code is ours."""
    from nnunet_spine.nnunet.commands import run_command

    with trusting(arguments):
        return run_command(arguments.nnunet_command, arguments.nnunet_arguments, workspace_of(arguments))
