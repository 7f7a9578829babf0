"""How far an image reaches, and whether it cuts a lesion: from the grid and the mask alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_spine.evaluation.boxes import bounding_box
from nnunet_spine.evaluation.metrics import Mask, Spacing
from nnunet_spine.grids import Geometry


@dataclass(frozen=True)
class Extent:
    """Reach of a grid along the directions of the body, in mm."""

    head_to_foot_mm: float
    front_to_back_mm: float
    side_to_side_mm: float


def extent_of(geometry: Geometry) -> Extent:
    """Reach of a grid: for each direction of the body, that of the grid's axis nearest to it.

    Parameters
    ----------
    geometry
        Any grid; an oblique one is measured along its own axes.
    """
    along = np.abs(np.reshape(geometry.direction, (3, 3))).argmax(axis=1)
    reach = np.asarray(geometry.size_xyz) * np.asarray(geometry.spacing_xyz_mm)
    side, front, head = (float(reach[axis]) for axis in along)
    return Extent(head, front, side)


def border_voxels(mask: Mask) -> int:
    """How many voxels of a mask (z, y, x) lie in the outermost layer of its array."""
    interior = mask[1:-1, 1:-1, 1:-1]
    return int(np.count_nonzero(mask)) - int(np.count_nonzero(interior))


def half_length_mm(mask: Mask, spacing_mm: Spacing) -> float:
    """Half of the longest side of the box around a mask (z, y, x) that is not empty, in mm."""
    voxels = [side.stop - side.start for side in bounding_box(mask)]
    return float(np.multiply(voxels, spacing_mm).max()) / 2
