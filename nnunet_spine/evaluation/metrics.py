"""How well two masks agree: pure functions on boolean arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput, GeometryMismatch

Mask = npt.NDArray[np.bool_]
Spacing = tuple[float, float, float]
"""Distance of voxel centres along the array's axes (z, y, x), in mm."""


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels and the ratios of them; a ratio of nothing to nothing is NaN.

    What an empty mask scores is policy, not arithmetic: see `nnunet_spine.evaluation.policy`.

    Parameters
    ----------
    common, reference, prediction
        Voxels in both masks, in the reference, in the prediction.

    Source
    ------
    Dice LR, "Measures of the amount of ecologic association between species", Ecology 26(3):297-302, 1945; Jaccard P,
    "The distribution of the flora in the alpine zone", New Phytologist 11(2):37-50, 1912.
    """

    common: int
    reference: int
    prediction: int

    @classmethod
    def of(cls, reference: Mask, prediction: Mask) -> Overlap:
        """Overlap of two masks.

        Parameters
        ----------
        reference, prediction
            Boolean arrays of one shape, any number of dimensions.

        Raises
        ------
        BadInput, GeometryMismatch
            Where an array is not boolean, or the shapes differ.
        """
        check_pair(reference, prediction)
        common = np.count_nonzero(reference & prediction)
        return cls(int(common), int(np.count_nonzero(reference)), int(np.count_nonzero(prediction)))

    @property
    def dice(self) -> float:
        """Twice the common voxels over the sum of both counts."""
        return _ratio(2 * self.common, self.reference + self.prediction)

    @property
    def iou(self) -> float:
        """Common voxels over those in either mask."""
        return _ratio(self.common, self.reference + self.prediction - self.common)

    @property
    def precision(self) -> float:
        """Share of the prediction that lies in the reference."""
        return _ratio(self.common, self.prediction)

    @property
    def recall(self) -> float:
        """Share of the reference that was predicted."""
        return _ratio(self.common, self.reference)


def dice(reference: Mask, prediction: Mask) -> float:
    """Dice coefficient of two masks, NaN where both are empty; parameters and errors as for `Overlap.of`.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([False, True, False]))
    0.6666666666666666
    """
    return Overlap.of(reference, prediction).dice


def centroid_distance_mm(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """Distance of the mean places of the voxels of two masks, in mm; neither may be empty.

    Parameters
    ----------
    reference, prediction
        Boolean arrays (z, y, x) of one shape.
    spacing_mm
        Spacing (z, y, x). The axes of a volume are at right angles, so that its direction does not change a distance.
    """
    return float(np.linalg.norm((_centroid(prediction) - _centroid(reference)) * spacing_mm))


def _centroid(mask: Mask) -> npt.NDArray[np.float64]:
    """Mean index of the voxels along each axis."""
    axes = range(mask.ndim)
    counts = [np.count_nonzero(mask, axis=tuple(other for other in axes if other != axis)) for axis in axes]
    return np.array([np.average(np.arange(len(count)), weights=count) for count in counts])


def check_pair(reference: Mask, prediction: Mask) -> None:
    """Refuse what are not two boolean arrays of one shape, with `BadInput` or `GeometryMismatch`."""
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise BadInput(f"Masks of types {reference.dtype} and {prediction.dtype} were given. Expected boolean arrays.")
    if reference.shape != prediction.shape:
        raise GeometryMismatch(
            f"A reference of shape {reference.shape} and a prediction of shape {prediction.shape} cannot be compared. "
            "Expected one shape."
        )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
