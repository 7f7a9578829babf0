"""`nnunet-spine phantoms`: write a synthetic cohort as a hospital's DICOM export."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from nnunet_spine.cli.console import print_json, progress_bar, report
from nnunet_spine.cli.options import add_json, path_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "phantoms",
        help="write a synthetic cohort of spine MRI with tumors, as DICOM",
        description="Write fake patients with spine MRI and intradural tumors, as a hospital's archive exports them.",
    )
    parser.add_argument("--output", type=path_of, required=True, metavar="DIR", help="folder to create")
    parser.add_argument("--cases", type=int, default=58, metavar="N", help="number of cases (default: 58)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, another cohort (default: 0)")
    parser.add_argument(
        "--background",
        type=path_of,
        metavar="DIR",
        help="folder of real volumes (NAME.nii.gz, NAME_cord.nii.gz) to put the tumors into",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the cohort and print what it holds."""
    from nnunet_spine.phantoms.backgrounds import first_few
    from nnunet_spine.phantoms.cohort import write_cohort

    with progress_bar("phantoms", visible=not arguments.json) as progress:
        summary = write_cohort(
            arguments.output,
            cases=arguments.cases,
            seed=arguments.seed,
            background=arguments.background,
            progress=progress,
        )
    for reason in first_few(summary.unused_backgrounds):
        report("warning", reason)
    if arguments.json:
        print_json({**asdict(summary), "folder": str(summary.folder)})
        return 0
    print("This cohort is already there; nothing was changed." if summary.already_there else "Cohort written.")
    print(
        f"{summary.folder}: {summary.cases} cases of {summary.patients} patients, {summary.files} DICOM files, "
        f"{summary.megabytes} MB, tumors of {summary.smallest_ml} to {summary.largest_ml} ml."
    )
    return 0
