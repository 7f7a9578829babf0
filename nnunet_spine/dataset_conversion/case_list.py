"""Sources listed in a cases.csv: one row for each case, paths relative to the file."""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom.errors import InvalidDicomError

from nnunet_spine.cases import UNKNOWN, Closed, Compartment, Region, Split, parse_enum
from nnunet_spine.dataset_conversion.dicom_discovery import series_details
from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.dicom_grouping import Export, group_files
from nnunet_spine.dataset_conversion.dicom_headers import Series, read_header
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note, warning
from nnunet_spine.dataset_conversion.reference_matching import slices_not_there
from nnunet_spine.dataset_conversion.reference_selection import Claim, words_of
from nnunet_spine.dataset_conversion.series_parts import parts_of
from nnunet_spine.dataset_conversion.slicer_segments import segments_of
from nnunet_spine.dataset_conversion.source_files import Absent, look_below, why_absent
from nnunet_spine.dataset_conversion.sources import Details, Discovery, Identity, Proposal, SourceCase
from nnunet_spine.dataset_conversion.vocabulary import maker_of
from nnunet_spine.errors import BadInput, NnunetSpineError
from nnunet_spine.files import numbered_rows
from nnunet_spine.images import SUFFIXES, is_volume_file
from nnunet_spine.progress import Progress, silent
from nnunet_spine.volume_headers import read_volume_header

LISTED = Claim("the column reference")

REQUIRED_COLUMNS = ("patient", "image", "reference")
OPTIONAL_COLUMNS = ("compartment", "tumor_type", "split", "maker", "field_strength", "region", "series", "part", "use")

_TUMOR_TYPE = re.compile(r"[a-z][a-z0-9 /-]{0,59}")


def read_case_list(path: Path, *, progress: Progress = silent) -> Discovery:
    """Read a cases.csv and check that every row names an image and a reference that can be opened.

    Parameters
    ----------
    path
        CSV with the columns `REQUIRED_COLUMNS`, and any of `OPTIONAL_COLUMNS`.
    progress
        Told after each row.

    Raises
    ------
    BadInput
        Where a column is missing or a row cannot be used; messages name the row, never its content.
    """
    try:
        rows = numbered_rows(path, REQUIRED_COLUMNS)
    except NnunetSpineError as failure:
        raise type(failure)(str(failure).replace(str(path), "cases.csv")) from failure
    if not rows:
        raise BadInput(f"cases.csv holds no row. Give one row for each case: {', '.join(REQUIRED_COLUMNS)}.")
    cases, unused = [], []
    folders = _Folders()
    for count, (number, row) in enumerate(rows, start=1):
        if _is_used(row, f"row {number}"):
            cases.append(_case_of_row(row, path.parent, f"row {number}", folders))
        else:
            unused.append(f"row {number}")
        progress(count, len(rows), "")
    _check_repeated(cases)
    _check_split(cases)
    notes = [note("cases.csv", f"{len(unused)} rows say use=no and were left out")] if unused else []
    return Discovery(
        tuple(cases),
        (*notes, *folders.problems, *_shared_references(cases)),
        ignored=folders.ignored(),
        proposals=tuple(_proposal(case) for case in cases),
    )


def _is_used(row: Mapping[str, str], where: str) -> bool:
    """Whether a row is to be converted: column `use`, yes where it is absent or empty."""
    told = row.get("use", "").lower()
    if told not in ("", "yes", "no"):
        raise BadInput(f"cases.csv, {where}: the column use says neither yes nor no. Correct it.")
    return told != "no"


def _proposal(case: SourceCase) -> Proposal:
    return Proposal(case.where, case.identity, "listed", "high", case.image[0], case.reference, details=case.details)


