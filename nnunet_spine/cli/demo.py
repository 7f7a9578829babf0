"""`nnunet-spine demo`: the main job on a synthetic cohort."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.console import print_json, print_paragraph, progress_bar
from nnunet_spine.cli.options import add_device, add_json, path_of

if TYPE_CHECKING:
    from nnunet_spine.workflow.study_settings import StudySettings


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "demo",
        help="run everything on a synthetic cohort",
        description="Make a synthetic cohort as a DICOM export, convert it, train the documented protocol for a few "
        "epochs and nnU-Net's own configuration for a few iterations, judge both, and write a report. Run again, it "
        "does only what is missing.",
    )
    parser.add_argument("--output", type=path_of, default=Path("demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--cases", type=int, default=24, metavar="N", help="default: %(default)s; 58 is the full cohort"
    )
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="default: %(default)s; documented: 400")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--background", type=path_of, metavar="DIR", help="real volumes to implant the lesions into")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; print both tables, the comparison, and where the report is."""
    from nnunet_spine.cli.run import require_done, show_run
    from nnunet_spine.workflow.demo import DemoSettings, check_settings, prepare_demo
    from nnunet_spine.workflow.engine import require_engine
    from nnunet_spine.workflow.study_file import read_study

    settings = DemoSettings(
        output=arguments.output.absolute(),
        cases=arguments.cases,
        seed=arguments.seed,
        epochs=arguments.epochs,
        background=arguments.background,
        device=arguments.device,
    )
    check_settings(settings)
    require_engine("local")
    started = time.monotonic()
    with progress_bar("phantoms", visible=not arguments.json) as progress:
        study = read_study(prepare_demo(settings, progress))
    before = _checkpoints(study)
    code = require_done(show_run(study, "local", visible=not arguments.json))
    if code != 0:
        return code
    after = _checkpoints(study)
    trained = [fold for fold, made in after.items() if before.get(fold) != made]
    _print_results(study, trained, time.monotonic() - started, as_json=arguments.json)
    return 0


def _checkpoints(study: StudySettings) -> dict[str, int]:
    """When the final checkpoint of each trained fold was written, by model and fold."""
    from nnunet_spine.nnunet.model_folder import CHECKPOINT

    return {
        f"{model.label} fold {path.parent.name.removeprefix('fold_')}": path.stat().st_mtime_ns
        for model in study.models
        for path in sorted(study.workspace(model).results.glob(f"*/*/fold_*/{CHECKPOINT}"))
    }


def _print_results(study: StudySettings, trained: list[str], seconds: float, *, as_json: bool) -> None:
    from nnunet_spine.cli.compare import print_comparison
    from nnunet_spine.cli.evaluate import print_evaluation
    from nnunet_spine.evaluation.compare import compare
    from nnunet_spine.evaluation.results import read_evaluation
    from nnunet_spine.evaluation.schedule import training_of
    from nnunet_spine.reporting.report import INDEX_FILE
    from nnunet_spine.workflow.step_commands import evaluation_folder

    folders = {model.label: evaluation_folder(study, model.label) for model in study.models}
    evaluations = {label: read_evaluation(folder) for label, folder in folders.items()}
    trainings = {label: training_of(folder) for label, folder in folders.items()}
    comparison = compare(evaluations, notes=study.notes, trainings=trainings)
    report = study.output / "report" / INDEX_FILE
    if as_json:
        found = {label: evaluation.to_json() for label, evaluation in evaluations.items()}
        content = {"evaluations": found, "comparison": comparison.to_json(), "report": str(report), "trained": trained}
        print_json(content)
        return
    for label, evaluation in evaluations.items():
        print(f"\n{label}\n")
        print_evaluation(evaluation)
    print("\ncomparison\n")
    print_comparison(comparison)
    print()
    done = f"trained {len(trained)} folds" if trained else "trained nothing: all was complete"
    print_paragraph(f"{done}, in {seconds:.0f} s")
    print(f"report: {report}")
