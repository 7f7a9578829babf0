"""Which series a DICOM SEG or an RTSTRUCT was drawn on: by series, else by instances, else by frame of reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS, open_dataset
from nnunet_spine.dataset_conversion.dicom_headers import Series, read_header, text_of, value_of
from nnunet_spine.dataset_conversion.patient_key import patient_key

INSTANCE_KEYWORDS = (
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
    "SourceImageSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ROIContourSequence",
)
"""Attributes in which references name the instances that they were drawn on."""


def references_by_series(series: Sequence[Series]) -> dict[Hashable, list[Path]]:
    """Files of DICOM SEG and RTSTRUCT by the key of each series that they were drawn on.

    A reference that names no series of the export, as after its UIDs were replaced, is matched by the instances that
    it names. One that names neither belongs to all MR series of its frame of reference, of which the choice of the
    series then takes the best. If several series have the UID that it names, its instances tell which is meant, and
    if they do not, its patient and study.

    Parameters
    ----------
    series
        All of an export.
    """
    found: dict[Hashable, list[Path]] = defaultdict(list)
    images = [one for one in series if not one.is_reference]
    by_uid: dict[str, list[Series]] = defaultdict(list)
    for one in images:
        by_uid[one.uid].append(one)
    instances: dict[str, list[Series]] = {}
    for reference in (one for one in series if one.is_reference):
        for path in reference.files:
            header = read_header(path)
            named = [uid for uid in dict.fromkeys(_named_series(header)) if uid]
            matched = [one for uid in named for one in by_uid.get(uid, ())]
            if not matched or any(len(by_uid[uid]) > 1 for uid in named if uid in by_uid):
                instances = instances or _instances(images)
                matched = _by_instances(path, header, matched, instances, named=bool(named), images=images)
            for one in matched:
                found[one.key].append(path)
    return found


def _by_instances(
    path: Path,
    header: Any,
    matched: Sequence[Series],
    instances: Mapping[str, Sequence[Series]],
    *,
    named: bool,
    images: Sequence[Series],
) -> list[Series]:
    """Series of a reference that names none, or that names a UID which several have."""
    cited = named_instances(path)
    by_instance = _unique(one for uid in sorted(cited) for one in instances.get(uid, ()))
    narrowed = [one for one in by_instance if not matched or one in matched]
    if not narrowed and matched:
        narrowed = list(matched)
    if not narrowed and not named and not cited:
        narrowed = _same_frame(header, images)
    return _of_its_patient(header, narrowed)


def _unique(series: Iterable[Series]) -> list[Series]:
    return list(dict.fromkeys(series))


def _of_its_patient(header: Any, series: list[Series]) -> list[Series]:
    """Of series of several patients or studies those of the reference's own, as far as that decides."""
    for keyword, plain in (("PatientID", patient_key), ("StudyInstanceUID", str)):
        values = {plain(text_of(one.header, keyword)) for one in series}
        own = plain(text_of(header, keyword))
        if len(values) > 1 and own in values:
            series = [one for one in series if plain(text_of(one.header, keyword)) == own]
    return series


def _named_series(header: Any) -> Iterator[str]:
    for item in _series_items(header):
        yield text_of(item, "SeriesInstanceUID")


def _series_items(header: Any) -> Iterator[Any]:
    """What a reference says of each series that it was drawn on."""
    yield from value_of(header, "ReferencedSeriesSequence") or []
    for frame in value_of(header, "ReferencedFrameOfReferenceSequence") or []:
        for study in value_of(frame, "RTReferencedStudySequence") or []:
            yield from value_of(study, "RTReferencedSeriesSequence") or []


def slices_not_there(path: Path, series: Series) -> int:
    """Number of slices of a series that a reference was drawn on and that the export does not hold.

    Parameters
    ----------
    path
        File of the reference.
    series
        The whole series. A reference of which no instance is there, as after UIDs were replaced, says nothing.
    """
    try:
        items = [item for item in _series_items(read_header(path)) if text_of(item, "SeriesInstanceUID") == series.uid]
    except (InvalidDicomError, *HEADER_ERRORS):
        return 0
    cited = {
        text_of(instance, "ReferencedSOPInstanceUID")
        for item in items
        for keyword in ("ReferencedInstanceSequence", "ContourImageSequence")
        for instance in value_of(item, keyword) or []
    } - {""}
    own = {text_of(one.header, "SOPInstanceUID") for one in series.slices}
    return len(cited - own) if cited & own else 0


def named_instances(path: Path) -> set[str]:
    """All Referenced SOP Instance UIDs in `INSTANCE_KEYWORDS`; none if these are damaged."""
    try:
        dataset = open_dataset(path, keywords=INSTANCE_KEYWORDS)
        return {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    except (InvalidDicomError, *HEADER_ERRORS):
        return set()


def _instances(images: Sequence[Series]) -> dict[str, list[Series]]:
    """Series by SOP Instance UID, of all images."""
    found: dict[str, list[Series]] = defaultdict(list)
    for one in images:
        for uid in {text_of(plane.header, "SOPInstanceUID") for plane in one.slices} - {""}:
            found[uid].append(one)
    return found


def _same_frame(header: Any, images: Sequence[Series]) -> list[Series]:
    frames = {
        text_of(item, "FrameOfReferenceUID") for item in value_of(header, "ReferencedFrameOfReferenceSequence") or []
    }
    frames = (frames | {text_of(header, "FrameOfReferenceUID")}) - {""}
    return [one for one in images if one.is_mr and text_of(one.header, "FrameOfReferenceUID") in frames]
