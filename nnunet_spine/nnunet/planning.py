"""Fingerprint and plans of a data set, and what the planned resize costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput, NotFound, WorkFailed
from nnunet_spine.files import make_folder, write_csv
from nnunet_spine.images import read_volume
from nnunet_spine.nnunet.environment import CONFIGURATION, PLANS_NAME, Workspace, allocated_cpus
from nnunet_spine.nnunet.grid import DEFAULT_MEMORY_GIB
from nnunet_spine.nnunet.runtime import quiet
from nnunet_spine.preprocessing.geometry import fitted_shape
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.progress import Progress, silent

PLAIN_NNUNET_PLANS = "nnUNetPlans"


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
class Planned:
    """A plans file and what it means for the references.

    Parameters
    ----------
    plans_file
        Where the plans are.
    plans
        Their content.
    ceiling
        For each training case, in order of its identifier.
    """

    plans_file: Path
    plans: dict[str, Any]
    ceiling: tuple[ResizeCeiling, ...]


def plan_dataset(
    dataset: str,
    workspace: Workspace,
    *,
    memory_gib: float = DEFAULT_MEMORY_GIB,
    settings: IntensitySettings | None = None,
    plans_name: str = PLANS_NAME,
    progress: Progress = silent,
) -> Planned:
    """Extract nnU-Net's fingerprint, derive the plans, and measure the ceiling of the resize.

    Parameters
    ----------
    dataset
        Number or full name of the data set.
    workspace
        nnU-Net's folders.
    memory_gib
        Memory that training may take, in GiB.
    settings
        Intensity settings; by default the protocol's.
    plans_name
        Name of the plans file, without suffix.
    progress
        Told of each case measured.

    Raises
    ------
    BadInput, NotFound, NotWritable
        Where the data set is absent or incomplete, the memory is not above 0, or the name is nnU-Net's own.
    WorkFailed
        Where nnU-Net cannot read an image, or no grid fits the memory.
    """
    if not 0 < memory_gib < math.inf:
        raise BadInput(f"The memory to plan for is {memory_gib} GiB; expected a number above 0.")
    if plans_name == PLAIN_NNUNET_PLANS or not plans_name.isidentifier():
        raise BadInput(
            f"The plans cannot be named {plans_name[:60]!r}: take letters, digits and _, not nnU-Net's own name."
        )
    name = workspace.dataset_name(dataset)
    raw = workspace.raw / name
    if not (raw / "dataset.json").is_file():
        raise NotFound(f"There is no raw data set {raw}. Make it with `nnunet-spine convert`.")
    folder = make_folder(workspace.preprocessed / name)
    workspace.apply()

    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    from nnunet_spine.nnunet.planner import SpinePlanner
    from nnunet_spine.nnunet.registration import list_with_threads

    list_with_threads()
    with quiet():
        extractor = DatasetFingerprintExtractor(name, allocated_cpus())
        extractor.show_progress_bar = False
        try:
            extractor.run(overwrite_existing=True)
        except RuntimeError as error:
            raise WorkFailed(f"nnU-Net cannot make the fingerprint of {raw}: {' '.join(str(error).split())}") from error
        plans = SpinePlanner(name, memory_gib, plans_name=plans_name, settings=settings).plan_experiment()
    ceiling = measure_ceiling(raw, plans["configurations"][CONFIGURATION]["patch_size"], progress)
    write_csv(folder / f"{plans_name}_resize_ceiling.csv", ("case", "dice", "vanished"), [asdict(c) for c in ceiling])
    return Planned(folder / f"{plans_name}.json", plans, ceiling)


def measure_ceiling(raw: Path, grid: Sequence[int], progress: Progress = silent) -> tuple[ResizeCeiling, ...]:
    """Send each reference through the resize and back, as nnU-Net's preprocessing and export do.

    Parameters
    ----------
    raw
        The raw data set, with imagesTr and labelsTr.
    grid
        Voxels (slice, y, x).
    progress
        Told of each case.
    """
    paths = sorted((raw / "labelsTr").glob("*.nii.gz"))
    images = [raw / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz") for path in paths]
    found = []
    with ProcessPoolExecutor(allocated_cpus(), mp_context=get_context("spawn")) as pool:
        for ceiling in pool.map(case_ceiling, paths, images, [tuple(grid)] * len(paths)):
            found.append(ceiling)
            progress(len(found), len(paths))
    return tuple(found)


def case_ceiling(path: Path, image: Path, grid: Sequence[int]) -> ResizeCeiling:
    """Ceiling of one case, from its reference at `path` and its image, whose borders of 0 are cut off first."""
    from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero

    volume = read_volume(path)
    reference = (volume.array > 0).astype(np.int8)
    _, label, _ = crop_to_nonzero(read_volume(image).array[None], reference[None])
    inside = label[0] > 0
    back = _there_and_back(inside, volume.geometry.spacing_zyx_mm, grid)
    total = int(np.count_nonzero(reference)) + int(back.sum())
    dice = 2 * int((inside & back).sum()) / total if total else 1.0
    return ResizeCeiling(path.name.removesuffix(".nii.gz"), round(dice, 4), bool(reference.any() and not back.any()))


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
