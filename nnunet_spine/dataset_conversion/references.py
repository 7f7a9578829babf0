"""Reading a reference, and putting it on the grid of its image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.dicom_headers import Series, read_header
from nnunet_spine.dataset_conversion.header_labels import LABELS_IN_HEADER, labels_of
from nnunet_spine.dataset_conversion.mask_place import check_slices
from nnunet_spine.dataset_conversion.mask_resampling import place
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import (
    NO_CLAIM,
    NO_SELECTION,
    Claim,
    Parts,
    Selection,
    Structure,
    choose,
    structures_of,
    unnamed_notes,
)
from nnunet_spine.dataset_conversion.segmentation_reading import SEGMENTATION, read_segmentation
from nnunet_spine.dataset_conversion.slicer_segments import SLICER_SEGMENTS, segments_of
from nnunet_spine.dataset_conversion.structure_set_reading import STRUCTURE_SET, read_structure_set
from nnunet_spine.dataset_conversion.volume_reading import read_finite_layers, read_finite_volume
from nnunet_spine.grids import Geometry, rounding_note
from nnunet_spine.images import Volume, is_volume_file, reorient

MOST_LABELS, MOST_NAMED_LABELS = 20, 200
"""A reference with more values is an image; the second if the tumor's value has a name, or was asked for."""

ROUNDING = 1e-3
"""A label that a file keeps as a float may be this far from a whole number."""

LABEL_TABLE = Parts("a label map", "named value", "its label table")

CHANGED_VOLUME = 0.02
"""A change of the lesion's volume by resampling beyond this fraction is told."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A binary mask (uint8, 0 and 1) and what a user should know of how it was made."""

    mask: Volume
    notes: tuple[str, ...] = ()


def read_reference(
    path: Path, grid: Geometry | None = None, selection: Selection = NO_SELECTION, claim: Claim = NO_CLAIM
) -> Reference:
    """Read a reference from a DICOM SEG, an RTSTRUCT or a volume file, on a grid of its own.

    Parameters
    ----------
    path
        The file.
    grid
        The image's, by which frames and contours are understood; `on_grid` then puts the mask on it.
    selection
        What is tumor in it.
    claim
        What the source says of the file.

    Raises
    ------
    Unusable
        If it cannot be read, is no mask, or nothing says what in it is tumor.
    """
    if is_volume_file(path):
        return _read_mask(path, selection, claim)
    read = read_structure_set if _is_structure_set(path) else read_segmentation
    return Reference(*read(path, grid, selection, claim))


def evidence(path: Path, selection: Selection = NO_SELECTION, claim: Claim = NO_CLAIM) -> str:
    """What says that a reference is the tumor, in words of ours, as far as headers tell; voxels are not read.

    The parameters and errors are those of `read_reference`.
    """
    if is_volume_file(path):
        named, parts = _named_values(path, claim)
        if not named:
            return _evidence_of_mask(selection, claim)
        unnamed = [Structure(n, ()) for n in selection.numbers if n not in {one.number for one in named}]
        return choose([*named, *unnamed], selection, parts, claim).says
    try:
        header = read_header(path)
    except (InvalidDicomError, *HEADER_ERRORS):
        return ""  # what is wrong with it is found in reading it
    parts = STRUCTURE_SET if Series("", (path,), header).is_structure_set else SEGMENTATION
    return choose(structures_of(header), selection, parts, claim).says


def _evidence_of_mask(selection: Selection, claim: Claim) -> str:
    _check_labels(selection, claim)
    if selection.numbers:
        return f"value {', '.join(map(str, selection.numbers))}, by --segment"
    return f"all of the mask, by {claim.says}" if claim.says else ""


def _is_structure_set(path: Path) -> bool:
    """False also where it is no DICOM, which reading it as a segmentation then tells."""
    try:
        return Series("", (path,), read_header(path)).is_structure_set
    except (InvalidDicomError, *HEADER_ERRORS):
        return False


def _named_values(path: Path, claim: Claim) -> tuple[Sequence[Structure], Parts]:
    """Values of a mask that its own header names, or a table beside it."""
    if segments := segments_of(path):
        return segments, SLICER_SEGMENTS
    if claim.structures:
        return claim.structures, LABEL_TABLE
    return labels_of(path), LABELS_IN_HEADER


def _read_mask(path: Path, selection: Selection, claim: Claim) -> Reference:
    named, parts = _named_values(path, claim)
    if not named:
        _check_labels(selection, claim)
        volume = read_finite_volume(path, "reference")
        mask, note = binary(volume.array, selection.numbers)
        return Reference(Volume(mask, volume.geometry), (note,) if note else ())
    layers = read_finite_layers(path, "reference")
    held = _held(layers)
    places = {(one.layer, one.number) for one in named}
    unnamed = [(layer, number) for layer, number in held if (layer, number) not in places]
    asked = [Structure(number, (), layer=layer) for layer, number in unnamed if number in selection.numbers]
    choice = choose([*named, *asked], selection, parts, claim)
    if choice.is_whole and unnamed:
        raise _not_whole(sorted({number for _, number in unnamed}), parts)
    mask = np.zeros(layers[0].array.shape, np.uint8)
    for one in choice.structures:
        mask |= whole_numbers(layers[one.layer].array, MOST_NAMED_LABELS) == one.number
    if not mask.any():
        raise _no_voxels(sorted({number for _, number in unnamed}), parts)
    left = Counter[int]()
    for layer, number in unnamed:
        if number not in selection.numbers:
            left[number] += held[layer, number]
    present = [one for one in [*named, *asked] if (one.layer, one.number) in held]
    notes = (*_named_notes(choice.structures, present), *unnamed_notes(left, "values", "voxel"))
    return Reference(Volume(mask, layers[0].geometry), notes)


