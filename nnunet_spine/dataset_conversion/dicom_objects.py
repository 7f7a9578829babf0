"""Reading one DICOM object as a whole, also without preamble or file meta information."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian


def read_object(path: Path) -> Any:
    """All attributes of a DICOM file, its pixels included; a missing transfer syntax is that of its encoding.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        If the file is not DICOM.
    dicom_headers.HEADER_ERRORS
        If it is damaged.
    """
    try:
        dataset = pydicom.dcmread(path)
    except InvalidDicomError:
        dataset = pydicom.dcmread(path, force=True)
        if "SOPClassUID" not in dataset:
            raise
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset
