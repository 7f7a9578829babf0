"""Whether two files hold one DICOM instance: the same pixels or contours, in whatever encoding."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from nnunet_spine.dataset_conversion.dicom_files import open_dataset
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.slice_pixels import DECODING_ERRORS, stored_values
from nnunet_spine.files import sha256

_CONTENT = ("SegmentSequence", "StructureSetROISequence", "ROIContourSequence", "PerFrameFunctionalGroupsSequence")
"""Attributes that are content beside the pixels."""


def is_copy(one: Path, other: Path) -> bool:
    """Whether two files of one instance UID have the same content; False if one of them cannot be decoded.

    An archive may compress an instance, or add attributes of its own, without giving it another UID.
    """
    if one.stat().st_size == other.stat().st_size and sha256(one) == sha256(other):
        return True
    try:
        return _digest(open_dataset(one)) == _digest(open_dataset(other))
    except (*DECODING_ERRORS, Unusable):
        return False


def _digest(dataset: Any) -> str:
    digest = hashlib.sha256()
    if "PixelData" in dataset or "FloatPixelData" in dataset:
        digest.update(stored_values(dataset).tobytes())
    for keyword in _CONTENT:
        if keyword in dataset:
            digest.update("".join(item.to_json() for item in dataset[keyword].value).encode())
    return digest.hexdigest()
