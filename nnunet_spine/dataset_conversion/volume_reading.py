"""Reading a volume file of a source, values that are not numbers included."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

from nnunet_spine.dataset_conversion.image_checks import NIBABEL_ERRORS, NIFTI_SUFFIXES
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.images import Volume, read_volume


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
        Where it cannot be read, or a value is not finite.
    """
    try:
        volume = read_volume(path)
        bad = _not_finite(path, volume)
    except (BadInput, NotFound, *NIBABEL_ERRORS) as failure:
        raise Unusable(f"the {what} cannot be read", "a scalar 3D NIfTI, NRRD or MHA", "Export it again") from failure
    if bad:
        raise Unusable(f"the {what} has {bad} voxels that are not finite", "numbers everywhere", "Export it again")
    return volume


def _not_finite(path: Path, volume: Volume) -> int:
    """Number of values that are NaN or infinite; nibabel looks at NIfTI, since ITK reads such values as 0."""
    values = volume.array
    if path.name.lower().endswith(NIFTI_SUFFIXES) and np.issubdtype(values.dtype, np.floating):
        values = np.asanyarray(nibabel.load(path).dataobj)
    return int(np.count_nonzero(~np.isfinite(values)))
