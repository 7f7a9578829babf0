"""Checkpoints of other people, read as data: nothing in them is run.

A checkpoint is a pickle, and a pickle can run any program while it is read. torch reads one without that
(`weights_only`) given the types that are harmless; nnU-Net's need a few of numpy's beside torch's own.
Imports torch only to load.
"""

from __future__ import annotations

import functools
import logging
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.files import is_regular_file, system_reason
from nnunet_spine.nnunet.environment import TRUST_OPTION, TRUST_VARIABLE, is_trusted

MOST_UNPACKED = 4
"""A checkpoint may unpack to as many times its size: torch does not compress."""

TRUST_WARNING = (
    f"{TRUST_OPTION} lets the code in a model run: it can read, change and send whatever you can. Give it only for "
    "models of people whom you trust as yourself."
)

_NUMBERS = "?bBhHiIlLqQefdgFDGSU"
"""numpy's letters of the types that a checkpoint may hold: truth values, numbers and text; no objects."""

logger = logging.getLogger(__name__)


class DamagedCheckpoint(BadInput):
    """A checkpoint that cannot be read: cut off, altered, or none at all."""


class UntrustedCheckpoint(BadInput):
    """A checkpoint that holds more than data."""


def check_archive(path: Path) -> None:
    """Check that a checkpoint is whole, by the checksums in it, and unpacks to about its size. Needs no torch.

    Raises
    ------
    NotFound
        If there is no such file.
    DamagedCheckpoint
        If it is no archive of torch's, or damaged. torch itself does not compare the checksums that it writes.
    """
    if not is_regular_file(path):
        raise NotFound(f"There is no checkpoint {path}. Train the fold, or check the path.")
    try:
        size = path.stat().st_size
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
            sound = unpacked <= MOST_UNPACKED * size and archive.testzip() is None
    except OSError as error:
        raise DamagedCheckpoint(f"{path} cannot be read: {system_reason(error)}. Check its permissions.") from error
    except Exception as error:
        what = "is damaged, or no checkpoint" if size else "is empty"
        raise DamagedCheckpoint(f"{path} {what}. {_REMEDY}") from error
    if unpacked > MOST_UNPACKED * size:
        raise DamagedCheckpoint(
            f"{path} has {size} bytes and would unpack to {unpacked}. It is no checkpoint of nnU-Net: torch does not "
            "compress them. Get it again from who made it."
        )
    if not sound:
        raise DamagedCheckpoint(f"{path} is damaged. {_REMEDY}")


_REMEDY = "Take it from a backup or from who made it, or train the fold again."


def read_checkpoint_file(
    path: Path, device: Any = "cpu", *, trusted: bool = False, mapped: bool = False, checked: bool = False
) -> dict[str, Any]:
    """Content of a checkpoint of nnU-Net, as data.

    Parameters
    ----------
    path
        The file.
    device
        Where its tensors go, as torch.load takes it.
    trusted
        Whether code in it may run; see `TRUST_WARNING`.
    mapped
        Whether tensors are mapped from the file instead of copied, on the CPU.
    checked
        Whether `check_archive` has seen the file already.

    Raises
    ------
    NotFound, DamagedCheckpoint
        As for `check_archive`; `DamagedCheckpoint` also if it is no checkpoint of nnU-Net.
    UntrustedCheckpoint
        If it holds more than data, and is not trusted.
    """
    if not checked:
        check_archive(path)
    content = _load(path, trusted=trusted, map_location=device, mmap=mapped)
    if not _is_checkpoint(content):
        raise DamagedCheckpoint(f"{path} is no checkpoint of nnU-Net: it lacks what nnU-Net writes. Get it again.")
    return dict(content)


def _is_checkpoint(content: Any) -> bool:
    """Whether a prediction finds in it what it needs, in the kinds that nnU-Net writes."""
    if not isinstance(content, dict):
        return False
    axes, made = content.get("inference_allowed_mirroring_axes"), content.get("init_args")
    return (
        isinstance(content.get("network_weights"), dict)
        and isinstance(made, dict)
        and isinstance(made.get("configuration"), str)
        and str(content.get("trainer_name")).isidentifier()
        and (axes is None or _are_axes(axes))
    )