class _Folders:
    """MR series below folders, whole and taken apart if they hold several volumes; each folder is read once."""

    def __init__(self) -> None:
        self._exports: dict[tuple[Path, bool], Export] = {}
        self._problems: dict[tuple[Path, bool], list[Problem]] = {}
        self._parts: dict[tuple[Path, bool], list[Series]] = {}

    @property
    def problems(self) -> list[Problem]:
        """Warnings on what could not be read in the folders, each at the first row that asked for it."""
        return [problem for problems in self._problems.values() for problem in problems]

    def problems_of(self, image: Path) -> list[Problem]:
        """Those of the folder of an image."""
        return self._problems.get(_folder_of(image), [])

    def parts(self, image: Path, where: str) -> list[Series]:
        """Volumes of a folder and those below it, or of the folder of a file; `where` is the row that asks."""
        key = _folder_of(image)
        if key not in self._parts:
            self._parts[key] = [part for series in self._mr(image, where) for part in parts_of(series)]
        return self._parts[key]

    def whole(self, image: Path, part: Series) -> Series:
        """The series that one of these volumes belongs to."""
        return next(series for series in self._mr(image, "") if series.key == part.key)

    def ignored(self) -> tuple[str, ...]:
        """Files of the folders that could not be read."""
        names: set[str] = set()
        for (folder, _), export in self._exports.items():
            names.update(export.damaged, (path.relative_to(folder).as_posix() for path in export.below.absent))
        return tuple(sorted(names))

    def _mr(self, image: Path, where: str) -> list[Series]:
        key = _folder_of(image)
        if key not in self._exports:
            folder, nested = key
            below = look_below(folder, nested=nested)
            export = self._exports[key] = group_files(folder, below.files, below=below)
            self._problems[key] = [replace(problem, where=where) for problem in (*below.warnings(), *_damaged(export))]
        return [series for series in self._exports[key].series if series.is_mr]


def _folder_of(image: Path) -> tuple[Path, bool]:
    """The folder of an image, and whether the image is that folder, with all that lies below it."""
    return (image, True) if image.is_dir() else (image.parent, False)


def _damaged(export: Export) -> list[Problem]:
    if not export.damaged:
        return []
    found = f"{len(export.damaged)} DICOM files in the folder of its image are damaged"
    return [warning("", found, "whole files", "The private mapping names them; export them again")]


def _case_of_row(row: Mapping[str, str], folder: Path, where: str, folders: _Folders) -> SourceCase:
    empty = [column for column in REQUIRED_COLUMNS if not row[column]]
    if empty:
        raise BadInput(f"cases.csv, {where}: {', '.join(empty)} is empty. Fill it in, or remove the row.")
    image, reference = folder / row["image"], folder / row["reference"]
    for path, kind in ((image, "image"), (reference, "reference")):
        _check_exists(path, f"cases.csv, {where}: the {kind}")
    if image.resolve() == reference.resolve() and image.is_file():
        raise BadInput(f"cases.csv, {where}: image and reference are one file. Name the mask as the reference.")
    reference = _reference_file(reference, where)
    header_details, uids = Details(), ("", "")
    frames: tuple[tuple[int, ...], ...] = ()
    if image.is_file() and is_volume_file(image):
        _check_volume(image, f"cases.csv, {where}: the image")
        files: tuple[Path, ...] = (image,)
    else:
        series, whole = _series_at(image, where, row, folders)
        if missing := slices_not_there(reference, whole):
            slices = f"{missing} slices" if missing > 1 else "1 slice"
            unread = [problem.found for problem in folders.problems_of(image)]
            why = f" ({'; '.join(unread)})" if unread else ""
            raise BadInput(
                f"cases.csv, {where}: the reference was drawn on {slices} that the image does not hold{why}. Export "
                "the whole series again."
            )
        files, frames = series.files, series.frames
        words = [] if is_volume_file(reference) else words_of(read_header(reference))
        header_details, uids = series_details(series.header, words), (series.study_uid, series.uid)
    return SourceCase(
        where,
        files,
        reference,
        with_columns(header_details, row, f"cases.csv, {where}"),
        Identity(row["patient"], *uids, row["image"], row["reference"]),
        _member(Split, row.get("split", "") or Split.TRAIN, f"cases.csv, {where}"),
        frames,
        LISTED,
    )


