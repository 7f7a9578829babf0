"""`nnunet-spine compare`: models side by side, tested patient by patient."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.options import add_json, path_of

if TYPE_CHECKING:
    from nnunet_spine.evaluation.compare import Comparison


def add_subparser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "compare",
        help="set evaluations side by side, tested patient by patient",
        description="Compare evaluations of the same cases in the same folds; the first one is the baseline. The last "
        "lines are the verdict: whether there is evidence of a difference between the trained models.",
    )
    parser.add_argument(
        "evaluations",
        type=path_of,
        nargs="+",
        metavar="EVALUATION",
        help="evaluation.json, or the folder that holds it",
    )
    parser.add_argument("--labels", nargs="+", help="name of each model; default: the name of its folder")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="method of each model: models of one name are seeds of one method, and methods are compared too",
    )
    parser.add_argument(
        "--mode",
        choices=("full-schedule", "equal-cost"),
        help="refuse the comparison unless the recorded trainings make it one of this kind",
    )
    parser.add_argument("--note", action="append", default=[], help="caveat to show on top; may be repeated")
    parser.add_argument(
        "--output", type=path_of, required=True, help="folder for comparison.json, tests.csv and paired.csv"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare, write, print."""
    from nnunet_spine.cli.console import print_json, stop_cleanly
    from nnunet_spine.evaluation.compare import FILES, STEP
    from nnunet_spine.evaluation.output import results_folder

    stop_cleanly()
    with results_folder(arguments.output, STEP, FILES):
        comparison = _compared(arguments)
    if arguments.json:
        print_json(comparison.to_json())
    else:
        print_comparison(comparison)
    _warn(comparison)
    return 0


def _compared(arguments: argparse.Namespace) -> Comparison:
    """Compare, and write what was found."""
    from nnunet_spine.evaluation.compare import STEP, compare, label_models, write_comparison
    from nnunet_spine.evaluation.output import hash_of
    from nnunet_spine.evaluation.results import EVALUATION_FILE
    from nnunet_spine.evaluation.schedule import Mode, require, training_of
    from nnunet_spine.files import is_folder
    from nnunet_spine.manifest import make_manifest

    paths = [path / EVALUATION_FILE if is_folder(path) else path for path in arguments.evaluations]
    models = label_models(paths, arguments.labels)
    comparison = compare(
        models,
        notes=[*arguments.note, *_departures(list(models), paths)],
        trainings={label: training_of(path.parent) for label, path in zip(models, paths, strict=True)},
        methods=arguments.methods,
    )
    require(comparison.schedules, Mode(arguments.mode) if arguments.mode else None)
    inputs = {key: hash_of(path) for key, path in zip(comparison.keys.values(), paths, strict=True)}
    manifest = make_manifest(STEP, parameters=_parameters(comparison), inputs=inputs)
    write_comparison(arguments.output, comparison, manifest)
    return comparison


def _parameters(comparison: Comparison) -> dict[str, Any]:
    methods = {name: list(labels) for name, labels in comparison.methods.items()}
    return {"models": comparison.keys, "methods": methods, "mode": comparison.schedules.mode.value}


def _warn(comparison: Comparison) -> None:
    """Name on standard error what makes the comparison one of training times."""
    from nnunet_spine.cli.console import report
    from nnunet_spine.evaluation.schedule import Mode

    if comparison.schedules.mode is Mode.MIXED:
        report("warning", comparison.schedules.explanation)


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
    """Print the models fold by fold, each against the first case by case, and the verdicts."""
    from nnunet_spine.cli.console import format_table, print_paragraph
    from nnunet_spine.evaluation import tables

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
    for header, rows in (
        *map(tables.tests_table, comparison.tests),
        *map(tables.methods_table, comparison.method_tests),
    ):
        print(format_table(header, rows))
        print()
    for explanation in comparison.explanations:
        print_paragraph(explanation)
    print()
    for verdict in comparison.verdicts:
        print_paragraph(f"Verdict: {verdict}")
