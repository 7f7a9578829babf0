"""Whether a DICOM object can hold the pixels that its header tells of, before memory is taken for them."""

from __future__ import annotations

from typing import Any

from nnunet_spine.dataset_conversion.problems import Unusable

MOST_UNPACKED = 1000
"""Compressed pixels grow by no more than this; an empty slice in JPEG 2000 or RLE stays below."""

SLACK_BYTES = 4096
"""Claims below this are left to the decoder."""


def checked_pixels(dataset: Any) -> Any:
    """The dataset, where its pixel data are long enough for its rows, columns and frames.

    Raises
    ------
    Unusable
        Where the header claims more; a decoder would first reserve memory for all of it.
    """
    pixels = dataset.get("PixelData") or dataset.get("FloatPixelData") or b""
    counts = (dataset.get(k) or 1 for k in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames", "BitsAllocated"))
    claimed = 1
    for count in counts:
        claimed *= int(count)
    packed = dataset.file_meta.TransferSyntaxUID.is_compressed
    if claimed // 8 > len(pixels) * (MOST_UNPACKED if packed else 1) + SLACK_BYTES:
        raise Unusable(
            f"{len(pixels)} bytes of pixels where the header tells of {claimed // 8}",
            "all rows, columns and frames that the header tells of",
            "Export it again",
        )
    return dataset
