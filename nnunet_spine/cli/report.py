"""`nnunet-spine report`: a folder of pages from evaluations that were made before."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.options import add_json, path_of

if TYPE_CHECKING:
    from nnunet_spine.evaluation.compare import Comparison
    from nnunet_spine.reporting.report import ReportModel

DEFAULT_TITLE = "Evaluation of spine-tumor segmentation"


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "report",
        help="make a report of evaluations: tables, plots, a page per case with a viewer",
        description="Make one folder that opens from disk without a network: index.html, a page per case with slices "
        "and an interactive viewer, report.md, and the tables as CSV. All figures are those of the evaluations; "
        "predictions and references must be the files that were judged. Exit code 1 if a case has no picture, "
        "or a mask cannot be drawn on its image.",
    )
    parser.add_argument(
        "--evaluation",
        type=path_of,
        action="append",
        required=True,
        metavar="DIR",
        help="folder that `nnunet-spine evaluate` wrote; repeat it to set models side by side, the baseline first",
    )
    parser.add_argument(
        "--predictions",
        type=path_of,
        action="append",
        required=True,
        metavar="DIR",
        help="the predictions of that evaluation; one for each, in the same order",
    )
    parser.add_argument(
        "--references", type=path_of, required=True, metavar="DIR", help="CASE.nii.gz, such as labelsTr"
    )
    parser.add_argument(
        "--images", type=path_of, required=True, metavar="DIR", help="CASE_0000.nii.gz, such as imagesTr"
    )
    parser.add_argument(
        "--output",
        type=path_of,
        required=True,
        metavar="DIR",
        help="folder of the report; an earlier report is replaced",
    )
    parser.add_argument(
        "--comparison",
        type=path_of,
        metavar="DIR",
        help="folder that `nnunet-spine compare` wrote of them: its notes, methods and tables are shown",
    )
    parser.add_argument("--labels", nargs="+", help="name of each model; default: the name of its evaluation's folder")
    parser.add_argument("--title", default=DEFAULT_TITLE, help="heading (default: %(default)s)")
    parser.add_argument("--note", action="append", default=[], help="caveat to show on top; may be repeated")
    add_json(parser)
    parser.set_defaults(run=run)


def _compared(models: Sequence[ReportModel], folder: Path | None) -> Comparison | None:
    """The models set side by side, with the notes and methods of an earlier comparison where one is given."""
    from nnunet_spine.evaluation.compare import compare
    from nnunet_spine.evaluation.schedule import training_of
    from nnunet_spine.reporting.report_inputs import EarlierComparison, earlier_comparison

    earlier = earlier_comparison(folder, models) if folder else EarlierComparison()
    if len(models) == 1:
        return None
    trainings = {model.label: training_of(model.folder) for model in models if model.folder}
    evaluations = {model.label: model.evaluation for model in models}
    return compare(evaluations, notes=earlier.notes, trainings=trainings, methods=earlier.methods)


def run(arguments: argparse.Namespace) -> int:
    """Check, write, say where it is."""
    from nnunet_spine.cli.console import print_json, progress_bar, report, stop_cleanly
    from nnunet_spine.errors import NotFound
    from nnunet_spine.files import is_folder
    from nnunet_spine.manifest import recorded_departures
    from nnunet_spine.reporting.report import INDEX_FILE, write_report
    from nnunet_spine.reporting.report_inputs import models_of_evaluations

    stop_cleanly()
    if not is_folder(arguments.images):
        raise NotFound(f"There is no folder {arguments.images} with images. Check the path.")
    models = models_of_evaluations(
        arguments.evaluation, arguments.predictions, arguments.references, labels=arguments.labels
    )
    with progress_bar("report", visible=not arguments.json) as progress:
        reasons = write_report(
            arguments.output,
            title=arguments.title,
            models=models,
            comparison=_compared(models, arguments.comparison),
            comparison_folder=arguments.comparison,
            images=arguments.images,
            references=arguments.references,
            notes=arguments.note,
            departures={
                model.label: [departure.describe() for departure in recorded_departures(model.folder)]
                for model in models
                if model.folder
            },
            progress=progress,
        )
    for case, reason in reasons.items():
        report("warning", f"{case}: {reason}")
    if arguments.json:
        print_json({"report": str(arguments.output / INDEX_FILE), "without_pictures": reasons})
    else:
        print(f"report: {arguments.output / INDEX_FILE}")
    return 1 if reasons else 0