def with_columns(details: Details, row: Mapping[str, str], where: str) -> Details:
    """`details` with what the row's own columns say; `BadInput` where a value cannot be."""
    if row.get("compartment"):
        details = replace(details, compartment=_member(Compartment, row["compartment"], where))
    if row.get("region"):
        details = replace(details, region=_member(Region, row["region"], where))
    if row.get("maker"):
        details = replace(details, maker=maker_of(row["maker"]))
    if row.get("tumor_type"):
        details = replace(details, tumor_type=_tumor_type(row["tumor_type"], where))
    if row.get("field_strength"):
        details = replace(details, field_strength=_tesla(row["field_strength"], where))
    return details


def _member(kind: type[Closed], value: str, where: str) -> Closed:
    """`parse_enum`, whose message tells no value: a row that is out of step has a name there."""
    try:
        return parse_enum(kind, value, where)
    except BadInput as failure:
        allowed = ", ".join(member.value for member in kind)
        raise BadInput(
            f"{where}: {kind.__name__.lower()} is none of the known values. Expected one of {allowed}."
        ) from failure


def _tumor_type(text: str, where: str) -> str:
    plain = text.lower()
    if plain != UNKNOWN and not _TUMOR_TYPE.fullmatch(plain):
        raise BadInput(f"{where}: tumor_type is not a plain term. Expected at most 60 letters, such as ependymoma.")
    return plain


def _tesla(text: str, where: str) -> float:
    try:
        tesla = float(text.replace(",", "."))
    except ValueError:
        tesla = -1.0
    if not 0.0 < tesla < 30.0:
        raise BadInput(f"{where}: field_strength is no number of tesla. Expected a value such as 1.5, or nothing.")
    return tesla


def _reference_file(path: Path, where: str) -> Path:
    what = f"cases.csv, {where}: the reference"
    if path.is_dir():
        drawn = [file for s in group_files(path, look_below(path).files).series if s.is_reference for file in s.files]
        if len(drawn) != 1:
            raise BadInput(f"{what} is a folder with {len(drawn)} DICOM SEG or RTSTRUCT files. Name one file.")
        return drawn[0]
    if is_volume_file(path):
        _check_volume(path, what, layers=_names_segments(path))
    elif not _is_dicom_reference(path):
        raise BadInput(
            f"{what} is neither a volume ({', '.join(SUFFIXES)}) nor a DICOM SEG or RTSTRUCT. Name a file that is."
        )
    return path


def _is_dicom_reference(path: Path) -> bool:
    try:
        return Series("", (path,), read_header(path)).is_reference
    except (InvalidDicomError, *HEADER_ERRORS):
        return False


def _series_at(path: Path, where: str, row: Mapping[str, str], folders: _Folders) -> tuple[Series, Series]:
    """The volume that a folder holds, or that a file belongs to, and its whole series.

    Columns series and part choose among several.
    """
    what = f"cases.csv, {where}: the image"
    if path.is_dir():
        uid = row.get("series", "")
        series = [s for s in folders.parts(path, where) if not uid or s.uid == uid]
        count = len({s.key for s in series})
        if count != 1:
            raise BadInput(f"{what} is a folder with {count} MR series. Name one file of the series to use.")
    else:
        _check_is_dicom(path, what)
        found = folders.parts(path, where)
        keys = {s.key for s in found if path in s.files}
        series = [s for s in found if s.key in keys]
        if not series:
            raise BadInput(f"{what} is DICOM, but no MR image. Name a file of the MR series.")
    part = _part_of(series, row.get("part", ""), what)
    return part, folders.whole(path, part)


