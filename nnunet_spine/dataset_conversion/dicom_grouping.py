"""The files of a DICOM export, each instance once, grouped by series."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.dicom_headers import (
    DIRECTORY_STORAGE,
    SEGMENTATION_STORAGE,
    STRUCTURE_SET_STORAGE,
    Series,
    Slice,
    attributes_of,
    number_of,
    numbers_of,
    read_header,
    text_of,
)
from nnunet_spine.dataset_conversion.frame_headers import frame_headers
from nnunet_spine.dataset_conversion.instance_copies import is_copy
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.slice_grid import MINIMUM_SLICES
from nnunet_spine.dataset_conversion.source_files import SourceFiles, look_below
from nnunet_spine.errors import WorkFailed
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import map_with_help

FILES_AT_ONCE, FILES_PER_HELPER = 32, 400
"""Files whose headers a process takes at a time, and how many are worth another process."""

SAME_INSTANCE_MM = 0.1
"""Files of one instance UID that lie nearer are one instance, whose place may be rounded differently."""

_RESCALE = (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
"""Attributes by which stored values become others, and what they are if they are missing."""

_WITHOUT_UID = (
    *("StudyInstanceUID", "PatientID", "SeriesNumber", "SeriesDescription", "ProtocolName", "SeriesDate", "SeriesTime"),
    *("Modality", "FrameOfReferenceUID"),
)
"""What separates series whose Series Instance UID is blank."""


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
    unnamed
        Number of files without Series Instance UID.
    shared
        Number of Series Instance UIDs that several patients, or several studies, share.
    below
        All files, and what could not be looked at.
    """

    series: tuple[Series, ...]
    not_dicom: tuple[str, ...] = field(default=(), repr=False)
    damaged: tuple[str, ...] = field(default=(), repr=False)
    copies: tuple[str, ...] = field(default=(), repr=False)
    directories: int = 0
    unnamed: int = 0
    shared: int = 0
    below: SourceFiles = field(default_factory=SourceFiles, repr=False)


def read_export(folder: Path, *, processes: int = 1, progress: Progress = silent) -> Export:
    """Read the headers of all files below a folder and group them by series."""
    below = look_below(folder)
    return group_files(folder, below.files, below=below, processes=processes, progress=progress)


def group_files(
    folder: Path,
    files: Iterable[Path],
    *,
    below: SourceFiles | None = None,
    processes: int = 1,
    progress: Progress = silent,
) -> Export:
    """Group DICOM files by series.

    Parameters
    ----------
    folder
        What the paths of unusable files are given relative to.
    files
        In any order.
    below
        All that the folder holds.
    processes
        That read them, this one included.
    progress
        Called after each file.

    Raises
    ------
    WorkFailed
        If another process was killed, as the system does when memory runs out.
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
            "A process that read DICOM headers was killed, probably because memory ran out. Nothing was written. "
            "Convert again with fewer CPUs or more memory."
        ) from failure
    return gathered.export(below or SourceFiles())


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
        Series Instance UID and kind of object; if the UID is blank, what else separates series.
    instance
        What a copy of it shares: instance, kind of object, size in voxels, rescale.
    is_lossy
        Whether its pixels were compressed with loss.
    planes
        Its image planes.
    """

    path: Path
    unusable: str = ""
    is_directory: bool = False
    series: tuple[str, ...] = ("", "")
    instance: tuple[Hashable, ...] = ("",)
    is_lossy: bool = False
    planes: tuple[Slice, ...] = ()


def read_file(path: Path) -> FileRead:
    """Read one file's header."""
    try:
        header = read_header(path)
        is_directory = text_of(header.file_meta, "MediaStorageSOPClassUID") == DIRECTORY_STORAGE
        kind = _kind_of_object(text_of(header, "SOPClassUID"))
        planes = tuple(Slice(path, number, one) for number, one in frame_headers(header))
        planes = planes or (Slice(path, 0, attributes_of(header)),)
        lossy = text_of(header, "LossyImageCompression") == "01"
    except InvalidDicomError:
        return FileRead(path, "not_dicom")
    except HEADER_ERRORS:
        return FileRead(path, "damaged")
    if is_directory:
        return FileRead(path, is_directory=True)
    if not kind:
        return FileRead(path, "damaged")
    uid = text_of(header, "SeriesInstanceUID")
    series = (uid, kind) if uid else ("", kind, *(text_of(header, keyword) for keyword in _WITHOUT_UID))
    instance = (
        text_of(header, "SOPInstanceUID"),
        kind,
        *(number_of(header, keyword) for keyword in ("Rows", "Columns", "NumberOfFrames")),
        *(number_of(header, keyword) or default for keyword, default in _RESCALE),
    )
    return FileRead(path, series=series, instance=instance, is_lossy=lossy, planes=planes)


