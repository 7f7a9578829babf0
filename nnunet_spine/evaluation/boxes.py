"""The box around a mask."""

from __future__ import annotations

import numpy as np

from nnunet_spine.evaluation.metrics import Mask, Spacing

Box = tuple[slice, ...]


def bounding_box(mask: Mask) -> Box:
    """Slices of the smallest box around a mask; of its first voxel where it is empty.

    Parameters
    ----------
    mask
        Boolean array, any number of dimensions.
    """
    box: Box = ()
    for axis in range(mask.ndim):
        others = tuple(other for other in range(mask.ndim) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        box += (slice(int(found[0]), int(found[-1]) + 1) if found.size else slice(0, 1),)
        mask = mask[(slice(None),) * axis + box[-1:]]
    return box


def box_around(mask: Mask, spacing_mm: Spacing, margin_mm: float) -> Box:
    """Slices of a box around a mask (z, y, x) that is not empty, with at least a margin, as far as the array goes.

    Parameters
    ----------
    mask
        Boolean array.
    spacing_mm
        Spacing (z, y, x), in mm.
    margin_mm
        Least distance from the mask to the box's sides, in mm.
    """
    margins = [int(np.ceil(margin_mm / spacing)) for spacing in spacing_mm]
    found = zip(bounding_box(mask), margins, strict=True)
    return tuple(slice(max(side.start - margin, 0), side.stop + margin) for side, margin in found)


def crop_to_union(reference: Mask, prediction: Mask) -> tuple[Mask, Mask]:
    """Both masks cut to the box that holds all their voxels; one voxel where both are empty.

    Every metric of the cut masks is exactly that of the whole ones: what is cut off is background in both, and a
    voxel's nearest neighbour in either mask lies in the box.
    """
    box = bounding_box(reference | prediction)
    return reference[box], prediction[box]
