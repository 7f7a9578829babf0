"""Whether a mask that a person drew lies where its image lies."""

from __future__ import annotations

import numpy as np

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.grids import Geometry, difference
from nnunet_spine.images import Volume, reorient
from nnunet_spine.preprocessing.geometry import slice_axis

BEYOND = 0.9
"""A voxel this many slices beyond the first or the last is on a slice that the image does not hold."""


def check_mask_place(mask: Volume, image: Geometry) -> None:
    """Check that a mask belongs to an image, by physical space.

    Parameters
    ----------
    mask
        0 and 1, in any order of axes; a part of the image's grid or another grid is fine.
    image
        Grid of the image in the data set's orientation.

    Raises
    ------
    Unusable
        Where the mask has the image's size and another place, spacing or direction, or marks something off the image.
    """
    turned = reorient(mask)
    if turned.geometry.same_grid(image):
        return
    if turned.geometry.size_xyz == image.size_xyz:
        raise Unusable(
            f"a mask of the image's size on another grid: {difference(turned.geometry, image)}",
            "the image's own grid",
            "Load the image first and save the mask in its geometry; in ITK-SNAP as its segmentation, in 3D Slicer "
            "with the image as the reference volume",
        )
    outside = _outside(mask, image)
    if outside:
        raise Unusable(
            f"{outside} of {int(mask.array.sum())} voxels of the mask lie off the image",
            "a mask within its image",
            "Check that the two belong together",
        )


def check_slices(mask: Volume, image: Geometry) -> None:
    """Check that a mask marks nothing on slices that its image does not hold.

    What is cut within the planes of the slices, or by less than a slice, does not count.

    Parameters
    ----------
    mask
        0 and 1, on any grid.
    image
        Grid of the image.

    Raises
    ------
    Unusable
        If a marked voxel lies `BEYOND` slices or more before the first or behind the last slice.
    """
    axis = 2 - slice_axis(image.shape_zyx, image.spacing_zyx_mm)
    last = image.size_xyz[axis] - 1
    to_index = (np.linalg.inv(image.affine_lps()) @ mask.geometry.affine_lps())[axis]
    beyond, slices = 0, set[float]()
    for z in np.flatnonzero(mask.array.any(axis=(1, 2))):  # a plane at a time: contours may fill a large, fine grid
        y, x = np.nonzero(mask.array[z])
        along = x * to_index[0] + y * to_index[1] + z * to_index[2] + to_index[3]
        along = along[(along <= -BEYOND) | (along >= last + BEYOND)]
        beyond += len(along)
        slices.update(np.rint(along).tolist())
    if beyond:
        raise Unusable(
            f"the reference marks {beyond} of its {int(mask.array.sum())} voxels on {len(slices)} slices that the "
            f"image of {last + 1} slices does not hold",
            "an image with all slices that the reference was drawn on",
            "Export the whole series again, or check that the two belong together",
        )


def _outside(mask: Volume, image: Geometry) -> int:
    """Number of marked voxels whose centre is off the image, by half a voxel of the image and more."""
    index = np.argwhere(mask.array)[:, ::-1].astype(np.float64)
    points = np.c_[index, np.ones(len(index))] @ mask.geometry.affine_lps().T
    on_image = points @ np.linalg.inv(image.affine_lps()).T
    size = np.asarray(image.size_xyz)
    inside = (on_image[:, :3] >= -0.5 - 1e-3) & (on_image[:, :3] <= size - 0.5 + 1e-3)
    return int(np.count_nonzero(~inside.all(axis=1)))
