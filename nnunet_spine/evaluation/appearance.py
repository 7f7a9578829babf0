"""How a lesion looks in its image: set off from its surroundings, or not; a bright rim around a darker core, or not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.evaluation.boxes import box_around
from nnunet_spine.evaluation.metrics import Mask

SHELL_MM = 5.0
"""The surroundings of a lesion: voxels outside it and no farther from it than this."""

RIM_SHARE, CORE_SHARE = 0.5, 0.25
"""The shallowest half of a lesion's voxels is its rim, the deepest quarter its core."""

FEWEST_VOXELS = 100
"""A lesion of fewer voxels has no core that partial volume leaves alone (25 voxels): its look is not determinable."""

RIM_BRIGHTER = 0.6
"""Least chance that a voxel of the rim is brighter than one of the core, where the rim enhances.

Synthetic lesions of at least `FEWEST_VOXELS` lie at 0.61 to 0.94 with a necrotic core, at 0.14 to 0.53 without one,
whose edge is darkened by partial volume (58 cases each of seeds 0 and 1).
"""

CORE_DARKER = 0.1
"""Least share by which the core's median lies below the rim's, so that a shade of coil or noise makes no core."""

Spacing = tuple[float, float, float]
Values = npt.NDArray[np.floating[Any]]


class Look(StrEnum):
    """Appearance of a lesion after contrast."""

    RIM = "rim-enhancing"
    NO_RIM = "without rim"
    NOT_DETERMINABLE = "not determinable"


@dataclass(frozen=True)
class Appearance:
    """What was measured of a lesion in its image.

    Parameters
    ----------
    look
        By `RIM_BRIGHTER` and `CORE_DARKER`.
    rim_brighter
        Chance that a voxel of the rim is brighter than one of the core; None where not determinable.
    core_darker
        (rim - core) / rim, of the medians; None where not determinable.
    separation
        See `separation`; of the lesion from its surroundings. None where the lesion has none in the image.
    """

    look: Look
    rim_brighter: float | None
    core_darker: float | None
    separation: float | None


def appearance_of(image: npt.NDArray[Any], reference: Mask, spacing_mm: Spacing) -> Appearance:
    """Measure a lesion in its image.

    Parameters
    ----------
    image
        Intensities (z, y, x), 0 or more, as acquired.
    reference
        The lesion, not empty, of the same shape; several lesions are measured together.
    spacing_mm
        Spacing (z, y, x), in mm.

    Raises
    ------
    GeometryMismatch, BadInput
        Where the shapes differ, or an intensity at the lesion is not finite.
    """
    if image.shape != reference.shape:
        raise GeometryMismatch(f"An image of shape {image.shape} and a reference of shape {reference.shape} differ.")
    near = box_around(reference, spacing_mm, SHELL_MM)
    image, reference = image[near].astype(np.float64), reference[near]
    if not np.isfinite(image).all():
        raise BadInput("it holds intensities that are not finite at the lesion. Export or convert it again.")
    around = image[surroundings(reference, spacing_mm)]
    brighter, darker = rim_and_core(image, reference, spacing_mm)
    return Appearance(
        look=look_of(brighter, darker),
        rim_brighter=brighter,
        core_darker=darker,
        separation=separation(image[reference], around) if around.size else None,
    )


def look_of(rim_brighter: float | None, core_darker: float | None) -> Look:
    """The look that goes with the two measures of `rim_and_core`."""
    if rim_brighter is None or core_darker is None:
        return Look.NOT_DETERMINABLE
    return Look.RIM if rim_brighter >= RIM_BRIGHTER and core_darker >= CORE_DARKER else Look.NO_RIM


def rim_and_core(image: Values, reference: Mask, spacing_mm: Spacing) -> tuple[float | None, float | None]:
    """Compare a lesion's outer voxels with its inner ones.

    Depth is the distance to the nearest voxel outside, what lies beyond the array being outside.

    Parameters
    ----------
    image, reference, spacing_mm
        As for `appearance_of`.

    Returns
    -------
    rim_brighter, core_darker
        As in `Appearance`; None for a lesion below `FEWEST_VOXELS`, or without signal.
    """
    if np.count_nonzero(reference) < FEWEST_VOXELS:
        return None, None
    from scipy import ndimage

    depth = ndimage.distance_transform_edt(np.pad(reference, 1), sampling=spacing_mm)[1:-1, 1:-1, 1:-1][reference]
    values = image[reference]
    rim = values[depth <= np.quantile(depth, RIM_SHARE)]
    core = values[depth >= np.quantile(depth, 1 - CORE_SHARE)]
    level = float(np.median(rim))
    if level <= 0:
        return None, None
    return chance_of_brighter(rim, core), (level - float(np.median(core))) / level


def chance_of_brighter(values: Values, others: Values) -> float:
    """Chance that one of `values` exceeds one of `others`, ties counting half (Mann-Whitney's U over its largest)."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return float(below.mean()) / (2 * ordered.size)


def separation(values: Values, others: Values) -> float:
    """How well the best single intensity threshold tells two sets of voxels apart, 0 (not at all) to 1 (wholly).

    Largest distance of the two cumulative distributions (Kolmogorov-Smirnov), which is the best threshold's
    sensitivity + specificity - 1. Any increasing change of the intensities, such as gamma, leaves it the same, and a
    bright rim around a dark core counts as set off.
    """
    everything = np.concatenate([values, others])
    shares = [np.searchsorted(np.sort(part), everything, "right") / part.size for part in (values, others)]
    return float(np.abs(shares[0] - shares[1]).max())


def surroundings(reference: Mask, spacing_mm: Spacing) -> Mask:
    """Voxels (z, y, x) outside a mask within `SHELL_MM` of it."""
    from scipy import ndimage

    distance = ndimage.distance_transform_edt(~reference, sampling=spacing_mm)
    near: Mask = (distance > 0) & (distance <= SHELL_MM)
    return near
