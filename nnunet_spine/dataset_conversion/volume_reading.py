"""Reading a volume file of a source."""

from __future__ import annotations

from pathlib import Path

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.images import NotFinite, Volume, read_volume


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
    try:
        return read_volume(path)
    except NotFinite as failure:
        raise Unusable(
            f"the {what} has {failure.voxels} voxels that are not finite", "numbers everywhere", "Export it again"
        ) from failure
    except (BadInput, NotFound) as failure:
        raise Unusable(
            f"the {what} {_reason(failure, path)}", "a scalar 3D NIfTI, NRRD or MHA", "Export it again"
        ) from failure


def _reason(failure: Exception, path: Path) -> str:
    """The first sentence of a message, without the path that it begins with."""
    text = str(failure)
    return text.removeprefix(str(path)).strip().split(". ")[0] if text.startswith(str(path)) else "cannot be read"
