"""Pixels of DICOM images as the standard defines them: stored bits, rescale, inversion, padding."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_modality_lut, pixel_array
from pydicom.uid import UID

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS
from nnunet_spine.dataset_conversion.pixel_claims import checked_pixels
from nnunet_spine.dataset_conversion.problems import Unusable

DECODING_ERRORS = (*HEADER_ERRORS, InvalidDicomError, RuntimeError, ArithmeticError, sqlite3.Error)
"""What pydicom, its decoders and highdicom, which sorts frames in SQLite, raise for pixels that they cannot decode."""

PADDING_BEYOND = 0.01
"""Padding that lies outside the image's values by more than this share of their range is replaced."""

_GRAY = ("MONOCHROME1", "MONOCHROME2")


@dataclass(frozen=True, eq=False)
class Plane:
    """Values of one image plane.

    Parameters
    ----------
    values
        float64, shape (rows, columns), rescaled, as displayed.
    padded
        Whether each is padding, which says nothing of the patient; None if none is.
    """

    values: npt.NDArray[np.float64]
    padded: npt.NDArray[np.bool_] | None


def planes_of(dataset: Any, frames: Sequence[int], headers: Mapping[int, Mapping[str, Any]]) -> list[Plane]:
    """Values of the frames of an image object.

    Parameters
    ----------
    dataset
        With its pixels.
    frames
        Numbers (from 1) of the frames wanted; empty for an object of one frame.
    headers
        Attributes of each frame by its number, with its rescale; empty for an object of one frame.

    Raises
    ------
    Unusable
        If the pixels are not gray values, or cannot be decoded.
    """
    try:
        _check_syntax(dataset)
        checked_pixels(dataset)
        _check_gray(dataset)
        return _planes(dataset, frames, headers)
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise Unusable(
            f"the pixels cannot be decoded ({_what_of(dataset)})",
            "pixels that are whole, in a transfer syntax that can be decoded",
            "Export the series again, uncompressed",
        ) from failure


def _planes(dataset: Any, frames: Sequence[int], headers: Mapping[int, Mapping[str, Any]]) -> list[Plane]:
    if frames:
        return [_plane(dataset, stored_values(dataset, frame=number), headers[number]) for number in frames]
    stored = stored_values(dataset)
    if stored.ndim != 2:
        raise Unusable(
            f"an MR object of {len(stored)} frames that says nothing of their places",
            "Enhanced MR, or a file for each slice",
            "Export the series again",
        )
    return [_plane(dataset, stored, dataset)]


def _check_syntax(dataset: Any) -> None:
    """Refuse compressed pixels of a file whose transfer syntax is that of uncompressed ones, or missing."""
    packed = "PixelData" in dataset and dataset["PixelData"].is_undefined_length
    if packed and not UID(str(dataset.file_meta.TransferSyntaxUID)).is_encapsulated:
        raise Unusable(
            "compressed pixels, and nothing that names their transfer syntax",
            "file meta information with the transfer syntax",
            "Export the series again, uncompressed",
        )


def _check_gray(dataset: Any) -> None:
    samples, kind = int(dataset.get("SamplesPerPixel") or 1), str(dataset.get("PhotometricInterpretation") or "")
    if samples != 1 or kind not in _GRAY:
        known = kind if kind in ("RGB", "PALETTE COLOR") or kind.startswith("YBR_") else "another interpretation"
        raise Unusable(
            f"pixels of {samples} samples ({known if kind not in _GRAY else 'gray'})",
            "one gray value a pixel (MONOCHROME2 or MONOCHROME1)",
            "Export the scanner's images, not pictures of them",
        )


def _what_of(dataset: Any) -> str:
    """Transfer syntax and bytes of an object, for a message."""
    syntax = UID(str(dataset.file_meta.TransferSyntaxUID))
    name = syntax.name if syntax.is_transfer_syntax else "an unknown transfer syntax"
    return f"{name}, {len(dataset.get('PixelData') or b'')} bytes"


