"""Epochs of a training as its own log tells them."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any


def epochs_of(folder: Path, last: int | None = None) -> Sequence[Any]:
    """Finished epochs of a fold, oldest first; none where there is no log."""
    try:
        log = import_module("nnunet_spine.training.epoch_log")
    except ModuleNotFoundError:
        return []
    path = folder / "training_progress.jsonl"
    return list(log.read_epochs(path, last=last)) if path.is_file() else []
