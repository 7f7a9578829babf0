"""Reading a reference, and putting it on the grid of its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.dicom_headers import Series, read_header
from nnunet_spine.dataset_conversion.mask_resampling import place
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.segmentation_reading import read_segmentation
from nnunet_spine.dataset_conversion.structure_set_reading import read_structure_set
from nnunet_spine.dataset_conversion.volume_reading import read_finite_volume
from nnunet_spine.grids import Geometry, rounding_note
from nnunet_spine.images import Volume, is_volume_file, reorient

MOST_LABELS = 20
"""A reference with more distinct values than this is an image."""

CHANGED_VOLUME = 0.02
"""A change of the lesion's volume by resampling beyond this fraction is told."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A binary mask (uint8, 0 and 1) and what a user should know of how it was made."""

    mask: Volume
    notes: tuple[str, ...] = ()


def read_reference(path: Path, grid: Geometry | None = None, selection: Selection = NO_SELECTION) -> Reference:
    """Read a reference from a DICOM SEG, an RTSTRUCT or a volume file, on a grid of its own.

    Parameters
    ----------
    path
        The file.
    grid
        The image's, by which frames and contours are understood; `on_grid` then puts the mask on it.
    selection
        What is tumor in it.

    Raises
    ------
    Unusable
        Where it cannot be read, or is no mask.
    """
    if is_volume_file(path):
        return _read_mask(path, selection.numbers)
    return Reference(*(read_structure_set if _is_structure_set(path) else read_segmentation)(path, grid, selection))


def _is_structure_set(path: Path) -> bool:
    """False also where it is no DICOM, which reading it as a segmentation then tells."""
    try:
        return Series("", (path,), read_header(path)).is_structure_set
    except (InvalidDicomError, *HEADER_ERRORS):
        return False


def _read_mask(path: Path, chosen: Sequence[int]) -> Reference:
    volume = read_finite_volume(path, "reference")
    mask, told = binary(volume.array, chosen)
    return Reference(Volume(mask, volume.geometry), (told,) if told else ())


def binary(labels: npt.NDArray[np.generic], chosen: Sequence[int] = ()) -> tuple[npt.NDArray[np.uint8], str]:
    """Mask of the voxels with the chosen values, or of all that are not 0, and a note where other values were met.

    Parameters
    ----------
    labels
        Any shape.
    chosen
        Values that are tumor; where none is given, all but 0.

    Raises
    ------
    Unusable
        Where there are too many different values for a mask, values that are no labels, or none of those chosen.
    """
    values = np.unique(labels)
    if len(values) > MOST_LABELS:
        raise Unusable(
            f"a reference with {len(values)} different values",
            "a mask: 0 for background, another value for tumor",
            "Check that the reference is not the image",
        )
    if np.any(values < 0) or np.any(values != np.rint(values)):
        raise Unusable(
            f"a reference with the values {_listed(values)}", "whole numbers from 0 on", "Export it again as a mask"
        )
    nonzero = values[values != 0]
    if chosen:
        return _of_chosen(labels, nonzero, chosen)
    told = ""
    if len(nonzero) and not np.array_equal(nonzero, [1]):
        told = f"the reference holds the values {_listed(nonzero)}; all but 0 were taken as tumor"
    return (labels != 0).astype(np.uint8), told


def _of_chosen(
    labels: npt.NDArray[np.generic], found: npt.NDArray[np.generic], chosen: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], str]:
    mask = np.isin(labels, list(chosen))
    others = found[~np.isin(found, list(chosen))]
    if len(others) and not mask.any():
        raise Unusable(
            f"a reference with the values {_listed(found)}",
            f"one of {', '.join(map(str, chosen))}, as given with --segment",
            "Compare the values with the reference in a viewer",
        )
    told = f"the reference also holds the values {_listed(others)}, which were not taken as tumor"
    return mask.astype(np.uint8), told if len(others) else ""


def _listed(values: npt.NDArray[np.generic]) -> str:
    return ", ".join(f"{v:g}" for v in values)


def on_grid(reference: Reference, grid: Geometry) -> Reference:
    """Put a mask on the grid of its image by physical space, keeping voxels or volume; see `mask_resampling.place`.

    Parameters
    ----------
    reference
        On any grid.
    grid
        The image's.

    Raises
    ------
    Unusable
        Where the mask is empty, or no voxel of it lies on the image's grid.
    """
    before_ml = float(reference.mask.array.sum()) * reference.mask.geometry.voxel_ml
    if before_ml == 0.0:
        raise Unusable("the reference is empty", "at least one tumor voxel", "Check the segmentation")
    turned = reorient(reference.mask)
    if turned.geometry.same_grid(grid):
        told = rounding_note(turned.geometry, grid)
        return Reference(
            Volume(turned.array, grid), (*reference.notes, *([f"image and reference: {told}"] if told else []))
        )
    try:
        placed = place(reference.mask, grid)
    except np.linalg.LinAlgError as failure:
        raise Unusable(
            "a grid whose axes span no volume", "three axes", "Export image and reference again"
        ) from failure
    after_ml = float(placed.mask.array.sum()) * grid.voxel_ml
    if after_ml == 0.0 and placed.inside_ml == 0.0:
        raise Unusable(
            "no tumor voxel of the reference lies on the image",
            "both in one physical space",
            "Check that the two belong together",
        )
    if after_ml == 0.0:
        raise Unusable(
            f"a lesion of {before_ml:.4f} ml, less than half a voxel of the image ({grid.voxel_ml:.4f} ml)",
            "at least half a voxel",
            "Leave the case out, or use an image of finer spacing",
        )
    return Reference(placed.mask, (*reference.notes, *_volume_notes(before_ml, placed.inside_ml, after_ml, grid)))


def _volume_notes(before_ml: float, inside_ml: float, after_ml: float, grid: Geometry) -> list[str]:
    if abs(after_ml - before_ml) <= CHANGED_VOLUME * before_ml:
        return []
    told = [f"the lesion has {after_ml:.2f} ml on the image's grid, {before_ml:.2f} ml on its own"]
    if inside_ml < (1 - CHANGED_VOLUME) * before_ml:
        told.append(
            f"{100 * (1 - inside_ml / before_ml):.0f} % of the reference lies outside the image and was cut off"
        )
    else:
        told.append(f"a voxel of the image has {grid.voxel_ml:.4f} ml, too much to keep the lesion's volume")
    return told
