"""Headers of DICOM files: the attributes that discovery reads, image planes, and series."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS, open_dataset
from nnunet_spine.dataset_conversion.frame_headers import FRAME_KEYWORDS

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_STORAGE = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
"""Enhanced MR, and legacy converted enhanced MR: many frames in one object."""

SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"

LARGEST = 1e9
"""A place, a direction or a spacing beyond this is no number that can be meant."""

KEYWORDS = (
    *FRAME_KEYWORDS,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Manufacturer",
    "MagneticFieldStrength",
    "BodyPartExamined",
    "StudyDate",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "SeriesNumber",
    "SeriesDate",
    "SeriesTime",
    "Rows",
    "Columns",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ContrastBolusVolume",
    "ContrastBolusTotalDose",
    "ReferencedSeriesSequence",
    "SegmentSequence",
    "FrameOfReferenceUID",
    "ImagesInAcquisition",
    "NumberOfFrames",
    "SliceThickness",
    "LossyImageCompression",
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
    "RTROIObservationsSequence",
)
"""The attributes that discovery reads."""


@dataclass(frozen=True, eq=False)
class Slice:
    """One image plane: its file, its frame in it (from 1; 0 for a file of one frame), and its attributes."""

    path: Path
    frame: int
    header: Any = field(repr=False)


@dataclass(frozen=True, eq=False)
class Series:
    """One DICOM series, or a part of one that makes a volume of its own.

    Parameters
    ----------
    uid
        Series Instance UID.
    files
        Sorted by path.
    header
        Of the first file or frame.
    slices
        Image planes, of which a file may hold several.
    part
        Number of the part, from 1; 0 where the series is whole.
    separated_by
        What differs between the parts, in words of ours.
    key
        What sets the series apart from all others of an export; the UID may be blank, or be that of two patients.
    places, places_of_whole
        Places along the normal that the slices take, and that those of the whole stack take; 0 if that is not known.
    flaw
        What keeps the slices from being a volume, in words of ours; or "".
    """

    uid: str
    files: tuple[Path, ...]
    header: Any = field(repr=False)
    slices: tuple[Slice, ...] = field(default=(), repr=False)
    part: int = 0
    separated_by: str = ""
    key: Hashable = field(default=(), repr=False)
    places: int = 0
    places_of_whole: int = 0
    flaw: str = ""

    @property
    def is_mr(self) -> bool:
        """Whether it holds MR images, of one frame or of many."""
        return text_of(self.header, "SOPClassUID") in (MR_IMAGE_STORAGE, *ENHANCED_MR_STORAGE)

    @property
    def is_segmentation(self) -> bool:
        """Whether it holds DICOM segmentations."""
        return text_of(self.header, "SOPClassUID") in SEGMENTATION_STORAGE

    @property
    def is_structure_set(self) -> bool:
        """Whether it holds RT structure sets."""
        return text_of(self.header, "SOPClassUID") == STRUCTURE_SET_STORAGE

    @property
    def is_reference(self) -> bool:
        """Whether it holds what a tumor is drawn in: DICOM SEG or RTSTRUCT."""
        return self.is_segmentation or self.is_structure_set

    @property
    def frames(self) -> tuple[tuple[int, ...], ...]:
        """Frame numbers of each file of `files`; empty where each holds one frame."""
        if not any(one.frame for one in self.slices):
            return ()
        return tuple(tuple(one.frame for one in self.slices if one.path == path) for path in self.files)

    @property
    def is_subset(self) -> bool:
        """Whether other slices of the series lie at places that these do not take."""
        return self.places < self.places_of_whole

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return text_of(self.header, "StudyInstanceUID")

    @property
    def patient_id(self) -> str:
        """Patient ID as the source has it."""
        return text_of(self.header, "PatientID")

    @property
    def number(self) -> str:
        """Series Number, or "without number"; it says nothing of the patient."""
        number = number_of(self.header, "SeriesNumber")
        return "without number" if number is None else f"{number:.0f}"

    @property
    def name(self) -> str:
        """Our name of it, such as "series 5" or "series 5, part 2"."""
        return f"series {self.number}" + (f", part {self.part}" if self.part else "")


def text_of(header: Any, keyword: str) -> str:
    """Value of an attribute as text; empty where it is absent, empty or damaged."""
    value = value_of(header, keyword)
    return "" if value is None else str(value).strip()


def number_of(header: Any, keyword: str) -> float | None:
    """Value of a numeric attribute, the first of several; None where it is absent, empty or no finite number."""
    value = value_of(header, keyword)
    if isinstance(value, (list, tuple, pydicom.multival.MultiValue)):
        value = value[0] if len(value) else None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if np.isfinite(number) else None


def numbers_of(header: Any, keyword: str, count: int) -> tuple[float, ...] | None:
    """Values of an attribute of `count` numbers; None where it has not that many, none beyond `LARGEST`."""
    try:
        values = tuple(float(v) for v in value_of(header, keyword) or ())
    except (TypeError, ValueError, OverflowError):
        return None
    return values if len(values) == count and all(abs(v) <= LARGEST for v in values) else None


def value_of(header: Any, keyword: str) -> Any:
    """Value of an attribute; None where it is absent or cannot be decoded."""
    try:
        return header.get(keyword)
    except HEADER_ERRORS:
        return None


def words_in(header: Any, keyword: str) -> list[str]:
    """Values of a text attribute in upper case, whether it holds one or several."""
    value = value_of(header, keyword)
    if value is None or isinstance(value, str):
        return [str(value).upper()] if value else []
    return [str(one).upper() for one in value] if hasattr(value, "__iter__") else [str(value).upper()]


def read_header(path: Path) -> Any:
    """The attributes `KEYWORDS` of a DICOM file, without its pixels; errors as for `open_dataset`."""
    return open_dataset(path, keywords=KEYWORDS)


def attributes_of(header: Any) -> dict[str, Any]:
    """Decoded attributes by keyword, without those that cannot be: all files' headers are kept, and read many times."""
    found = {}
    for tag in list(header.keys()):  # iterating over a Dataset decodes, and raises
        try:
            element = header[tag]
            found[element.keyword] = _numbers(element.value) if element.VR == "DS" else element.value
        except HEADER_ERRORS:
            continue
    return found


def _numbers(value: Any) -> Any:
    """Decimal strings as plain numbers."""
    if isinstance(value, pydicom.multival.MultiValue):
        return tuple(float(v) for v in value)
    return float(value) if value not in (None, "") else value
