"""Where nnU-Net runs, and what of its printing reaches the console. Imports torch only when asked for a device."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from nnunet_spine.errors import BadInput

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(device: str) -> str:
    """Device for an option: "auto" is a GPU where there is one, else the CPU.

    Raises
    ------
    BadInput
        Where the device is none of `DEVICES`, or is not there.
    """
    import torch

    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return "cuda" if present["cuda"] else "cpu"
    if not present.get(device, False):
        usable = ", ".join(name for name, there in present.items() if there)
        raise BadInput(f"The device {device[:20]!r} is not there. Usable here: {usable}.")
    return device


@contextmanager
def quiet(active: bool = True) -> Iterator[None]:
    """Keep what nnU-Net prints off the console for the block, where `active`; its log files have it."""
    if not active:
        yield
        return
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        yield
