"""Epochs of a training as its own log tells them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def epochs_of(folder: Path, last: int | None = None) -> Sequence[Any]:
    """Finished epochs of a fold, oldest first; none where there is no log."""
    try:
        from nnunet_spine.training.epoch_log import read_epochs
    except ImportError:
        return []
    return list(read_epochs(folder / "training_progress.jsonl", last=last))
