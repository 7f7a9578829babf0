"""`nnunet-spine correct-bias`: correct the bias field of image files, and look at it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from nnunet_spine.cli.console import format_table, print_json, print_paragraph, progress_bar, report, stop_cleanly
from nnunet_spine.cli.options import add_json, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnunet_spine.workflow.bias_images import BiasSettings, ImageResult


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "correct-bias",
        help="correct the bias field of images, and show it",
        description="Estimate the bias field of NIfTI, NRRD or MHA volumes and divide it out. A corrected volume has "
        "its source's grid, format and name, as float32. Exit code 1 where some images could not be corrected, 2 where "
        "none could.",
    )
    parser.add_argument("images", type=path_of, nargs="+", metavar="IMAGE", help="volume: .nii, .nii.gz, .nrrd or .mha")
    parser.add_argument("--output", type=path_of, metavar="DIR", help="folder of the corrected volumes")
    parser.add_argument(
        "--method",
        choices=("van_leemput", "n4", "none"),
        default="van_leemput",
        help="default: %(default)s, which leaves an image without a clear field as it is",
    )
    parser.add_argument("--field", action="store_true", help="write the field, too: NAME_field.SUFFIX")
    parser.add_argument(
        "--report", type=path_of, metavar="FILE.html", help="page of pictures; replaced where it is there"
    )
    parser.add_argument(
        "--gamma",
        type=float,
        default=1.0,
        metavar="G",
        help="apply this gamma first, as preprocessing does (default: 1, none); all figures are then those after it",
    )
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Correct, write, and say what was found."""
    from nnunet_spine.errors import BadInput
    from nnunet_spine.protocol import BiasMethod
    from nnunet_spine.workflow.bias_images import BiasSettings, correct_images

    if arguments.output is None and (arguments.report is None or arguments.field):
        raise BadInput(
            "There is no place to write to. Give --output DIR; --report FILE.html alone only shows the fields."
        )
    stop_cleanly()
    settings = BiasSettings(BiasMethod(arguments.method), arguments.gamma, arguments.field)
    with progress_bar("correcting", visible=not arguments.json and len(arguments.images) > 1) as progress:
        results = correct_images(
            arguments.images, settings, output=arguments.output, page=arguments.report, progress=progress
        )
    if arguments.json:
        print_json(_as_json(settings, results))
    else:
        _show(settings, results)
        _say_where(results, arguments)
    return _report(results)


def _as_json(settings: BiasSettings, results: Sequence[ImageResult]) -> dict[str, Any]:
    return {
        "method": settings.method.value,
        "gamma": settings.gamma,
        "images": [_image_json(result) for result in results],
    }


def _image_json(result: ImageResult) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "image": str(result.source),
        "written": [str(path) for path in result.written],
        "kept": [str(path) for path in result.kept],
        "findings": asdict(result.findings) if result.findings else None,
        "error": result.error or None,
    }


def _show(settings: BiasSettings, results: Sequence[ImageResult]) -> None:
    from nnunet_spine.reporting.bias_words import HEADER, cells, gamma_note

    rows = [cells(result.source.name, result.findings) for result in results if result.findings]
    if not rows:
        return
    print(format_table(HEADER, rows))
    print_paragraph("strength: 95th over 5th percentile of the field in tissue")
    if settings.gamma != 1:
        print_paragraph(gamma_note(settings.gamma))


def _say_where(results: Sequence[ImageResult], arguments: argparse.Namespace) -> None:
    done = [result.findings for result in results if result.findings]
    corrected = sum(found.changed for found in done)
    kept = sum(bool(result.kept) for result in results)
    if arguments.output and done:
        there = f", there already {kept}" if kept else ""
        print(f"images corrected {corrected}, left unchanged {len(done) - corrected}{there}: {arguments.output}")
    if arguments.report:
        print(f"pictures: {arguments.report}")


def _report(results: Sequence[ImageResult]) -> int:
    """Name on standard error what a reader must know; 1 where some could not be corrected, 2 where none could."""
    from nnunet_spine.preprocessing.advice import Concern

    of_method = set()
    for result in results:
        for advice in result.findings.advice if result.findings else ():
            if advice.concern is Concern.NO_CONFIDENCE_KNOWN:
                of_method.add(advice.text)
            else:
                report("warning", f"{result.source.name}: {advice.text}.")
        if result.error:
            report("error", result.error)
    for text in of_method:
        report("warning", f"{text}.")
    failed = sum(bool(result.error) for result in results)
    return 0 if not failed else 2 if failed == len(results) else 1
