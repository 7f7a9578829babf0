"""Reading a reference, and putting it on the grid of its image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_spine.dataset_conversion.dicom_headers import text_of
from nnunet_spine.dataset_conversion.dicom_reading import DECODING_ERRORS
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.vocabulary import speaks_of_tumor
from nnunet_spine.dataset_conversion.volume_reading import read_finite_volume
from nnunet_spine.images import Geometry, Volume, is_volume_file

MOST_LABELS = 20
"""A reference with more distinct values than this is an image."""

FRACTION_OF_TUMOR = 0.5
"""A voxel of a fractional segmentation is tumor from this fraction on."""

LOST_VOLUME = 0.2
"""A change of the lesion's volume by resampling beyond this fraction is told."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A binary mask (uint8, 0 and 1) and what a user should know of how it was made."""

    mask: Volume
    notes: tuple[str, ...] = ()


def words_of(header: Any) -> list[str]:
    """Labels, descriptions and types of all segments of a DICOM SEG."""
    return [word for segment in header.get("SegmentSequence") or [] for word in _segment_words(segment)]


def _segment_words(segment: Any) -> list[str]:
    types = segment.get("SegmentedPropertyTypeCodeSequence") or []
    return [
        text_of(segment, "SegmentLabel"),
        text_of(segment, "SegmentDescription"),
        *[text_of(code, "CodeMeaning") for code in types],
    ]


def tumor_segments(segments: Sequence[Any]) -> list[int]:
    """Numbers of the segments that are tumor: the only one, or those whose words say so.

    Raises
    ------
    Unusable
        Where there are several and the words of none say tumor.
    """
    if len(segments) == 1:
        return [int(segments[0].SegmentNumber)]
    chosen = [int(segment.SegmentNumber) for segment in segments if speaks_of_tumor(_segment_words(segment))]
    if not chosen:
        raise Unusable(
            f"a DICOM SEG of {len(segments)} segments, none of which is named as a tumor",
            "one segment, or a label, description or type such as tumor, lesion or neoplasm",
            "Rename the segment",
        )
    return chosen


def read_reference(path: Path) -> Reference:
    """Read a reference from a DICOM SEG or a volume file.

    Raises
    ------
    Unusable
        Where it cannot be read, or is no mask.
    """
    return _read_mask(path) if is_volume_file(path) else _read_segmentation(path)


def _read_segmentation(path: Path) -> Reference:
    try:
        segmentation = highdicom.seg.segread(path)
        numbers = tumor_segments(segmentation.SegmentSequence)
        volume = volume_of_segments(segmentation, numbers)
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise Unusable(
            f"the DICOM SEG cannot be read as a volume ({type(failure).__name__})",
            "parallel, evenly spaced frames",
            "Export the segmentation again, or as NIfTI",
        ) from failure
    count = len(segmentation.SegmentSequence)
    notes = () if count == 1 else (f"{len(numbers)} of {count} segments of the reference are tumor and were used",)
    return Reference(volume, notes)


def volume_of_segments(segmentation: Any, numbers: Sequence[int]) -> Volume:
    """Union of segments as a uint8 mask on the segmentation's own grid."""
    stacked = segmentation.get_volume(segment_numbers=list(numbers), combine_segments=False)
    tumor = (np.asarray(stacked.array) >= FRACTION_OF_TUMOR).any(axis=-1).astype(np.uint8)
    return Volume.of(stacked.with_array(tumor).to_simpleitk())


def _read_mask(path: Path) -> Reference:
    volume = read_finite_volume(path, "reference")
    mask, told = binary(volume.array)
    return Reference(Volume(mask, volume.geometry), (told,) if told else ())


def binary(labels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], str]:
    """Mask of the voxels that are not 0, and a note where values other than 0 and 1 were met.

    Raises
    ------
    Unusable
        Where there are too many different values for a mask.
    """
    values = np.unique(labels)
    if len(values) > MOST_LABELS:
        raise Unusable(
            f"a reference with {len(values)} different values",
            "a mask: 0 for background, another value for tumor",
            "Check that the reference is not the image",
        )
    nonzero = values[values != 0]
    told = ""
    if len(nonzero) and not np.array_equal(nonzero, [1]):
        told = f"the reference holds the values {', '.join(f'{v:g}' for v in nonzero)}; all but 0 were taken as tumor"
    return (labels != 0).astype(np.uint8), told


def on_grid(reference: Reference, grid: Geometry) -> Reference:
    """Put a mask on the grid of its image by physical space.

    Each voxel takes the value of the nearest voxel of the mask, so that grids which differ only in the order or the
    direction of axes keep every voxel exactly.

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
    mask = Volume.of(_resampled(reference.mask.image(), grid))
    after_ml = float(mask.array.sum()) * grid.voxel_ml
    if after_ml == 0.0:
        raise Unusable(
            "no tumor voxel of the reference lies on the image",
            "both in one physical space",
            "Check that the two belong together",
        )
    notes = list(reference.notes)
    if abs(after_ml - before_ml) > LOST_VOLUME * before_ml:
        notes.append(f"the lesion has {after_ml:.2f} ml on the image's grid, {before_ml:.2f} ml on its own")
    return Reference(mask, tuple(notes))


def _resampled(mask: Any, grid: Geometry) -> Any:
    return sitk.Resample(
        mask,
        grid.size_xyz,
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        grid.origin_xyz_mm,
        grid.spacing_xyz_mm,
        grid.direction,
        0,
        sitk.sitkUInt8,
    )
