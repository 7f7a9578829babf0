"""`nnunet-spine import-corrections`: masks that a person corrected become references to train on."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.console import print_json, progress_bar, stop_cleanly
from nnunet_spine.cli.convert import DEFAULT_DATASET, add_tumor, conversion_as_dict, print_conversion
from nnunet_spine.cli.options import add_json, add_root, path_of, workspace_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "import-corrections",
        help="take masks that a person corrected into a data set",
        description="Take masks that a person corrected in 3D Slicer or ITK-SNAP, such as predictions, into a data "
        "set. A mask named after a case of the data set becomes its reference, and the earlier one is kept. A mask "
        "with the name of another image becomes a training case with that image.",
    )
    parser.add_argument(
        "masks", type=path_of, metavar="DIR", help="folder of CASE.nii.gz, .nii, .nrrd, .seg.nrrd or .mha"
    )
    parser.add_argument(
        "--dataset", default=str(DEFAULT_DATASET), metavar="N", help="number or name (default: %(default)s)"
    )
    parser.add_argument(
        "--images",
        type=path_of,
        metavar="FOLDER",
        help="images of new cases, CASE_0000.nii.gz (default: the data set's imagesTs)",
    )
    parser.add_argument(
        "--cases",
        type=path_of,
        metavar="FILE.csv",
        help="columns case, patient: whose new cases are (default: of new patients)",
    )
    add_tumor(parser)
    add_root(parser)
    parser.add_argument("--mapping", type=path_of, metavar="FILE", help="where the private mapping is")
    parser.add_argument("--allow-partial", action="store_true", help="exit 0 although masks were left out")
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Import and print what came of it."""
    from nnunet_spine.dataset_conversion.build import Run
    from nnunet_spine.dataset_conversion.corrections import import_corrections, request_for
    from nnunet_spine.dataset_conversion.raw_dataset import Target
    from nnunet_spine.dataset_conversion.reference_selection import Selection
    from nnunet_spine.nnunet.environment import allocated_cpus
    from nnunet_spine.reporting.conversion_page import conversion_page

    stop_cleanly()
    workspace = workspace_of(arguments)
    full_name = workspace.dataset_name(arguments.dataset)
    number, name = int(full_name[7:10]), full_name[11:]
    request = request_for(Target(number, name, workspace.raw, workspace.preprocessed), arguments.mapping)
    with progress_bar("import", visible=not arguments.json) as progress:
        how = Run(processes=allocated_cpus(), progress=progress, results=workspace.results, page=conversion_page)
        conversion = import_corrections(
            arguments.masks,
            request,
            how,
            images=arguments.images,
            listed=arguments.cases,
            selection=Selection(tuple(arguments.tumor_label), tuple(arguments.segment)),
        )
    if arguments.json:
        print_json(conversion_as_dict(conversion))
    else:
        print_conversion(conversion, number)
    return 1 if conversion.left_out and not arguments.allow_partial else 0
