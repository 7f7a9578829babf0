"""`nnunet-spine env`: the exports with which nnU-Net's own commands work."""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from nnunet_spine.cli.console import print_json
from nnunet_spine.cli.options import add_json, add_root, workspace_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "env",
        help="print the exports for nnU-Net's own commands",
        description='Print shell exports. Use them with: eval "$(nnunet-spine env)"',
    )
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the variables."""
    variables = workspace_of(arguments).variables()
    if arguments.json:
        print_json(variables)
    else:
        for name, value in variables.items():
            print(f"export {name}={shlex.quote(value)}")
    return 0
