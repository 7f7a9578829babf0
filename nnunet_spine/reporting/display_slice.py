"""The slice by which a volume is shown: the middle one, turned as a reader expects it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_spine.grids import Geometry
from nnunet_spine.images import SAGITTAL_ORIENTATION, Volume, reorient
from nnunet_spine.preprocessing.geometry import slice_axis

PLANES = {
    "R": ("sagittal", SAGITTAL_ORIENTATION),
    "L": ("sagittal", SAGITTAL_ORIENTATION),
    "A": ("coronal", "LIP"),
    "P": ("coronal", "LIP"),
    "I": ("axial", "LPS"),
    "S": ("axial", "LPS"),
}
"""Name of the plane by where its axis points, and to where columns, rows and slices grow when it is shown."""

_SHOWN_SIDES = {"sagittal": "superior up, anterior left", "coronal": "superior up, right of the patient left"}
_SHOWN_SIDES["axial"] = "anterior up, right of the patient left"


@dataclass(frozen=True)
class DisplaySlice:
    """A slice of a grid.

    Parameters
    ----------
    axis
        Array axis (0, 1, 2 for z, y, x) that the slice is across.
    index
        Its place on that axis.
    plane
        sagittal, coronal or axial; of an oblique grid, the nearest.
    geometry
        Of the slice alone.
    """

    axis: int
    index: int
    plane: str
    geometry: Geometry

    @property
    def sides(self) -> str:
        """Where the patient's sides are in the picture."""
        return _SHOWN_SIDES[self.plane]

    def of(self, array: npt.NDArray[Any]) -> Volume:
        """The slice of a volume's array (z, y, x), turned for the reader; a volume of one slice on axis 0."""
        orientation = next(code for plane, code in PLANES.values() if plane == self.plane)
        return reorient(Volume(np.take(array, [self.index], self.axis), self.geometry), orientation)


def middle_slice(geometry: Geometry) -> DisplaySlice:
    """The middle slice across the axis of thick slices, or else across the axis on which the volume is thinnest."""
    axis = slice_axis(geometry.shape_zyx, geometry.spacing_zyx_mm)
    pointing = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction)[2 - axis]
    size = [1 if n == 2 - axis else length for n, length in enumerate(geometry.size_xyz)]
    alone = replace(geometry, size_xyz=(size[0], size[1], size[2]))
    return DisplaySlice(axis, geometry.shape_zyx[axis] // 2, PLANES[pointing][0], alone)