def _is_at_one_place(one: FileRead, other: FileRead) -> bool:
    """Whether two files of one instance UID lie at one place; archives share UIDs between slices, too."""
    here, there = (numbers_of(read.planes[0].header, "ImagePositionPatient", 3) for read in (one, other))
    if here is None or there is None:
        return here == there
    return math.dist(here, there) <= SAME_INSTANCE_MM


@dataclass
class _Gathered:
    """Files met so far."""

    folder: Path
    unusable: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    kept: list[FileRead] = field(default_factory=list)
    instances: dict[tuple[Hashable, ...], list[FileRead]] = field(default_factory=lambda: defaultdict(list))
    directories: int = 0

    def add(self, read: FileRead) -> None:
        """Put a file where it belongs."""
        if read.is_directory:
            self.directories += 1
        elif read.unusable:
            self._leave_out(read.unusable, read)
        else:
            self._keep(read)

    def _keep(self, read: FileRead) -> None:
        """Keep an instance once: of copies the first, and one without loss rather than one with."""
        alike = self.instances[read.instance] if read.instance[0] else []
        for earlier in [one for one in alike if _is_at_one_place(one, read)]:
            if earlier.is_lossy and not read.is_lossy:
                alike.remove(earlier)
                self.kept.remove(earlier)
                self._leave_out("copies", earlier)
            elif (read.is_lossy and not earlier.is_lossy) or is_copy(earlier.path, read.path):
                self._leave_out("copies", read)
                return
        alike.append(read)
        self.kept.append(read)

    def _leave_out(self, why: str, read: FileRead) -> None:
        self.unusable[why].append(read.path.relative_to(self.folder).as_posix())

    def export(self, below: SourceFiles) -> Export:
        """All that was met."""
        slices: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
        for read in self.kept:
            slices[read.series].extend(read.planes)
        series, shared = [], 0
        for key, planes in slices.items():
            apart = _apart(planes, is_reference=key[1] in ("segmentation", STRUCTURE_SET_STORAGE))
            shared += len(apart) > 1
            series += [_series_of(key, number, group) for number, group in enumerate(apart)]
        return Export(
            tuple(series),
            **{why: tuple(paths) for why, paths in self.unusable.items()},
            directories=self.directories,
            unnamed=sum(not read.series[0] for read in self.kept),
            shared=shared,
            below=below,
        )


def _kind_of_object(storage: str) -> str:
    """A segmentation that was filed under the series of its image is still no image of it."""
    return "segmentation" if storage in SEGMENTATION_STORAGE else storage


def _series_of(key: tuple[str, ...], number: int, planes: Sequence[Slice]) -> Series:
    files = tuple(dict.fromkeys(plane.path for plane in planes))
    return Series(key[0], files, planes[0].header, tuple(planes), key=(*key, number))


def _apart(planes: Sequence[Slice], *, is_reference: bool) -> list[list[Slice]]:
    """Image planes of one UID by patient, then by study.

    Some systems give the series of several patients one UID, and some give each file of one series a study of its own:
    studies count if each holds a volume.
    """
    groups = _by(planes, lambda header: patient_key(text_of(header, "PatientID")))
    apart = []
    for group in groups:
        studies = _by(group, lambda header: text_of(header, "StudyInstanceUID"))
        fewest = 1 if is_reference else MINIMUM_SLICES
        apart += studies if all(len(study) >= fewest for study in studies) else [group]
    return apart


def _by(planes: Sequence[Slice], value: Callable[[object], str]) -> list[list[Slice]]:
    """Groups of planes by a value of their headers; those without one join the only group that has one."""
    groups: dict[str, list[Slice]] = defaultdict(list)
    for plane in planes:
        groups[value(plane.header)].append(plane)
    if len(groups) == 2 and "" in groups:
        return [list(planes)]
    return list(groups.values())
