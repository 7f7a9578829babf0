"""Reading a volume file of a source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.images import NotFinite, Volume, read_layers, read_volume

Read = TypeVar("Read")


def read_finite_volume(path: Path, what: str) -> Volume:
    """Read a volume whose values are all finite.

    Parameters
    ----------
    path
        NIfTI, NRRD or MHA.
    what
        How messages name it, such as "image"; they never carry the path.

    Raises
    ------
    Unusable
        If it cannot be read, or a value is not finite.
    """
    return _read(read_volume, path, what)


def read_finite_layers(path: Path, what: str) -> list[Volume]:
    """Read a file in which a voxel may have several values, one volume for each; as `read_finite_volume`."""
    return _read(read_layers, path, what)


def _read(reader: Callable[[Path], Read], path: Path, what: str) -> Read:
    try:
        return reader(path)
    except NotFinite as failure:
        raise Unusable(
            f"the {what} has {failure.voxels} voxels that are not finite", "numbers everywhere", "Export it again"
        ) from failure
    except (BadInput, NotFound) as failure:
        raise unusable_volume(failure, path, what) from failure


def unusable_volume(failure: Exception, path: Path, what: str) -> Unusable:
    """Why a volume file cannot be used, from what reading it raised; the path stays out of it."""
    return Unusable(f"the {what} {_reason(failure, path)}", "a scalar 3D NIfTI, NRRD or MHA", "Export it again")


def _reason(failure: Exception, path: Path) -> str:
    """The first sentence of a message as a predicate, without the path that it begins with."""
    sentence = str(failure).split(". ")[0].rstrip(".")
    for start, instead in ((f"The header of {path} ", "has a header that "), (f"{path} ", "")):
        if sentence.startswith(start):
            return instead + sentence.removeprefix(start)
    return "is not there" if isinstance(failure, NotFound) else "cannot be read as a volume"
