"""`nnunet-spine compare`: models side by side, paired per case."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_spine.cli.options import add_json

if TYPE_CHECKING:
    from nnunet_spine.evaluation.compare import Comparison


def add_subparser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "compare",
        help="set evaluations side by side, paired per case",
        description="Compare evaluations of the same cases in the same folds; the first one is the baseline.",
    )
    parser.add_argument(
        "evaluations", type=Path, nargs="+", metavar="EVALUATION", help="evaluation.json, or the folder that holds it"
    )
    parser.add_argument("--labels", nargs="+", help="name of each model; default: the name of its folder")
    parser.add_argument("--note", action="append", default=[], help="caveat to show on top; may be repeated")
    parser.add_argument("--output", type=Path, required=True, help="folder for comparison.json and paired.csv")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, write, print."""
    from nnunet_spine.cli.console import print_json
    from nnunet_spine.evaluation.compare import compare, label_models, write_comparison
    from nnunet_spine.evaluation.results import EVALUATION_FILE
    from nnunet_spine.files import sha256
    from nnunet_spine.manifest import make_manifest

    paths = [path / EVALUATION_FILE if path.is_dir() else path for path in arguments.evaluations]
    models = label_models(paths, arguments.labels)
    comparison = compare(models, notes=[*arguments.note, *_departures(list(models), paths)])
    inputs = {key: sha256(path) for key, path in zip(comparison.keys.values(), paths, strict=True)}
    manifest = make_manifest("compare", parameters={"models": comparison.keys}, inputs=inputs)
    write_comparison(arguments.output, comparison, manifest)
    if arguments.json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison)
    return 0


def _departures(labels: Sequence[str], paths: Sequence[Path]) -> list[str]:
    """One sentence for each model whose evaluation records what it departs from the protocol in."""
    from nnunet_spine.manifest import recorded_departures

    found = {label: recorded_departures(path.parent) for label, path in zip(labels, paths, strict=True)}
    return [
        f"{label} departs from the protocol in {'; '.join(departure.describe() for departure in departures)}"
        for label, departures in found.items()
        if departures
    ]


def print_comparison(comparison: Comparison) -> None:
    """Print the models fold by fold, and each against the first case by case."""
    from nnunet_spine.cli.console import format_table, print_paragraph
    from nnunet_spine.evaluation import tables
    from nnunet_spine.evaluation.compare import NO_TEST

    for note in comparison.notes:
        print_paragraph(f"Note: {note}")
    for label, key in comparison.keys.items():
        print(f"{key} = {label}")
    print()
    print(format_table(tables.COMPARISON_HEADER, tables.comparison_rows(comparison)))
    print()
    for summary in comparison.paired:
        print(format_table(*tables.paired_table(summary)))
        print()
    print_paragraph(NO_TEST)
