"""Opening DICOM files as they come: with or without preamble and file meta information."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from nnunet_spine.files import is_regular_file

# Their warnings quote values of headers, patients' names among them, and come whenever a value is first looked at.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
logging.getLogger("highdicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\.|$)")

HEADER_ERRORS = (
    *(OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError, IndexError),
    *(BytesLengthException, struct.error, zlib.error, OverflowError, RecursionError, MemoryError),
)
"""What pydicom raises for a damaged header, besides InvalidDicomError for a file that is not DICOM.

The last ones: a value of another length than its type's, damaged deflated content, a number beyond any, items nested
without end, and a length of gigabytes in a small file.
"""

_PREAMBLE_BYTES, _PREFIX = 128, b"DICM"
_FIRST_GROUPS = (2, 8)
"""Groups of the first attribute of a file without preamble: file meta information, or identification."""


def open_dataset(path: Path, *, keywords: Sequence[str] | None = None) -> Any:
    """Read a DICOM file; its file meta information always names the transfer syntax.

    Old scanners and some archives write data sets without preamble and file meta information (PS3.10 asks for both).
    These are known by their first attribute, and the encoding by its first bytes, as pydicom finds it.

    Parameters
    ----------
    path
        The file.
    keywords
        Read these attributes alone, and no pixels; None reads all.

    Raises
    ------
    pydicom.errors.InvalidDicomError
        If the file is not DICOM.
    HEADER_ERRORS
        If it is damaged.
    """
    if not is_regular_file(path):  # a pipe would block
        raise InvalidDicomError("not a regular file")
    bare = not _has_prefix(path)
    if bare and not _begins_like_a_dataset(path):
        raise InvalidDicomError("no preamble, and no data set")
    options: dict[str, Any] = {}
    if keywords is not None:
        options = {"stop_before_pixels": True, "specific_tags": [*keywords, *(["SOPClassUID"] if bare else [])]}
    dataset = pydicom.dcmread(path, force=bare, **options)
    if "SOPClassUID" not in dataset and (bare or keywords is None):
        if bare:
            raise InvalidDicomError("no preamble, and no object")
        raise EOFError("the file ends early")  # of which pydicom then gives nothing
    if not dataset.file_meta.get("TransferSyntaxUID"):
        dataset.file_meta.TransferSyntaxUID = UID(_syntax_of(dataset))
    return dataset


def _has_prefix(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(_PREAMBLE_BYTES + len(_PREFIX))[_PREAMBLE_BYTES:] == _PREFIX


def _begins_like_a_dataset(path: Path) -> bool:
    """Whether the first bytes are an attribute: of a first group, with a type or a small length."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if len(start) < 8:
        return False
    for order in "<>":
        group, _ = struct.unpack(f"{order}HH", start[:4])
        if group in _FIRST_GROUPS:
            (length,) = struct.unpack(f"{order}I", start[4:])
            return (start[4:6].isalpha() and start[4:6].isupper()) or length < 2**16
    return False


def _syntax_of(dataset: Any) -> str:
    """Transfer syntax of a data set without file meta information, by the encoding that pydicom found."""
    implicit, little = dataset.original_encoding
    if not little:
        return str(ExplicitVRBigEndian)
    return str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
