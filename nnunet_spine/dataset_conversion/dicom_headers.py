"""Headers of a DICOM export, grouped by series."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError

from nnunet_spine.progress import Progress, silent

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"

HEADER_ERRORS = (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError, IndexError)
"""What pydicom raises for a damaged header, besides InvalidDicomError for a file that is not DICOM."""

KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Manufacturer",
    "MagneticFieldStrength",
    "BodyPartExamined",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "SeriesNumber",
    "ImageType",
    "ImageOrientationPatient",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "ScanningSequence",
    "ContrastBolusAgent",
    "ContrastBolusAgentSequence",
    "ContrastBolusVolume",
    "ContrastBolusTotalDose",
    "ReferencedSeriesSequence",
    "SegmentSequence",
    "FrameOfReferenceUID",
    "ReferencedFrameOfReferenceSequence",
    "StructureSetROISequence",
    "RTROIObservationsSequence",
)
"""The attributes that discovery reads."""


@dataclass(frozen=True, eq=False)
class Series:
    """One DICOM series: its files, sorted by path, and the header of the first."""

    uid: str
    files: tuple[Path, ...]
    header: Any = field(repr=False)

    @property
    def is_mr(self) -> bool:
        """Whether it holds MR images of one frame each."""
        return text_of(self.header, "SOPClassUID") == MR_IMAGE_STORAGE

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
        return text_of(self.header, "SeriesNumber") or "without number"


@dataclass(frozen=True)
class Export:
    """What a folder holds.

    Parameters
    ----------
    series
        In the order of their first file's path.
    not_dicom, damaged
        Paths relative to the folder; private, since folders are often named after patients.
    """

    series: tuple[Series, ...]
    not_dicom: tuple[str, ...] = field(default=(), repr=False)
    damaged: tuple[str, ...] = field(default=(), repr=False)


def text_of(header: Any, keyword: str) -> str:
    """Value of an attribute as text; empty where it is absent or empty."""
    value = header.get(keyword)
    return "" if value is None else str(value).strip()


def number_of(header: Any, keyword: str) -> float | None:
    """Value of a numeric attribute; None where it is absent, empty or no number."""
    try:
        return float(header.get(keyword))
    except (TypeError, ValueError):
        return None


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted by path; hidden ones are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith("."))


def read_header(path: Path) -> Any:
    """The attributes `KEYWORDS` of a DICOM file, without its pixels.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        Where the file is not DICOM.
    HEADER_ERRORS
        Where it is damaged.
    """
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))


def read_export(folder: Path, *, progress: Progress = silent) -> Export:
    """Read the headers of all files below a folder and group them by series."""
    return group_files(folder, list(files_below(folder)), progress=progress)


def group_files(folder: Path, files: Iterable[Path], *, progress: Progress = silent) -> Export:
    """Group DICOM files by Series Instance UID.

    Parameters
    ----------
    folder
        What the paths of unusable files are given relative to.
    files
        In any order.
    progress
        Told after each file.
    """
    grouped: dict[str, list[Path]] = defaultdict(list)
    headers: dict[str, Any] = {}
    not_dicom: list[str] = []
    damaged: list[str] = []
    ordered = sorted(files)
    for done, path in enumerate(ordered, start=1):
        progress(done, len(ordered), "")
        try:
            header = read_header(path)
            uid = text_of(header, "SeriesInstanceUID")
        except InvalidDicomError:
            not_dicom.append(path.relative_to(folder).as_posix())
            continue
        except HEADER_ERRORS:
            damaged.append(path.relative_to(folder).as_posix())
            continue
        if text_of(header.file_meta, "MediaStorageSOPClassUID") == DIRECTORY_STORAGE:
            continue
        if not uid or not text_of(header, "SOPClassUID"):
            damaged.append(path.relative_to(folder).as_posix())
            continue
        grouped[uid].append(path)
        headers.setdefault(uid, header)
    series = tuple(Series(uid, tuple(paths), headers[uid]) for uid, paths in grouped.items())
    return Export(series, tuple(not_dicom), tuple(damaged))