def _part_of(series: Sequence[Series], named: str, what: str) -> Series:
    """The part that the column names; the only one where it is empty."""
    if not named and len(series) == 1 and not series[0].flaw:
        return series[0]
    chosen = [s for s in series if named == str(s.part)]
    if len(chosen) == 1:
        return chosen[0]
    number = f"give the number of the one to use, 1 to {len(series)}, in a column part"
    if flaw := next((s.flaw for s in series if s.flaw), ""):
        remedy = "Export the whole series again" + (f", or {number}" if len(series) > 1 else "")
        raise BadInput(f"{what} is a series with {flaw}. {remedy}.")
    raise BadInput(
        f"{what} is a series of {len(series)} volumes, separated by {series[0].separated_by or 'nothing'}. "
        f"{number.capitalize()}."
    )


def _check_is_dicom(path: Path, what: str) -> None:
    try:
        read_header(path)
    except (InvalidDicomError, *HEADER_ERRORS) as failure:
        raise BadInput(
            f"{what} is neither a volume ({', '.join(SUFFIXES)}) nor DICOM. Name a series folder, a file of it, "
            "or a volume file."
        ) from failure


def _check_exists(path: Path, what: str) -> None:
    """Refuse a path that leads to nothing that can be read, with the reason."""
    try:
        mode = path.stat().st_mode
    except PermissionError as failure:
        raise BadInput(f"{what} lies in a folder that cannot be read. Check its permissions.") from failure
    except (OSError, ValueError) as failure:  # also a name that is too long
        why = why_absent(path)
        if why is not None:
            raise BadInput(f"{what} is {why}. {why.remedy}.") from failure
        raise BadInput(
            f"{what} does not exist. Paths are relative to the folder of cases.csv; correct the row."
        ) from failure
    why = _closed_folder(path) if stat.S_ISDIR(mode) else why_absent(path)
    if why is not None:
        raise BadInput(f"{what} is {why}. {why.remedy}.")


def _closed_folder(path: Path) -> Absent | None:
    return None if os.access(path, os.R_OK | os.X_OK) else Absent.CLOSED_FOLDER


def _names_segments(path: Path) -> bool:
    """Whether a header names segments, which may overlap in layers, so that a voxel has several values."""
    try:
        return bool(segments_of(path))
    except Unusable:
        return True  # what is wrong with them is found in reading them


def _check_volume(path: Path, what: str, *, layers: bool = False) -> None:
    try:
        read_volume_header(path, layers=layers)
    except RuntimeError as failure:
        raise BadInput(f"{what} is named like a volume but cannot be read as one. Export it again.") from failure
    except BadInput as failure:
        raise BadInput(str(failure).replace(str(path), what)) from failure


def _check_repeated(cases: Iterable[SourceCase]) -> None:
    seen: dict[object, str] = {}
    for case in cases:
        image = (case.image[0].resolve(), case.frames)
        if image in seen:
            raise BadInput(f"cases.csv, {case.where}: its image is also that of {seen[image]}. Keep one of the rows.")
        seen[image] = case.where


def _shared_references(cases: Iterable[SourceCase]) -> Iterator[Problem]:
    """Notes on references of two images of one patient; `BadInput` for those of two patients."""
    seen: dict[Path, SourceCase] = {}
    for case in cases:
        first = seen.setdefault(case.reference.resolve(), case)
        if first.patient_key != case.patient_key:
            raise BadInput(
                f"cases.csv, {case.where}: its reference is also that of {first.where}, which is of another patient. "
                "Correct one of the rows."
            )
        if first is not case:
            found = f"its reference is also that of {first.where}"
            yield note(
                case.where, found, "a mask that was drawn on this image", "Check that the two images are aligned"
            )


def _check_split(cases: Sequence[SourceCase]) -> None:
    rows: dict[str, dict[Split, str]] = defaultdict(dict)
    for case in cases:
        rows[case.patient_key].setdefault(case.split, case.where)
    for by_split in rows.values():
        if len(by_split) > 1:
            raise BadInput(
                f"cases.csv, {' and '.join(by_split.values())}: one patient is in train and in test. "
                "Give all rows of a patient the same split."
            )
