"""`nnunet-spine train`: nnUNetv2_train with this package's defaults."""

from __future__ import annotations

import argparse
from typing import Any

from nnunet_spine.cli.console import print_json, print_paragraph, progress_bar
from nnunet_spine.cli.options import (
    add_dataset,
    add_device,
    add_json,
    add_model,
    add_root,
    add_trust,
    fold_of,
    workspace_of,
)
from nnunet_spine.nnunet.model_folder import ALL
from nnunet_spine.protocol import Precision


def add_subparser(subparsers: Any) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "train",
        help="train a fold, going on from whatever is there",
        description="Train a fold, going on from whatever is there, then predict its test cases. nnUNetv2_train with "
        "this package's defaults. Stopped by SIGTERM or SIGUSR1, it exits with 75: run it again to go on. The fold "
        "`all` trains on every case: the model for new patients, which has no test cases.",
    )
    add_dataset(parser)
    parser.add_argument("fold", metavar="FOLD", type=fold_of, help="number of the fold, from 0, or all")
    add_model(parser)
    parser.add_argument("--epochs", type=int, metavar="N", help="fewer epochs than documented; recorded as a departure")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of weights and order (default: the protocol's, 0)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: the CPUs allotted)")
    parser.add_argument(
        "--precision",
        choices=list(Precision),
        help="bfloat16 is faster on CPUs that have it (AMX, AVX-512 BF16); recorded as a departure (default: float32)",
    )
    parser.add_argument(
        "--save-probabilities",
        action="store_true",
        help="write CASE.npz beside each prediction of a test case, as nnU-Net's --npz does",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's event files below the fold's folder"
    )
    add_device(parser)
    add_trust(parser)
    add_root(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train a fold and say where it is."""
    from nnunet_spine.training.run import TrainingJob, train_fold

    job = TrainingJob(
        dataset=arguments.dataset,
        fold=arguments.fold,
        trainer=arguments.trainer,
        plans_name=arguments.plans,
        configuration=arguments.configuration,
        epochs=arguments.epochs,
        seed=arguments.seed,
        device=arguments.device,
        threads=arguments.threads,
        precision=arguments.precision,
        save_probabilities=arguments.save_probabilities,
        tensorboard=arguments.tensorboard,
        trust_model=arguments.trust_model,
    )
    with progress_bar(f"fold {arguments.fold}", visible=not arguments.json) as progress:
        trained = train_fold(job, workspace_of(arguments), progress=progress)
    if arguments.json:
        print_json({"folder": str(trained.folder), "was_complete": trained.was_complete})
    else:
        predicted = "its test cases are" if arguments.fold != ALL else "the cases that it trained on are"
        state = "was trained already" if trained.was_complete else f"is trained, and {predicted} predicted"
        print(f"fold {arguments.fold} {state}: {trained.folder}")
        if arguments.fold == ALL:
            print_paragraph(
                "It has seen every case, so it has no test cases, and the Dice of its predictions says nothing about "
                f"new patients. Predict those with: nnunet-spine predict {arguments.dataset} --folds all"
            )
    return 0
