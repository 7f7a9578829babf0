"""Frames of an Enhanced MR object, each with the attributes that a file of one frame would have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

IMAGE_STORAGE = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")

FRAME_KEYWORDS = (
    "ImageType",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "PixelSpacing",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "ScanningSequence",
    "AcquisitionContrast",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "DiffusionBValue",
    "ContrastBolusAgentAdministered",
    "EchoPulseSequence",
    "RescaleSlope",
    "RescaleIntercept",
    SHARED,
    PER_FRAME,
)
"""Attributes that may differ from frame to frame, and what they are taken from."""

_ENHANCED_NAMES = {
    "EffectiveEchoTime": "EchoTime",
    "InversionTimes": "InversionTime",
    "FrameType": "ImageType",
    "StackID": "StackID",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "FrameAcquisitionDateTime",
    "FrameReferenceDateTime": "FrameReferenceDateTime",
}
"""Enhanced MR's names of what classic MR calls otherwise (PS3.3 C.8.13)."""

_OTHERS = ("Referenced", "Derivation", "RealWorld")
"""Macros about other objects."""

_PULSES = {"SPIN": "SE", "GRADIENT": "GR", "BOTH": "SE"}


def frame_headers(header: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number (from 1) and attributes of each frame, by keyword; nothing for an object that is no Enhanced MR.

    Parameters
    ----------
    header
        Attributes of the object, with its functional groups.

    Source
    ------
    DICOM PS3.3 C.7.6.16 (functional groups), C.8.13 (Enhanced MR).
    """
    groups = header.get(PER_FRAME)
    if header.get("SOPClassUID") not in IMAGE_STORAGE or not groups:
        return
    common = {e.keyword: e.value for e in header if e.keyword not in (SHARED, PER_FRAME)}
    if pulse := _PULSES.get(str(common.get("EchoPulseSequence", ""))):
        common["ScanningSequence"] = pulse
    for shared in (header.get(SHARED) or [])[:1]:
        common |= _attributes_of(shared)
    for number, group in enumerate(groups, start=1):
        yield number, {**common, **_attributes_of(group)}


def _attributes_of(group: Any) -> dict[str, Any]:
    """What the macros of a functional group say, under classic MR's names."""
    items = [
        macro.value[0] for macro in group if macro.VR == "SQ" and macro.value and not macro.keyword.startswith(_OTHERS)
    ]
    named = [(_ENHANCED_NAMES.get(e.keyword, e.keyword), e.value) for item in items for e in item]
    return {name: value for name, value in named if name in FRAME_KEYWORDS or name in _ENHANCED_NAMES}
