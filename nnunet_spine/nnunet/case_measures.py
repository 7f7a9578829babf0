"""What planning measures on each training case: what the resize costs, and the bias field in its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import GeometryMismatch, NnunetSpineError
from nnunet_spine.grids import difference
from nnunet_spine.images import read_volume
from nnunet_spine.nnunet.environment import allocated_cpus
from nnunet_spine.nnunet.field_advice import CaseField
from nnunet_spine.nnunet.orientation import turned
from nnunet_spine.preprocessing.geometry import fitted_shape
from nnunet_spine.preprocessing.intensity import adjust_gamma
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.preprocessing.van_leemput import estimate_field
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import worker_pool

WORKER_IMPORTS = ("nnunet_spine.nnunet.case_measures", "nnunetv2.preprocessing.cropping.cropping")
"""The modules whose imports the worker processes share."""


@dataclass(frozen=True)
class ResizeCeiling:
    """What a perfect network could still reach for a case, after the resize to the grid and back.

    Parameters
    ----------
    case
        Identifier of the case.
    dice
        Dice of the reference with itself sent through the resize and back.
    vanished
        Whether no voxel of the lesion is left.
    """

    case: str
    dice: float
    vanished: bool


@dataclass(frozen=True)
class CaseMeasures:
    """What was measured on one case."""

    ceiling: ResizeCeiling
    field: CaseField


def measure_cases(
    raw: Path,
    grid: Sequence[int],
    settings: IntensitySettings,
    axes: str | None = None,
    progress: Progress = silent,
) -> tuple[CaseMeasures, ...]:
    """Measure each training case, in order of its identifier.

    Parameters
    ----------
    raw
        The raw data set, with imagesTr and labelsTr.
    grid
        Voxels (slice, y, x).
    settings
        Gamma, and how the bias field is estimated.
    axes
        Orientation that cases are turned to; None leaves them as they are stored.
    progress
        Told of each case.
    """
    paths = sorted((raw / "labelsTr").glob("*.nii.gz"))
    images = [raw / "imagesTr" / path.name.replace(".nii.gz", f"{CHANNEL}.nii.gz") for path in paths]
    found = []
    with worker_pool(allocated_cpus()) as pool:
        same = ([value] * len(paths) for value in (tuple(grid), settings, axes))
        for measures in pool.map(measure_case, paths, images, *same):
            found.append(measures)
            progress(len(found), len(paths))
    return tuple(found)


def measure_case(
    path: Path, image: Path, grid: Sequence[int], settings: IntensitySettings, axes: str | None = None
) -> CaseMeasures:
    """Measure one case, from its reference at `path` and its image, whose borders of 0 are cut off first."""
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    case = path.name.removesuffix(".nii.gz")
    volume, reference = (turned(read_volume(one), axes) for one in (image, path))
    if not volume.geometry.same_grid(reference.geometry):
        raise GeometryMismatch(
            f"{path} is not on the grid of {image.name}: {difference(reference.geometry, volume.geometry)}. Convert "
            "the case again with `nnunet-spine convert`, or resample the reference to the image."
        )
    mask = (reference.array > 0).astype(np.int8)
    array, label, _ = crop_to_nonzero(volume.array[None], mask[None])
    ceiling = case_ceiling(case, mask, label[0] > 0, reference.geometry.spacing_zyx_mm, grid)
    return CaseMeasures(ceiling, case_field(case, array[0], volume.geometry.spacing_zyx_mm, settings))


def case_ceiling(
    case: str,
    reference: npt.NDArray[np.int8],
    inside: npt.NDArray[np.bool_],
    spacing_mm: Sequence[float],
    grid: Sequence[int],
) -> ResizeCeiling:
    """Send a reference through the resize and back, as nnU-Net's preprocessing and export do.

    Parameters
    ----------
    case
        Its identifier.
    reference
        The reference, shape (z, y, x).
    inside
        What of it is left after cropping.
    spacing_mm
        Spacing (z, y, x), in mm.
    grid
        Voxels (slice, y, x).
    """
    back = _there_and_back(inside, spacing_mm, grid)
    total = int(np.count_nonzero(reference)) + int(back.sum())
    dice = 2 * int((inside & back).sum()) / total if total else 1.0
    return ResizeCeiling(case, round(dice, 4), bool(reference.any() and not back.any()))


def case_field(
    case: str, array: npt.NDArray[np.generic], spacing_mm: Sequence[float], settings: IntensitySettings
) -> CaseField:
    """The field that Van Leemput's method sees in a cropped image, whatever method the settings name.

    It is seen after gamma, as in preprocessing, where its logarithm is gamma times the true one (exactly so where the
    image begins at 0); the strength is given before gamma. An image that cannot be measured is no error here.

    Parameters
    ----------
    case
        Its identifier.
    array
        Intensities, shape (z, y, x).
    spacing_mm
        Spacing (z, y, x), in mm.
    settings
        Gamma, and how the field is estimated.
    """
    try:
        contrasted = adjust_gamma(array, settings.gamma)
        estimate = estimate_field(contrasted, spacing_mm, **asdict(settings.bias_field))
    except NnunetSpineError as error:
        return CaseField(case, None, None, None, str(error))
    if estimate.fit is None:
        return CaseField(case, None, None, None, estimate.stop.value)
    strength = estimate.strength ** (1 / settings.gamma)
    return CaseField(case, round(strength, 3), round(estimate.confidence, 4), estimate.order, estimate.stop.value)


def _there_and_back(
    mask: npt.NDArray[np.bool_], spacing_mm: Sequence[float], grid: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Resize a mask to the grid and back with the resampling that the plans name."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape

    shape = fitted_shape(mask.shape, grid)
    small_mm = [s * old / new for s, old, new in zip(spacing_mm, mask.shape, shape, strict=True)]
    options = {"order": 1, "order_z": 0, "force_separate_z": None}
    small = resample_data_or_seg_to_shape(
        mask[None].astype(np.int8), shape, spacing_mm, small_mm, is_seg=True, **options
    )
    # Export resamples the scores of both classes linearly and takes the larger: the same as a threshold at one half.
    scores = resample_data_or_seg_to_shape(
        (small > 0).astype(np.float32), mask.shape, small_mm, spacing_mm, is_seg=False, **options
    )
    back: npt.NDArray[np.bool_] = scores[0] > 0.5
    return back
