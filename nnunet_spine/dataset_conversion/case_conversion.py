"""One case: read the pair, check it, bring both to one grid, write them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.image_checks import check_slices, check_volume_geometry, series_notes, value_notes
from nnunet_spine.dataset_conversion.near_duplicates import Descriptor, describe, describe_image
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.reference_checks import check_mask
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.references import on_grid, read_reference
from nnunet_spine.dataset_conversion.sources import SourceCase
from nnunet_spine.dataset_conversion.volume_reading import read_finite_volume
from nnunet_spine.errors import WorkFailed
from nnunet_spine.images import Volume, is_volume_file, reorient, write_volume
from nnunet_spine.progress import Progress
from nnunet_spine.worker_processes import mapping

CASES_PER_PROCESS = 2
"""Fewer are not worth a process."""

IMAGES_PER_PROCESS = 40
"""As much for describing images."""

HIGHEST_VALUE, LEAST_VALUE, LEAST_CONTRAST = 1e12, 1e-12, 1e-6
"""Magnitudes of values, and the share of the largest by which they must differ: float32 has seven digits."""


@dataclass(frozen=True)
class Job:
    """A case, where its two files go, and what is tumor in its reference."""

    source: SourceCase
    image: Path
    label: Path
    selection: Selection = NO_SELECTION


@dataclass(frozen=True)
class Outcome:
    """What came of a case; `volume_ml`, the lesion's, and `descriptor` are None where the case was left out."""

    volume_ml: float | None
    problems: tuple[Problem, ...] = ()
    descriptor: Descriptor | None = field(default=None, repr=False, compare=False)


def convert_cases(jobs: Sequence[Job], *, processes: int, progress: Progress) -> list[Outcome]:
    """Convert cases side by side; the outcomes are in the order of `jobs`.

    Raises
    ------
    WorkFailed
        Where a worker process was killed, as the system does when memory runs out.
    """
    outcomes = []
    try:
        with mapping(min(processes, len(jobs) // CASES_PER_PROCESS)) as mapped:
            for outcome in mapped(convert_case, jobs):
                outcomes.append(outcome)
                progress(len(outcomes), len(jobs), "")
    except BrokenProcessPool as failure:
        raise WorkFailed(
            "A worker process of the conversion was killed, probably for want of memory. Nothing was written. "
            "Convert again with fewer CPUs or more memory."
        ) from failure
    return outcomes


def measure_images(paths: Sequence[Path], *, processes: int) -> list[Descriptor]:
    """Descriptors of stored images, for the search of near-duplicates; in the order of `paths`."""
    with mapping(min(processes, len(paths) // IMAGES_PER_PROCESS)) as mapped:
        return list(mapped(describe_image, paths))


def convert_case(job: Job) -> Outcome:
    """Write the image and the label of one case, or say why it cannot be used."""
    where = job.source.where
    try:
        as_stored, image_notes = _read_image(job.source)
        image = reorient(as_stored)
        check_contrast(image.array)
        stored = Volume(compact(image.array), image.geometry)
        read = read_reference(job.source.reference, image.geometry, job.selection, job.source.claim)
        reference = on_grid(read, image.geometry)
        checked = check_mask(reference.mask, image)
    except Unusable as unusable:
        return Outcome(None, (unusable.at(where),))
    write_volume(job.image, stored)
    write_volume(job.label, reference.mask)
    volume_ml = float(reference.mask.array.sum()) * image.geometry.voxel_ml
    notes = (
        *(note(where, text) for text in (*image_notes, *reference.notes)),
        *(replace(problem, where=where) for problem in checked),
    )
    return Outcome(volume_ml, notes, describe(stored))


def _read_image(source: SourceCase) -> tuple[Volume, tuple[str, ...]]:
    """The image of a case, and what a user should know of it."""
    first = source.image[0]
    if not is_volume_file(first):
        read = read_series(source.image, source.frames)
        return read.volume, (*read.notes, *series_notes(source.image), *value_notes(read.volume))
    told = check_volume_geometry(first)
    volume = read_finite_volume(first, "image")
    check_slices(volume)
    return volume, (*told, *value_notes(volume))


def check_contrast(values: npt.NDArray[Any]) -> None:
    """Check that an image has contrast, within what float32 can tell; `Unusable` where it has not."""
    lowest, highest = float(values.min()), float(values.max())
    if not max(-lowest, highest) <= HIGHEST_VALUE:
        raise Unusable(
            f"values from {lowest:.3g} to {highest:.3g}",
            f"finite values of at most {HIGHEST_VALUE:.0e}",
            "Check the rescale slope and intercept, and export it again",
        )
    if highest - lowest <= LEAST_CONTRAST * max(-lowest, highest, LEAST_VALUE):
        raise Unusable("a constant image", "an image with contrast", "Check that the right series was exported")


def compact(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as int16 where that keeps every one of them, else as float32."""
    limits = np.iinfo(np.int16)
    fits = values.min() >= limits.min and values.max() <= limits.max and np.array_equal(values, np.rint(values))
    return values.astype(np.int16 if fits else np.float32)
