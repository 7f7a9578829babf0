"""Headers of a DICOM export, grouped by series."""

from __future__ import annotations

import logging
import os
import struct
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from nnunet_spine.dataset_conversion.frame_headers import FRAME_KEYWORDS, frame_headers
from nnunet_spine.errors import WorkFailed
from nnunet_spine.files import is_regular_file
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import map_with_help

# Their warnings quote values of headers, patients' names among them, and come whenever a value is first looked at.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
logging.getLogger("highdicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\.|$)")

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_MR_STORAGE = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
"""Enhanced MR, and legacy converted enhanced MR: many frames in one object."""

SEGMENTATION_STORAGE = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
STRUCTURE_SET_STORAGE = "1.2.840.10008.5.1.4.1.1.481.3"
DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"

HEADER_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError, IndexError),
    *(BytesLengthException, struct.error, zlib.error, OverflowError, RecursionError, MemoryError),
)
"""What pydicom raises for a damaged header, besides InvalidDicomError for a file that is not DICOM.

The last ones: a value of another length than its type's, damaged deflated content, a number beyond any, items nested
without end, and a length of gigabytes in a small file.
"""

FILES_AT_ONCE, FILES_PER_HELPER = 32, 400
"""Files whose headers a process takes at a time, and how many are worth another process."""

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
    told_apart_by
        What differs between the parts, in words of ours.
    """

    uid: str
    files: tuple[Path, ...]
    header: Any = field(repr=False)
    slices: tuple[Slice, ...] = field(default=(), repr=False)
    part: int = 0
    told_apart_by: str = ""

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


@dataclass(frozen=True)
class Export:
    """What a folder holds.

    Parameters
    ----------
    series
        In the order of their first file's path.
    not_dicom, damaged, copies
        Paths relative to the folder; private, since folders are often named after patients. `copies` are files that
        hold an instance again.
    directories
        Number of DICOMDIR files.
    """

    series: tuple[Series, ...]
    not_dicom: tuple[str, ...] = field(default=(), repr=False)
    damaged: tuple[str, ...] = field(default=(), repr=False)
    copies: tuple[str, ...] = field(default=(), repr=False)
    directories: int = 0


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


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted by path; hidden ones are left out."""
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent) / name for name in sorted(names) if not name.startswith("."))


def count_hidden(folder: Path) -> int:
    """Number of files that `files_below` leaves out."""
    return sum(len(names) for _, _, names in os.walk(folder)) - sum(1 for _ in files_below(folder))


def read_header(path: Path) -> Any:
    """The attributes `KEYWORDS` of a DICOM file, without its pixels.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        Where the file is not DICOM.
    HEADER_ERRORS
        Where it is damaged.
    """
    if not is_regular_file(path):  # a pipe would block
        raise InvalidDicomError("not a regular file")
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(KEYWORDS))


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


def read_export(folder: Path, *, processes: int = 1, progress: Progress = silent) -> Export:
    """Read the headers of all files below a folder and group them by series."""
    return group_files(folder, list(files_below(folder)), processes=processes, progress=progress)


def group_files(folder: Path, files: Iterable[Path], *, processes: int = 1, progress: Progress = silent) -> Export:
    """Group DICOM files by Series Instance UID.

    Parameters
    ----------
    folder
        What the paths of unusable files are given relative to.
    files
        In any order.
    processes
        That read them, this one included.
    progress
        Told after each file.

    Raises
    ------
    WorkFailed
        Where another process was killed, as the system does when memory runs out.
    """
    gathered = _Gathered(folder)
    ordered = sorted(files)
    done, helpers = 0, min(processes - 1, len(ordered) // FILES_PER_HELPER)
    try:
        for read in map_with_help(read_file, ordered, helpers=helpers, chunk=FILES_AT_ONCE):
            gathered.add(read)
            done += 1
            progress(done, len(ordered), "")
    except BrokenProcessPool as failure:
        raise WorkFailed(
            "A process that read DICOM headers was killed, probably for want of memory. Nothing was written. Convert "
            "again with fewer CPUs or more memory."
        ) from failure
    return gathered.export()


@dataclass(frozen=True)
class FileRead:
    """What the header of one file says.

    Parameters
    ----------
    path
        The file.
    unusable
        Why it cannot be used, by the name of a field of `Export`; or "".
    is_directory
        Whether it is a DICOMDIR.
    series
        Series Instance UID and kind of object.
    instance
        What a copy of it shares: instance, place, size.
    planes
        Its image planes.
    """

    path: Path
    unusable: str = ""
    is_directory: bool = False
    series: tuple[str, str] = ("", "")
    instance: tuple[str, ...] = ()
    planes: tuple[Slice, ...] = ()


def read_file(path: Path) -> FileRead:
    """Read one file's header."""
    try:
        header = read_header(path)
        is_directory = text_of(header.file_meta, "MediaStorageSOPClassUID") == DIRECTORY_STORAGE
        uid, kind = text_of(header, "SeriesInstanceUID"), text_of(header, "SOPClassUID")
        planes = tuple(Slice(path, number, one) for number, one in frame_headers(header))
        planes = planes or (Slice(path, 0, attributes_of(header)),)
    except InvalidDicomError:
        return FileRead(path, "not_dicom")
    except HEADER_ERRORS:
        return FileRead(path, "damaged")
    if is_directory:
        return FileRead(path, is_directory=True)
    if not uid or not kind:
        return FileRead(path, "damaged")
    place = text_of(header, "ImagePositionPatient")
    instance = (text_of(header, "SOPInstanceUID"), place, str(path.stat().st_size))
    return FileRead(path, series=(uid, _kind_of_object(kind)), instance=instance, planes=planes)


@dataclass
class _Gathered:
    """Files met so far."""

    folder: Path
    slices: dict[tuple[str, str], list[Slice]] = field(default_factory=lambda: defaultdict(list))
    unusable: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    instances: set[tuple[str, ...]] = field(default_factory=set)
    directories: int = 0

    def add(self, read: FileRead) -> None:
        """Put a file where it belongs."""
        if read.is_directory:
            self.directories += 1
        elif why := read.unusable or ("copies" if self._is_copy(read.instance) else ""):
            self.unusable[why].append(read.path.relative_to(self.folder).as_posix())
        else:
            self.slices[read.series].extend(read.planes)

    def _is_copy(self, instance: tuple[str, ...]) -> bool:
        """Whether the same instance was met before, at the same place and in a file of the same size."""
        met = bool(instance[0]) and instance in self.instances
        self.instances.add(instance)
        return met

    def export(self) -> Export:
        """All that was met."""
        series = tuple(_series_of(uid, planes) for (uid, _), planes in self.slices.items())
        unusable = {why: tuple(paths) for why, paths in self.unusable.items()}
        return Export(series, **unusable, directories=self.directories)


def _kind_of_object(storage: str) -> str:
    """A segmentation that was filed under the series of its image is still no image of it."""
    return "segmentation" if storage in SEGMENTATION_STORAGE else storage


def _series_of(uid: str, planes: list[Slice]) -> Series:
    return Series(uid, tuple(dict.fromkeys(plane.path for plane in planes)), planes[0].header, tuple(planes))
