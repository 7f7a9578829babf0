"""`nnunet-spine info`: what is installed here, where the data are, and the protocol with its origins."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

import nnunet_spine
from nnunet_spine.cli.console import print_json
from nnunet_spine.cli.options import add_json, add_root, workspace_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("info", help="show versions, folders, and the protocol with its origins")
    parser.add_argument("--snakefile", action="store_true", help="print the path of the workflow's Snakefile, no more")
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is here."""
    if arguments.snakefile:
        print(Path(nnunet_spine.__file__).parent / "workflow" / "Snakefile")
        return 0
    from nnunet_spine.manifest import versions
    from nnunet_spine.nnunet.environment import allocated_cpus
    from nnunet_spine.protocol import PROTOCOL, origin_of

    protocol = {
        field.name: {"value": getattr(PROTOCOL, field.name), "origin": origin, "source": source}
        for field in fields(PROTOCOL)
        for origin, source in [origin_of(field.name)]
    }
    content: dict[str, Any] = {
        "versions": versions(),
        "cpus": allocated_cpus(),
        "environment": workspace_of(arguments).variables(),
        "protocol": protocol,
    }
    if arguments.json:
        print_json(content)
        return 0
    for title, values in (("versions", content["versions"]), ("environment", content["environment"])):
        print(f"{title}:")
        print("\n".join(f"  {name} {value}" for name, value in values.items()))
    print(f"CPUs allotted: {content['cpus']}\n")
    print("protocol (d documented, i implied by its table, o ours where it is open):")
    for name, row in protocol.items():
        print(f"  {row['origin'][0]} {name} = {row['value']}")
    return 0
