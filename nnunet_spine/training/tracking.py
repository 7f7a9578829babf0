"""TensorBoard's event files of a training, written without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_spine.errors import MissingDependency
from nnunet_spine.training.epoch_log import Epoch

FOLDER = "tensorboard"
ADVICE = (
    "TensorBoard is asked for and not installed. Install it with `pip install 'nnunet_spine[tensorboard]'`, or leave "
    "it out."
)


def check_installed() -> None:
    """Raise `MissingDependency` where TensorBoard cannot be imported."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingDependency(ADVICE) from error


def write_events(folder: Path, epochs: Sequence[Epoch]) -> None:
    """Add epochs to the event files below a fold's folder.

    The first call of a process writes all anew: what earlier files hold becomes void, be it too much or too little.

    Parameters
    ----------
    folder
        A fold's folder.
    epochs
        All that are finished; the first call writes them all, any other the last one.
    """
    writer = _writers.get(folder)
    if writer is None:
        check_installed()
        from torch.utils.tensorboard import SummaryWriter

        writer = _writers[folder] = SummaryWriter(str(folder / FOLDER), purge_step=epochs[0].epoch)
    else:
        epochs = epochs[-1:]
    for epoch in epochs:
        values = {
            "loss/training": epoch.train_loss,
            "loss/test": epoch.test_loss,
            "pseudo_dice": epoch.pseudo_dice,
            "learning_rate": epoch.learning_rate,
            "seconds_per_epoch": epoch.seconds,
        }
        for name, value in values.items():
            if value is not None:
                writer.add_scalar(name, value, epoch.epoch)
    writer.flush()


_writers: dict[Path, Any] = {}