def _held(layers: Sequence[Volume]) -> dict[tuple[int, int], int]:
    """Voxels of each value besides 0, by layer and value."""
    found: dict[tuple[int, int], int] = {}
    for layer, volume in enumerate(layers):
        values, voxels = np.unique(whole_numbers(volume.array, MOST_NAMED_LABELS), return_counts=True)
        found |= {(layer, int(v)): int(n) for v, n in zip(values, voxels, strict=True) if v != 0}
    return found


def _not_whole(unnamed: Sequence[int], parts: Parts) -> Unusable:
    """Why a file that is named for the tumor is not taken by its one part."""
    return Unusable(
        f"{parts.counted(1)}, which nothing names as a tumor, and the values {_shown(unnamed)} without a name",
        "to know which of them are the tumor",
        "Name them with --segment, or the values in the file",
    )


def _no_voxels(unnamed: Sequence[int], parts: Parts) -> Unusable:
    """Why a mask is empty although a name says what is tumor."""
    held = f", which holds the values {_shown(unnamed)} without a name" if unnamed else ""
    return Unusable(
        f"no voxel of the {parts.part} that is the tumor in {parts.this}{held}",
        "at least one tumor voxel",
        "Check the segmentation, and the values of its names",
    )


def _shown(values: Sequence[int]) -> str:
    return _listed(np.array(values[:MOST_LABELS]))


def _named_notes(chosen: Sequence[Structure], present: Sequence[Structure]) -> tuple[str, ...]:
    """Which of the values that the file holds were taken."""
    taken = [one for one in chosen if one in present]
    if len(present) < 2:
        return ()
    return (f"{len(taken)} of {len(present)} segments of the reference are tumor and were used",)


def _check_labels(selection: Selection, claim: Claim) -> None:
    """Refuse --tumor-label for a mask whose values have no names."""
    if selection.labels and not selection.numbers and not claim.is_by_label:
        raise Unusable(
            "a mask whose values have no names",
            "names for --tumor-label, as in DICOM SEG, RTSTRUCT, .seg.nrrd of 3D Slicer or a label table of BIDS",
            "Leave --tumor-label out, or give the value with --segment",
        )


def binary(labels: npt.NDArray[np.generic], chosen: Sequence[int] = ()) -> tuple[npt.NDArray[np.uint8], str]:
    """Mask of the voxels with the chosen values, or with the only one besides 0, and a note if others were met.

    Parameters
    ----------
    labels
        Any shape.
    chosen
        Values that are tumor; if empty, the only one besides 0.

    Raises
    ------
    Unusable
        If there are too many different values for a mask, values that are no labels, none of those chosen, or
        several and none chosen.
    """
    whole = whole_numbers(labels, MOST_NAMED_LABELS if chosen else MOST_LABELS)
    values = np.unique(whole)
    nonzero = values[values != 0]
    if chosen:
        return _of_chosen(whole, nonzero, chosen)
    if len(nonzero) > 1:
        raise Unusable(
            f"a label map with the values {_listed(nonzero)} and no names",
            "one value besides 0, or to know which of them are the tumor",
            "Name them with --segment",
        )
    note = ""
    if len(nonzero) and nonzero[0] != 1:
        note = f"the reference holds the value {_listed(nonzero)}, which was taken as tumor"
    return (whole != 0).astype(np.uint8), note


def whole_numbers(labels: npt.NDArray[np.generic], most: int) -> npt.NDArray[np.integer[Any]]:
    """Labels as whole numbers, rounded as files that keep them as floats need it.

    Raises
    ------
    Unusable
        If there are more than `most` different values, or values that are no labels.
    """
    values = np.unique(labels)
    is_whole = bool(np.all(np.abs(values - np.rint(values)) <= ROUNDING))
    if not is_whole and values[0] >= 0 and values[-1] <= 1:
        raise Unusable(
            "a map of probabilities: values from 0 to 1 between the two",
            "a mask: 0 for background, another value for tumor",
            "Set a threshold, and save it as a mask",
        )
    if len(values) > most:
        raise Unusable(
            f"a reference with {len(values)} different values",
            "a mask: 0 for background, another value for tumor",
            "Check that the reference is not the image",
        )
    if values[0] < 0 or not is_whole:
        raise Unusable(
            f"a reference with the values {_listed(values)}", "whole numbers from 0 on", "Export it again as a mask"
        )
    whole: npt.NDArray[Any] = labels if np.issubdtype(labels.dtype, np.integer) else np.rint(labels).astype(np.int64)
    return whole


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
    note = f"the reference also holds the values {_listed(others)}, which were not taken as tumor"
    return mask.astype(np.uint8), note if len(others) else ""


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
        If the mask is empty, no voxel of it lies on the image's grid, or some lie on slices that the image does not
        hold.
    """
    before_ml = float(reference.mask.array.sum()) * reference.mask.geometry.voxel_ml
    if before_ml == 0.0:
        raise Unusable("the reference is empty", "at least one tumor voxel", "Check the segmentation")
    turned = reorient(reference.mask)
    if turned.geometry.same_grid(grid):
        note = rounding_note(turned.geometry, grid)
        return Reference(
            Volume(turned.array, grid), (*reference.notes, *([f"image and reference: {note}"] if note else []))
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
    check_slices(reference.mask, grid)
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
