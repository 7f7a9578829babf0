"""Options that several sub-commands share."""

from __future__ import annotations

import argparse
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_spine.environment_variables import variables_set
from nnunet_spine.nnunet.environment import (
    CONFIGURATION,
    DEFAULT_TRAINER,
    PLANS_NAME,
    TRUST_OPTION,
    TRUST_VARIABLE,
    Workspace,
)
from nnunet_spine.nnunet.model_folder import ALL, FoldName
from nnunet_spine.nnunet.runtime import DEVICES


def path_of(text: str) -> Path:
    """Path of an option or argument; `argparse.ArgumentTypeError` if no file can have that name.

    The message does not repeat the text, which may name a patient.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("found an empty path; expected a file or a folder")
    if "\0" in text:
        raise argparse.ArgumentTypeError("found a NUL character in a path, which no file name can have")
    try:
        os.lstat(text)
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise argparse.ArgumentTypeError(f"this is no path: {error.strerror}") from error
        if error.errno == errno.EACCES:
            raise argparse.ArgumentTypeError(
                "a folder in this path cannot be entered: check its permissions"
            ) from error
    except ValueError as error:
        raise argparse.ArgumentTypeError("found a character in a path that no file name can have") from error
    return Path(text)


def add_root(parser: argparse.ArgumentParser) -> None:
    """`--root`: where nnU-Net's folders are."""
    parser.add_argument(
        "--root",
        type=path_of,
        metavar="DIR",
        help="folder that holds nnUNet_raw, nnUNet_preprocessed and nnUNet_results (default: the variables of these "
        "names, else $NNUNET_SPINE_HOME, else ./nnunet_spine_data)",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: machine-readable output."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """The data set, as nnU-Net names it."""
    parser.add_argument("dataset", metavar="DATASET", help="number or full name, such as 58")


def add_model(parser: argparse.ArgumentParser, *, trainer: bool = True) -> None:
    """nnU-Net's names of a model."""
    if trainer:
        parser.add_argument("--trainer", default=DEFAULT_TRAINER, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--plans", default=PLANS_NAME, metavar="NAME", help="default: %(default)s")
    parser.add_argument("--configuration", default=CONFIGURATION, metavar="NAME", help="default: %(default)s")


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device`: what to compute on."""
    parser.add_argument(
        "--device",
        default="auto",
        choices=DEVICES,
        help="auto (default) takes a GPU where there is one",
    )


def fold_of(text: str) -> FoldName:
    """Fold of an argument: a number, or `all`; `argparse.ArgumentTypeError` otherwise."""
    if text == ALL:
        return ALL
    if not (text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"found {text[:40]!a}; expected the number of a fold, from 0, or {ALL}")
    return int(text)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """`--trust-model`: whether a model may run code."""
    parser.add_argument(
        TRUST_OPTION,
        action="store_true",
        help="read checkpoints that hold more than data, which can run any program as you (docs/trusting_models.md)",
    )


@contextmanager
def trusting(arguments: argparse.Namespace) -> Iterator[None]:
    """Let models run code in the block if the parsed `--trust-model` says so."""
    with variables_set({TRUST_VARIABLE: 1 if arguments.trust_model else None}):
        yield


def workspace_of(arguments: argparse.Namespace) -> Workspace:
    """nnU-Net's folders for the parsed `--root`."""
    return Workspace.from_environment(arguments.root)
