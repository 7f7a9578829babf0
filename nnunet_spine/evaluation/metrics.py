"""How well two masks agree: pure functions on boolean arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.protocol import Criterion

Mask = npt.NDArray[np.bool_]


def dice(reference: Mask, prediction: Mask) -> float:
    """Dice coefficient of two masks.

    Parameters
    ----------
    reference, prediction
        Boolean arrays of one shape, any number of dimensions.

    Returns
    -------
    float
        Twice the common voxels over the sum of both counts, 0 to 1; NaN where both masks are empty. What an empty mask
        scores is policy, not arithmetic: see `nnunet_spine.evaluation.policy`.

    Raises
    ------
    BadInput, GeometryMismatch
        Where an array is not boolean, or the shapes differ.

    Source
    ------
    Dice LR, "Measures of the amount of ecologic association between species", Ecology 26(3):297-302, 1945.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise BadInput(f"Masks of types {reference.dtype} and {prediction.dtype} were given. Expected boolean arrays.")
    if reference.shape != prediction.shape:
        raise GeometryMismatch(
            f"A reference of shape {reference.shape} and a prediction of shape {prediction.shape} cannot be compared. "
            "Expected one shape."
        )
    total = int(np.count_nonzero(reference)) + int(np.count_nonzero(prediction))
    return 2 * int(np.count_nonzero(reference & prediction)) / total if total else math.nan


DETECTED: Mapping[Criterion, Callable[[float], bool]] = MappingProxyType(
    {Criterion.ANY_OVERLAP: lambda value: value > 0}
)
"""For each criterion, whether a case with this Dice counts as detected."""
