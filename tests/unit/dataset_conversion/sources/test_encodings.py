"""Compressed transfer syntaxes, signed and unsigned values, against the values that were encoded."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nnunet_spine.dataset_conversion.dicom_reading import read_series


def encapsulated(dataset: Dataset, frame: bytes, syntax: UID) -> None:
    dataset.PixelData = encapsulate([frame])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax


def encode(dataset: Dataset, pixels: np.ndarray, syntax: UID) -> None:
    """Put pixels into a dataset in a transfer syntax."""
    if syntax == JPEGLosslessSV1:  # pydicom has no encoder for it
        encapsulated(dataset, imagecodecs.ljpeg_encode(pixels, bitspersample=12), syntax)
    elif syntax in (RLELossless, JPEGLSLossless, JPEG2000Lossless):
        dataset.compress(syntax, generate_instance_uid=False)
    else:
        dataset.file_meta.TransferSyntaxUID = syntax


LOSSLESS = (RLELossless, JPEGLSLossless, JPEG2000Lossless, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("syntax", "signed"),
    [*((syntax, signed) for syntax in LOSSLESS for signed in (False, True)), (JPEGLosslessSV1, False)],
    ids=lambda value: value.name.split(",")[0].replace(" ", "_") if isinstance(value, UID) else str(value),
)
def test_lossless_encodings_keep_every_value(
    make: Any, tmp_path: Path, check_voxels: Any, syntax: UID, signed: bool
) -> None:
    array = make.asymmetric((3, 64, 40)) % 4096
    values = array.astype(np.int32) - (1500 if signed else 0)
    plan = make.Plan(array, rescale=(2.0, -7.0))
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, values, strict=True):
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, int(signed)
        if signed:
            dataset.BitsStored, dataset.HighBit = 16, 15
        dataset.PixelData = pixels.astype("<i2" if signed else "<u2").tobytes()
        encode(dataset, pixels.astype(np.uint16), syntax)
    volume = read_series(make.write_datasets(tmp_path, datasets)).volume
    check_voxels(volume, plan, values * 2.0 - 7.0)


def test_jpeg_baseline_keeps_values_within_its_loss(make: Any, tmp_path: Path, check_voxels: Any) -> None:
    rows, columns = np.mgrid[:16, :24]
    array = np.stack([(4 * rows + 3 * columns + 20 * k) for k in range(4)]).astype(np.uint16)
    plan = make.Plan(array)
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, array, strict=True):
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, "JPEG", quality=98)
        encapsulated(dataset, stream.getvalue(), JPEGBaseline8Bit)
        dataset.LossyImageCompression = "01"
    check_voxels(read_series(make.write_datasets(tmp_path, datasets)).volume, plan, array, within=3.0)


def test_big_endian_is_read(make: Any, tmp_path: Path, check_voxels: Any) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    paths = []
    for number, dataset in enumerate(datasets):
        dataset.PixelData = plan.array[number].astype(">u2").tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        paths.append(tmp_path / f"{number}")
        dataset.save_as(paths[-1], implicit_vr=False, little_endian=False, enforce_file_format=True)
    check_voxels(read_series(paths).volume, plan, plan.array)