def stored_values(dataset: Any, frame: int | None = None) -> npt.NDArray[Any]:
    """Stored values, without the bits above and below them, with their sign.

    Parameters
    ----------
    dataset
        With its pixels.
    frame
        Number of a frame (from 1); None for all.

    Notes
    -----
    The high bit of most objects is the last of the bits stored, and pydicom decodes no other. Older objects may have it
    elsewhere, as when overlays take the bits below (PS3.5 8.1.1, in its editions before 2014).
    """
    index = None if frame is None else frame - 1
    allocated, stored = int(dataset.get("BitsAllocated") or 0), int(dataset.get("BitsStored") or 0)
    high = dataset.get("HighBit")
    shift = 0 if high is None or "PixelData" not in dataset else int(high) + 1 - stored
    if shift <= 0 or int(high) >= allocated:
        return _decoded(dataset, index)
    earlier = {keyword: dataset[keyword].value for keyword in ("BitsStored", "HighBit", "PixelRepresentation")}
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = allocated, allocated - 1, 0
    try:
        raw = _decoded(dataset, index).astype(np.int64) >> shift
    finally:
        for keyword, value in earlier.items():
            setattr(dataset, keyword, value)
    values: npt.NDArray[np.int64] = raw & ((1 << stored) - 1)
    if int(earlier["PixelRepresentation"]) == 1:
        values -= (values >> (stored - 1)) << stored
    return values


def _decoded(dataset: Any, index: int | None) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = pixel_array(dataset, index=index, raw=True)
    return values


def _plane(dataset: Any, stored: npt.NDArray[Any], header: Any) -> Plane:
    padded = _padding(dataset, stored)
    if _is_inverted(dataset):
        bits, signed = int(dataset.BitsStored), int(dataset.get("PixelRepresentation") or 0)
        stored = -1 - stored.astype(np.int64) if signed else (1 << bits) - 1 - stored.astype(np.int64)
    return Plane(_rescaled(dataset, stored, header), padded if padded.any() else None)


def _is_inverted(dataset: Any) -> bool:
    """Whether the largest value is displayed black: by the presentation's shape, else by the interpretation."""
    shape = dataset.get("PresentationLUTShape")
    return str(shape) == "INVERSE" if shape else str(dataset.PhotometricInterpretation) == "MONOCHROME1"


def _rescaled(dataset: Any, stored: npt.NDArray[Any], header: Any) -> npt.NDArray[np.float64]:
    """Stored values by the rescale of their plane, or by the object's table."""
    if "ModalityLUTSequence" in dataset:
        return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float64)
    slope, intercept = (header.get(keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    values = stored.astype(np.float64, copy=False)
    if slope is None and intercept is None:
        return values
    factor = 1.0 if slope in (None, "") else float(slope)
    offset = 0.0 if intercept in (None, "") else float(intercept)
    if not np.isfinite([factor, offset]).all() or factor == 0.0:
        raise Unusable(
            f"a rescale slope of {factor:g} and intercept of {offset:g}",
            "finite numbers, the slope not 0",
            "Export the series again",
        )
    return values * factor + offset


def _padding(dataset: Any, stored: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Whether each stored value is padding (PS3.3 C.7.5.1.1.2): one value, or a range with both ends."""
    try:
        ends = [int(dataset[k].value) for k in ("PixelPaddingValue", "PixelPaddingRangeLimit") if k in dataset]
    except (TypeError, ValueError, *HEADER_ERRORS):
        ends = []
    if int(dataset.get("PixelRepresentation") or 0) == 1:  # also if they are written as unsigned numbers, of type US
        bits = int(dataset.get("BitsAllocated") or 16)
        ends = [end - (1 << bits) if end >= 1 << (bits - 1) else end for end in ends]
    if not ends or "PixelPaddingValue" not in dataset:
        return np.zeros(stored.shape, bool)
    return np.asarray((stored >= min(ends)) & (stored <= max(ends)))


def without_padding(planes: Sequence[Plane]) -> tuple[npt.NDArray[np.float64], str]:
    """Values of all planes, and a note if padding had to be replaced by the lowest value of the image.

    Padding within or near the range of the image's values stays as it is: most scanners pad with the value of air.

    Returns
    -------
    values
        Shape (planes, rows, columns).
    note
        Empty if nothing was replaced.
    """
    values = np.stack([plane.values for plane in planes])
    if all(plane.padded is None for plane in planes):
        return values, ""
    padded = np.stack(
        [np.zeros(plane.values.shape, bool) if plane.padded is None else plane.padded for plane in planes]
    )
    if padded.all():
        return values, ""
    real = values[~padded]
    low, high = float(real.min()), float(real.max())
    reach = PADDING_BEYOND * (high - low)
    far = padded & ((values < low - reach) | (values > high + reach))
    if not far.any():
        return values, ""
    values[far] = low
    count = int(far.sum())
    return values, f"{count} voxels of padding, far from the image's values, were set to its lowest value"