def _are_axes(value: Any) -> bool:
    """Whether a value is a list of axes; whether they are those of the patch is asked where the patch is known."""
    if not isinstance(value, tuple | list):
        return False
    return all(not isinstance(axis, bool) and axis in (0, 1, 2) for axis in value)


def _load(file: Any, *, trusted: bool, **options: Any) -> Any:
    import torch

    load = getattr(torch.load, "__wrapped__", torch.load)  # torch's own, also where another function is in its place
    name = file if isinstance(file, str | Path) else "The file"
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return load(file, weights_only=not trusted, **options)
    except MemoryError:
        raise
    except Exception as error:
        if not trusted and (isinstance(error, pickle.UnpicklingError) or "TorchScript" in str(error)):
            raise UntrustedCheckpoint(_untrusted(name, str(error))) from None
        raise DamagedCheckpoint(f"{name} is damaged, or no checkpoint. {_REMEDY}") from error


def _untrusted(name: object, message: str) -> str:
    found = re.search(r"GLOBAL (\S{1,80})", message)
    asked = f" ({found[1]})" if found else ""
    return (
        f"{name} holds more than numbers and text{asked}. To read it in full can run any program as you, and "
        f"checkpoints of nnU-Net do not need it. If you trust its maker as yourself, give {TRUST_OPTION} or set "
        f"{TRUST_VARIABLE}=1."
    )


def _harmless() -> list[Any]:
    """What `weights_only` may take beside torch's own types: numpy's numbers and arrays of them, by numpy 1 and 2."""
    kinds = {type(np.dtype(letter)) for letter in _NUMBERS}
    functions = [
        (function, f"{module}.{name}")
        for module in ("numpy.core.multiarray", "numpy._core.multiarray")
        for function, name in ((_scalar, "scalar"), (_empty_array, "_reconstruct"))
    ]
    return [*kinds, *functions, (np.ndarray, "numpy.ndarray"), (_number_type, "numpy.dtype")]


def _number_type(*arguments: Any) -> Any:
    """A dtype of numbers or text."""
    found = np.dtype(*arguments)
    if found.char not in _NUMBERS:
        raise pickle.UnpicklingError("an array of objects")
    return found


def _scalar(kind: Any, content: bytes) -> Any:
    """One of numpy's numbers, from its bytes."""
    return np.frombuffer(content, kind, 1)[0]


def _empty_array(_kind: Any, _shape: Any, _letter: Any) -> Any:
    """An array without content, which then gets its own by `__setstate__`."""
    return np.ndarray((0,), np.int8)


@contextmanager
def loading_as_data() -> Iterator[None]:
    """Let torch.load, which nnU-Net calls with all rights, read checkpoints as data in the block.

    Does nothing but warn if the user trusts models (`environment.is_trusted`).
    """
    if is_trusted():
        logger.warning(TRUST_WARNING)
        yield
        return

    def load(file: Any, map_location: Any = None, *_more: Any, **_options: Any) -> Any:
        """Load as data."""
        if isinstance(file, str | Path):
            check_archive(Path(file))
        return _load(file, trusted=False, map_location=map_location)

    with _as_torch_load(load):
        yield


@contextmanager
def handing_over(content: dict[str, Any]) -> Iterator[None]:
    """Let torch.load give a content that was read before: nnU-Net's trainer takes a file's name and no content."""
    with _as_torch_load(lambda *_arguments, **_options: content):
        yield


@contextmanager
def _as_torch_load(function: Callable[..., Any]) -> Iterator[None]:
    import torch

    earlier = torch.load
    torch.load = functools.wraps(getattr(earlier, "__wrapped__", earlier))(function)
    try:
        yield
    finally:
        torch.load = earlier
