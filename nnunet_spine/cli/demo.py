"""`nnunet-spine demo`: the main job on a synthetic cohort."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from nnunet_spine.cli.console import print_json, print_paragraph, progress_bar
from nnunet_spine.cli.options import add_device, add_json


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "demo",
        help="run everything on a synthetic cohort",
        description="Make a synthetic cohort as a DICOM export, convert it, train the documented protocol for a few "
        "epochs and nnU-Net's own configuration for a few iterations, judge both, and write a report. Run again, it "
        "does only what is missing.",
    )
    parser.add_argument("--output", type=Path, default=Path("demo"), metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--cases", type=int, default=24, metavar="N", help="default: %(default)s; 58 is the full cohort"
    )
    parser.add_argument("--epochs", type=int, default=30, metavar="N", help="default: %(default)s; documented: 400")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="default: %(default)s")
    parser.add_argument("--background", type=Path, metavar="DIR", help="real volumes to implant the lesions into")
    add_device(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo; print both tables, the comparison, and where the report is."""
    from nnunet_spine.cli.compare import print_comparison
    from nnunet_spine.cli.evaluate import print_evaluation
    from nnunet_spine.workflow.demo import DemoSettings, run_demo

    settings = DemoSettings(
        output=arguments.output.absolute(),
        cases=arguments.cases,
        seed=arguments.seed,
        epochs=arguments.epochs,
        background=arguments.background,
        device=arguments.device,
    )
    started = time.monotonic()
    result = run_demo(settings, lambda title: progress_bar(title, visible=not arguments.json))
    if arguments.json:
        print_json(
            {
                "evaluations": {label: evaluation.to_json() for label, evaluation in result.evaluations.items()},
                "comparison": result.comparison.to_json(),
                "report": str(result.report),
                "trained": list(result.trained),
            }
        )
        return 0
    for label, evaluation in result.evaluations.items():
        print(f"\n{label}\n")
        print_evaluation(evaluation)
    print("\ncomparison\n")
    print_comparison(result.comparison)
    print()
    done = f"trained {len(result.trained)} folds" if result.trained else "trained nothing: all was complete"
    print_paragraph(f"{done}, in {time.monotonic() - started:.0f} s")
    print(f"report: {result.report}")
    return 0
