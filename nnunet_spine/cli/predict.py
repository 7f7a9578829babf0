"""`nnunet-spine predict`: segment new images with a trained model."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.console import print_json, progress_bar, stop_cleanly
from nnunet_spine.cli.options import (
    add_dataset,
    add_device,
    add_json,
    add_model,
    add_root,
    add_trust,
    fold_of,
    path_of,
    workspace_of,
)


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser("predict", help="segment new images with a trained model")
    add_dataset(parser)
    parser.add_argument(
        "--input",
        type=path_of,
        required=True,
        metavar="DIR",
        help="images named CASE_0000.nii.gz (or .nii, .nrrd, .mha), their axes in any order",
    )
    parser.add_argument("--output", type=path_of, required=True, metavar="DIR", help="segmentations, CASE.nii.gz")
    parser.add_argument(
        "--folds",
        type=fold_of,
        nargs="+",
        default=(),
        metavar="N",
        help="which to average, or all for the model of every case (default: each numbered one that is trained)",
    )
    parser.add_argument(
        "--save-probabilities", action="store_true", help="write CASE.npz beside each segmentation, as nnU-Net does"
    )
    add_model(parser)
    add_device(parser)
    add_trust(parser)
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predict what is missing and say how many images were done and kept."""
    from nnunet_spine.nnunet.prediction import Model, predict_folder

    stop_cleanly()
    with progress_bar("predicting", visible=not arguments.json) as progress:
        result = predict_folder(
            Model(arguments.dataset, arguments.trainer, arguments.plans, arguments.configuration),
            arguments.input,
            arguments.output,
            workspace_of(arguments),
            folds=arguments.folds,
            device=arguments.device,
            save_probabilities=arguments.save_probabilities,
            trust_model=arguments.trust_model,
            progress=progress,
        )
    if arguments.json:
        content = {"output": str(result.output), "done": result.done, "kept": result.kept, "folds": result.folds}
        print_json({**content, "warnings": result.warnings})
    else:
        folds = ", ".join(map(str, result.folds))
        print(f"predicted {len(result.done)} images with folds {folds}, kept {len(result.kept)}: {result.output}")
    return 0
