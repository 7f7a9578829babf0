"""What may be wrong with a mask on its image: outside the body, too small, cut by the field of view."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.images import Volume
from nnunet_spine.preprocessing.foreground import MINIMUM_SIDE, sample
from nnunet_spine.preprocessing.geometry import slice_axis

FEWEST_VOXELS = 3
"""A lesion of fewer voxels is told."""

OUTSIDE_BODY = 0.2
"""A share of the lesion outside the body beyond this is told."""

WHOLLY_OUTSIDE = 0.95
"""From this share on, the reference is not that of the image."""

LEAST_AIR = 0.02
"""With a smaller share of air in view, what is dark is not air for sure."""

ABOVE_AIR = 1.5
"""The body is brighter than air by this factor on the threshold of tissue, which the darkest air decides."""

LEAST_CONTRAST = 2.0
"""Tissue is told from air where its median is this many times the threshold between them."""

CLOSING_MM = 6.0
"""Dark places of the body narrower than this are closed before holes are filled: bone, fluid, vessels."""


def check_mask(mask: Volume, image: Volume) -> tuple[Problem, ...]:
    """Notes on a mask that lies on its image's grid, with an empty `where`.

    Parameters
    ----------
    mask, image
        On one grid; the mask is 0 and 1, and not empty.

    Raises
    ------
    Unusable
        Where the lesion lies outside the body.
    """
    return (*_small(mask), *_touching(mask), *_outside_body(mask, image))


def _small(mask: Volume) -> list[Problem]:
    voxels = int(mask.array.sum())
    if voxels >= FEWEST_VOXELS:
        return []
    return [note("", f"a lesion of {voxels} voxels", f"at least {FEWEST_VOXELS}", "Check the reference")]


def _touching(mask: Volume) -> list[Problem]:
    sides = [bool(side.any()) for axis in range(3) for side in _sides(mask.array, axis)]
    if not any(sides):
        return []
    found = f"the lesion touches {sum(sides)} of the 6 sides of the image"
    return [note("", found, "a lesion that is wholly in view", "Its volume is that of the part in view")]


def _sides(array: npt.NDArray[np.generic], axis: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]]:
    return np.take(array, 0, axis), np.take(array, -1, axis)


def _outside_body(mask: Volume, image: Volume) -> list[Problem]:
    body = body_of(image)
    if body is None:
        return []
    lesion = mask.array != 0
    outside = float((lesion & ~body).sum() / lesion.sum())
    found = f"{100 * outside:.0f} % of the lesion lies outside the body"
    if outside >= WHOLLY_OUTSIDE:
        raise Unusable(found, "a lesion in the body", "Check that reference and image belong together")
    if outside <= OUTSIDE_BODY:
        return []
    return [note("", found, f"at most {100 * OUTSIDE_BODY:.0f} %", "Look at both in a viewer")]


def body_of(image: Volume) -> npt.NDArray[np.bool_] | None:
    """Whether each voxel lies in the body, holes and dark places within it included, shape (z, y, x).

    Returns None where that cannot be told: on tiny images, where hardly any air is in view,
    and where tissue is hardly brighter than air.
    """
    if min(image.array.shape) < MINIMUM_SIDE:
        return None
    lowest = float(image.array.min())
    values = image.array.astype(np.float32)
    spacing = image.geometry.spacing_zyx_mm
    samples = sample(values, spacing, zero=lowest)
    threshold = ABOVE_AIR * samples.threshold
    if not samples.tissue.any() or np.median(samples.values[samples.tissue]) < LEAST_CONTRAST * threshold:
        return None
    across = slice_axis(values.shape, spacing)
    in_plane = [1 if axis == across else 3 for axis in range(3)]
    tissue = ndimage.uniform_filter(values - lowest, in_plane) > threshold
    slices = [_filled(one, min(spacing)) for one in np.moveaxis(tissue, across, 0)]
    body = np.moveaxis(np.stack(slices), 0, across)
    return body if (~body).mean() >= LEAST_AIR else None


def _filled(tissue: npt.NDArray[np.bool_], pixel_mm: float) -> npt.NDArray[np.bool_]:
    """A slice of tissue without specks, with dark places closed and holes filled."""
    reach = max(1, round(CLOSING_MM / 2 / pixel_mm))
    padded = np.pad(ndimage.binary_opening(tissue), reach)
    closed = ndimage.binary_closing(padded, iterations=reach)
    filled: npt.NDArray[np.bool_] = ndimage.binary_fill_holes(closed)[reach:-reach, reach:-reach]
    return filled
