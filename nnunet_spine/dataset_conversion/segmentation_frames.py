"""The frames of a DICOM SEG: which segment each shows, where it lies, and its pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.pixels import iter_pixels

from nnunet_spine.dataset_conversion.dicom_headers import SEGMENTATION_STORAGE, number_of, numbers_of, text_of, value_of
from nnunet_spine.dataset_conversion.problems import Unusable

ROUNDING = 1e-6
"""A fraction this little below the wanted one has it."""

_DEFAULTS = {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 0}


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame that may show the tumor.

    Parameters
    ----------
    index
        In the file, from 0.
    position
        Center of the first voxel, LPS in mm, shape (3,).
    cosines
        Directions along rows and columns, shape (6,).
    spacing
        Distance of rows and of columns in mm.
    thickness_mm, between_mm
        Slice Thickness and Spacing Between Slices; 0 if missing.
    """

    index: int
    position: npt.NDArray[np.float64]
    cosines: npt.NDArray[np.float64]
    spacing: tuple[float, float]
    thickness_mm: float
    between_mm: float


def is_label_map(dataset: Any) -> bool:
    """Whether the pixels of a DICOM SEG are numbers of segments."""
    return (
        text_of(dataset, "SegmentationType") == "LABELMAP" or text_of(dataset, "SOPClassUID") == SEGMENTATION_STORAGE[1]
    )


def frames_of(dataset: Any, segments: Sequence[int], wanted: Sequence[int]) -> list[Frame]:
    """The frames of the wanted segments, by whatever describes each: its own groups, the shared ones, or the file.

    Parameters
    ----------
    dataset
        A DICOM SEG.
    segments, wanted
        Numbers of all segments, and of those that are tumor.

    Raises
    ------
    Unusable
        If a frame has no place, direction, size of pixels or segment, or the tumor has no frame.
    """
    described = _described(dataset)
    label_map = is_label_map(dataset)
    frames = [
        _frame(index, holders)
        for index, holders in enumerate(described)
        if label_map or _segment_of(holders, segments) in wanted
    ]
    if not frames:
        raise Unusable(
            "a DICOM SEG without a frame of the segment that is the tumor", "at least one", "Check the segmentation"
        )
    return frames


def undescribed_segments(dataset: Any, segments: Sequence[int]) -> Counter[int]:
    """Frames of segments that the file does not describe, by number; a label map has none, but values of that kind."""
    if is_label_map(dataset):
        return Counter()
    return Counter(n for holders in _described(dataset) if (n := _segment_of(holders, segments)) not in segments)


def _described(dataset: Any) -> list[list[Any]]:
    """What describes each frame, the nearest first: its own groups, the shared ones, the file."""
    count = int(number_of(dataset, "NumberOfFrames") or 1)
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
    if len(groups) < count and not (count == 1 and not groups):
        raise Unusable(
            f"a DICOM SEG of {count} frames, of which its header describes {len(groups)}",
            "a description of every frame",
            "Export it again",
        )
    shared = list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    return [([groups[k]] if groups else []) + shared + [dataset] for k in range(count)]


def _segment_of(holders: Sequence[Any], segments: Sequence[int]) -> int:
    item = _item(holders, "SegmentIdentificationSequence")
    number = None if item is None else number_of(item, "ReferencedSegmentNumber")
    if number is None and len(segments) == 1:
        return segments[0]
    if number is None:
        raise Unusable(
            f"a DICOM SEG of {len(segments)} segments with a frame that names none of them",
            "Referenced Segment Number in every frame",
            "Export it again",
        )
    return int(number)


def _item(holders: Sequence[Any], keyword: str) -> Any:
    """The item of a sequence in the first of the holders that has it; None if none has."""
    return next((holder[keyword].value[0] for holder in holders if holder.get(keyword)), None)


