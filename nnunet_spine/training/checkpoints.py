"""Checkpoints that survive whatever ends a process: complete or not at all, and the one before kept beside.

nnU-Net's names and content stay. Added are the random states, which nnU-Net passes over.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._dynamo import OptimizedModule

from nnunet_spine.errors import WorkFailed
from nnunet_spine.files import link_or_copy, replacing
from nnunet_spine.nnunet.checkpoint_reading import DamagedCheckpoint, read_checkpoint_file
from nnunet_spine.nnunet.environment import is_trusted

LATEST, PREVIOUS, BEST = "checkpoint_latest.pth", "checkpoint_previous.pth", "checkpoint_best.pth"
RANDOM_STATES = "nnunet_spine_random_states"


def checkpoint_of(trainer: Any) -> dict[str, Any]:
    """Content of nnU-Net's checkpoint of a trainer after its current epoch, and the random states."""
    network = trainer.network._orig_mod if isinstance(trainer.network, OptimizedModule) else trainer.network
    return {
        "network_weights": network.state_dict(),
        "optimizer_state": trainer.optimizer.state_dict(),
        "grad_scaler_state": trainer.grad_scaler.state_dict() if trainer.grad_scaler is not None else None,
        "logging": trainer.logger.get_checkpoint(),
        "_best_ema": trainer._best_ema,
        "current_epoch": trainer.current_epoch + 1,
        "init_args": trainer.my_init_kwargs,
        "trainer_name": type(trainer).__name__,
        "inference_allowed_mirroring_axes": trainer.inference_allowed_mirroring_axes,
        RANDOM_STATES: random_states(),
    }


def random_states() -> dict[str, Any]:
    """State of every global random generator."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Set every global random generator to a state of `random_states`."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint to the disk, complete or not at all; an earlier one of this name stays as `PREVIOUS`.

    Raises
    ------
    NotWritable
        Where there is no room or no right to write; earlier checkpoints are untouched.
    """
    stream = io.BytesIO()
    torch.save(content, stream)
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            file.write(stream.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if path.name == LATEST and path.exists():
            with replacing(path.with_name(PREVIOUS)) as beside:
                link_or_copy(path, beside)


def read_checkpoint(path: Path, device: torch.device) -> tuple[Path, dict[str, Any], list[str]]:
    """A checkpoint, or the newest one beside it that can be read where it is damaged.

    Returns
    -------
    path, content, damaged
        The file, what it holds, and names of the files that could not be read.

    Raises
    ------
    WorkFailed
        If none can be read.
    UntrustedCheckpoint
        If one holds more than data, and is not trusted.
    """
    damaged: list[str] = []
    for candidate in _candidates(path):
        content = _read(candidate, device)
        if content is not None:
            return candidate, content, damaged
        damaged.append(candidate.name)
    raise WorkFailed(
        f"No checkpoint in {path.parent} can be read ({', '.join(damaged)}): the files are damaged. Take them from a "
        "backup, or remove them to train the fold from its start."
    )


def _candidates(path: Path) -> Iterator[Path]:
    """The checkpoint itself, then the newest of those beside it."""
    yield path
    if path.name == LATEST:
        yield from (beside for name in (PREVIOUS, BEST) if (beside := path.with_name(name)).is_file())


def _read(path: Path, device: torch.device) -> dict[str, Any] | None:
    try:
        content = read_checkpoint_file(path, device, trusted=is_trusted())
    except DamagedCheckpoint:
        return None
    epoch = content.get("current_epoch")
    return content if isinstance(epoch, int) and epoch >= 0 else None
