"""Which series a DICOM SEG or an RTSTRUCT was drawn on: by series, else by instances, else by frame of reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pydicom

from nnunet_spine.dataset_conversion.dicom_headers import HEADER_ERRORS, Series, read_header, text_of, value_of

INSTANCE_KEYWORDS = (
    "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence",
    "SourceImageSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "ROIContourSequence",
)
"""Attributes in which references name the instances that they were drawn on."""


def references_by_series(series: Sequence[Series]) -> dict[str, list[Path]]:
    """Files of DICOM SEG and RTSTRUCT by the UID of each series that they were drawn on.

    A reference that names no series of the export, as after its UIDs were replaced, is matched by the instances that
    it names. One that names neither belongs to all MR series of its frame of reference, of which the choice of the
    series then takes the best.

    Parameters
    ----------
    series
        All of an export.
    """
    found: dict[str, list[Path]] = defaultdict(list)
    known = {one.uid for one in series}
    instances: dict[str, str] = {}
    for reference in (one for one in series if one.is_reference):
        for path in reference.files:
            header = read_header(path)
            named = list(dict.fromkeys(_named_series(header)))
            matched = [uid for uid in named if uid in known]
            if not matched:
                instances = instances or _instances(series)
                cited = named_instances(path)
                matched = sorted({instances[uid] for uid in cited if uid in instances})
                if not named and not cited:
                    matched = _same_frame(header, series)
            for uid in matched or named:
                found[uid].append(path)
    return found


def _named_series(header: Any) -> Iterator[str]:
    for item in value_of(header, "ReferencedSeriesSequence") or []:
        yield text_of(item, "SeriesInstanceUID")
    for frame in value_of(header, "ReferencedFrameOfReferenceSequence") or []:
        for study in value_of(frame, "RTReferencedStudySequence") or []:
            for item in value_of(study, "RTReferencedSeriesSequence") or []:
                yield text_of(item, "SeriesInstanceUID")


def named_instances(path: Path) -> set[str]:
    """All Referenced SOP Instance UIDs in `INSTANCE_KEYWORDS`; none where these are damaged."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(INSTANCE_KEYWORDS))
        return {str(e.value) for e in dataset.iterall() if e.keyword == "ReferencedSOPInstanceUID"}
    except HEADER_ERRORS:
        return set()


def _instances(series: Sequence[Series]) -> dict[str, str]:
    """Series UID by SOP Instance UID, of all images."""
    return {
        text_of(plane.header, "SOPInstanceUID"): one.uid
        for one in series
        if not one.is_reference
        for plane in one.slices
    }


def _same_frame(header: Any, series: Sequence[Series]) -> list[str]:
    frames = {
        text_of(item, "FrameOfReferenceUID") for item in value_of(header, "ReferencedFrameOfReferenceSequence") or []
    }
    frames = (frames | {text_of(header, "FrameOfReferenceUID")}) - {""}
    return [one.uid for one in series if one.is_mr and text_of(one.header, "FrameOfReferenceUID") in frames]