def _frame(index: int, holders: Sequence[Any]) -> Frame:
    measures = _item(holders, "PixelMeasuresSequence") or holders[-1]
    return Frame(
        index,
        np.array(_numbers(holders, "PlanePositionSequence", "ImagePositionPatient", 3, "position")),
        np.array(_numbers(holders, "PlaneOrientationSequence", "ImageOrientationPatient", 6, "orientation")),
        _pair(_numbers(holders, "PixelMeasuresSequence", "PixelSpacing", 2, "pixel size")),
        abs(number_of(measures, "SliceThickness") or 0.0),
        abs(number_of(measures, "SpacingBetweenSlices") or 0.0),
    )


def _pair(values: tuple[float, ...]) -> tuple[float, float]:
    return values[0], values[1]


def _numbers(holders: Sequence[Any], sequence: str, keyword: str, count: int, what: str) -> tuple[float, ...]:
    """Values of an attribute in a functional group, or of the file itself."""
    item = _item(holders, sequence)
    holder = holders[-1] if item is None else item
    values = numbers_of(holder, keyword, count)
    if values is None:
        is_missing = value_of(holder, keyword) is None
        found = f"without {what}" if is_missing else f"whose {what} is not {count} numbers that a scanner gives"
        raise Unusable(f"a DICOM SEG with a frame {found}", f"the {what} of every frame", "Export it again")
    return values


def tumor_pixels(
    dataset: Any, frames: Sequence[Frame], wanted: Sequence[int], fraction: float, values: Counter[int]
) -> Iterator[npt.NDArray[np.uint8]]:
    """The tumor in each frame, 0 and 1, shape (rows, columns).

    Parameters
    ----------
    dataset, frames, wanted
        A DICOM SEG, its frames, and the numbers of the segments that are tumor.
    fraction
        Share of the Maximum Fractional Value from which on a pixel is tumor.
    values
        To which the pixels of a label map are added, by value.

    Raises
    ------
    Unusable
        If a fractional segmentation does not say which value is the whole.
    """
    whole = 0.0
    if text_of(dataset, "SegmentationType") == "FRACTIONAL":
        whole = number_of(dataset, "MaximumFractionalValue") or 0.0
        if whole <= 0:
            raise Unusable("a fractional DICOM SEG without Maximum Fractional Value", "that value", "Export it again")
    label_map = is_label_map(dataset)
    for pixels in _decoded(dataset, [frame.index for frame in frames]):
        if label_map:
            tumor = np.isin(pixels, list(wanted))
            values.update(dict(zip(*(part.tolist() for part in np.unique(pixels, return_counts=True)), strict=True)))
        else:
            tumor = pixels / whole >= fraction - ROUNDING if whole else pixels != 0
        yield tumor.astype(np.uint8)


def _decoded(dataset: Any, indices: Sequence[int]) -> Iterator[npt.NDArray[Any]]:
    bits, shape = int(dataset.BitsAllocated), (int(dataset.Rows), int(dataset.Columns))
    if bits == 1 and not dataset.file_meta.TransferSyntaxUID.is_compressed:
        return (_unpacked(dataset.PixelData, index, shape) for index in indices)
    for keyword, value in {**_DEFAULTS, "BitsStored": bits, "HighBit": bits - 1}.items():
        if keyword not in dataset:
            setattr(dataset, keyword, value)
    pixels: Iterator[npt.NDArray[Any]] = iter_pixels(dataset, indices=list(indices), raw=True)
    return pixels


def _unpacked(data: bytes, index: int, shape: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """A frame of bits; frames follow each other without a gap (PS3.5 8.1.1), so that one may begin within a byte."""
    count = shape[0] * shape[1]
    first = index * count
    packed = np.frombuffer(data[first // 8 : (first + count + 7) // 8], np.uint8)
    bits: npt.NDArray[np.uint8] = np.unpackbits(packed, bitorder="little")[first % 8 : first % 8 + count]
    return bits.reshape(shape)
