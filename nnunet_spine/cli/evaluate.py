"""`nnunet-spine evaluate`: judge predictions by cross-validation."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.options import add_json, path_of
from nnunet_spine.protocol import PROTOCOL, Criterion

if TYPE_CHECKING:
    from nnunet_spine.evaluation.insight import Insight
    from nnunet_spine.evaluation.results import Evaluation


def add_subparser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "evaluate",
        help="judge predictions: sensitivity and Dice per fold",
        description="Judge the predictions of a cross-validation and print the source deck's table of results. "
        "Exit code 1 where a prediction is missing, empty, unusable or of no test case: each is named, all is "
        "written, and a case without a usable prediction counts as a miss.",
    )
    parser.add_argument("--reference", type=path_of, required=True, help="folder of CASE.nii.gz, such as labelsTr")
    parser.add_argument(
        "--predictions",
        type=path_of,
        required=True,
        help="folder of CASE.nii.gz, or nnU-Net's trained-model folder with fold_K/validation",
    )
    parser.add_argument("--splits", type=path_of, required=True, help="nnU-Net's splits_final.json")
    parser.add_argument("--cases", type=path_of, help="cases.csv: the patient of each case")
    parser.add_argument(
        "--criterion",
        choices=[_option(criterion) for criterion in Criterion],
        default=_option(PROTOCOL.criterion),
        help="when a case counts as detected (default: %(default)s)",
    )
    parser.add_argument("--images", type=path_of, help="folder of CASE_0000.nii.gz, such as imagesTr: how lesions look")
    parser.add_argument(
        "--resize-ceiling", type=path_of, metavar="CSV", help="PLANS_resize_ceiling.csv, as `plan` writes it"
    )
    parser.add_argument("--bias-fields", type=path_of, metavar="CSV", help="PLANS_bias_fields.csv, as `plan` writes it")
    parser.add_argument("--output", type=path_of, required=True, help="folder for evaluation.json and the tables")
    parser.add_argument(
        "--accept-empty",
        action="store_true",
        help="exit with 0 where nothing worse was found than empty predictions, which are named and count as misses",
    )
    parser.add_argument(
        "--compare-with-source-deck", action="store_true", help="print the source deck's published table too"
    )
    add_json(parser)
    parser.set_defaults(run=run)


def _option(criterion: Criterion) -> str:
    """A criterion as an option spells it."""
    return criterion.value.replace("_", "-")


def run(arguments: argparse.Namespace) -> int:
    """Judge, write, print."""
    from nnunet_spine.cli.console import print_json, stop_cleanly
    from nnunet_spine.evaluation import insight, output

    stop_cleanly()
    with output.results_folder(arguments.output, output.STEP, (*output.FILES, *insight.FILES)):
        evaluation, found, content = _judge(arguments)
    if arguments.json:
        print_json(content)
    else:
        print_evaluation(evaluation, with_source_deck=arguments.compare_with_source_deck)
        print_insight(found)
    return _report(evaluation, accept_empty=arguments.accept_empty)


def _judge(arguments: argparse.Namespace) -> tuple[Evaluation, Insight, dict[str, Any]]:
    """Judge, and write what was found; returns it with the content of evaluation.json."""
    from nnunet_spine.cases import read_cases, read_splits
    from nnunet_spine.cli.console import progress_bar
    from nnunet_spine.evaluation.facts import read_planning_tables
    from nnunet_spine.evaluation.insight import evaluate_with_insight
    from nnunet_spine.evaluation.observation import images_by_case
    from nnunet_spine.evaluation.output import STEP, hash_masks, hash_of, write_evaluation
    from nnunet_spine.evaluation.schedule import TRAINING_KEY, recorded_training
    from nnunet_spine.manifest import make_manifest, recorded_departures

    folds = read_splits(arguments.splits)
    cases = read_cases(arguments.cases) if arguments.cases else None
    planned = read_planning_tables(arguments.resize_ceiling, arguments.bias_fields)
    images = images_by_case(arguments.images) if arguments.images else None
    with progress_bar("evaluate", visible=not arguments.json) as progress:
        evaluation, insight = evaluate_with_insight(
            arguments.reference,
            arguments.predictions,
            folds,
            cases=cases,
            images=images,
            planned=planned,
            criterion=Criterion(arguments.criterion.replace("-", "_")),
            progress=progress,
        )
    names = ("splits", "cases", "resize_ceiling", "bias_fields")
    tables = {name: path for name in names if (path := getattr(arguments, name))}
    inputs = {name: hash_of(path) for name, path in tables.items()}
    inputs |= hash_masks(arguments.reference, arguments.predictions, folds, images)
    parameters = {
        "criterion": evaluation.criterion.value,
        "tools": dict(evaluation.tools),
        TRAINING_KEY: recorded_training(arguments.predictions),
    }
    different = recorded_departures(arguments.predictions)
    manifest = make_manifest(STEP, parameters=parameters, inputs=inputs, departures=different)
    content = write_evaluation(
        arguments.output, evaluation, manifest, more=insight.to_json(), more_files=insight.csv_files()
    )
    return evaluation, insight, content


WORST_PRINTED = 10


def print_insight(insight: Insight) -> None:
    """Print strata, the worst cases with their reasons, and calibration where probabilities were saved."""
    from nnunet_spine.cli.console import format_table, print_paragraph
    from nnunet_spine.evaluation import calibration, strata, worst_cases

    print()
    print(format_table(strata.TABLE_HEADER, insight.strata.table_rows()))
    print()
    for remark in insight.strata.remarks():
        print_paragraph(remark)
    worst = insight.worst_cases
    print()
    print_paragraph(worst.heading())
    for case in worst.cases[:WORST_PRINTED]:
        print_paragraph(f"- {worst.describe(case)}")
    if len(worst.cases) > WORST_PRINTED:
        print_paragraph(f"{len(worst.cases) - WORST_PRINTED} more stand in {worst_cases.WORST_CASES_FILE}.")
    print()
    print(format_table(worst_cases.FREQUENCY_HEADER, worst.frequency_rows()))
    if insight.calibration.cases:
        print()
        print(format_table(calibration.BIN_HEADER, insight.calibration.table_rows()))
        print()
        for sentence in insight.calibration.sentences():
            print_paragraph(sentence)


def print_evaluation(evaluation: Evaluation, *, with_source_deck: bool = False) -> None:
    """Print the source deck's table with our figures, and the published one beside it where that is wanted."""
    from nnunet_spine.cli.console import format_table, print_paragraph
    from nnunet_spine.evaluation import source_deck, tables
    from nnunet_spine.evaluation.summary import summarise

    print(format_table(tables.HEADER, tables.table_rows(evaluation)))
    print()
    print_paragraph(tables.average_note(evaluation))
    if specificity := tables.specificity_note(evaluation):
        print_paragraph(specificity)
    print_paragraph(tables.definitions(evaluation.criterion))
    print_paragraph(source_deck.average_sensitivity_note())
    print()
    summary = summarise(evaluation)
    print(format_table(tables.SUMMARY_HEADER, tables.summary_rows(summary)))
    print()
    for note in tables.summary_notes(summary):
        print_paragraph(note)
    if with_source_deck:
        print()
        print(format_table(source_deck.BESIDE_HEADER, source_deck.rows_beside(evaluation)))
        print()
        for note in source_deck.footnotes():
            print_paragraph(note)


def _report(evaluation: Evaluation, *, accept_empty: bool) -> int:
    """Name on standard error what a reader must know; 1 where the work is not complete."""
    from nnunet_spine.cli.console import report

    for note in evaluation.all_notes():
        report("note", note)
    for problem in evaluation.all_problems():
        report("warning", problem)
    return 1 if evaluation.all_problems(accept_empty=accept_empty) else 0
