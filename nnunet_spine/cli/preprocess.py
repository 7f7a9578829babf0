"""`nnunet-spine preprocess`: the documented preprocessing of a planned data set."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.console import print_json, progress_bar, stop_cleanly
from nnunet_spine.cli.options import add_dataset, add_json, add_model, add_root, workspace_of


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("preprocess", help="preprocess the cases that are missing")
    add_dataset(parser)
    add_model(parser, trainer=False)
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Preprocess and say how many cases were done and kept."""
    from nnunet_spine.nnunet.environment import plans_option
    from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset

    stop_cleanly()
    with progress_bar("preprocessing", visible=not arguments.json) as progress:
        result = preprocess_dataset(
            arguments.dataset,
            workspace_of(arguments),
            plans_name=arguments.plans,
            configuration=arguments.configuration,
            progress=progress,
        )
    if arguments.json:
        print_json({"folder": str(result.folder), "done": list(result.done), "kept": list(result.kept)})
    else:
        print(f"preprocessed {len(result.done)} cases, kept {len(result.kept)}: {result.folder}")
        option = plans_option(arguments.plans)
        print(f"next:  nnunet-spine train {arguments.dataset} 0{option}    (then folds 1, 2, 3)")
    return 0
