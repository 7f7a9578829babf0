"""Pixels are what the standard says, in every transfer syntax; GDCM, through SimpleITK, is the independent decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian)
SYNTAXES = (*NATIVE, RLELossless, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
OF_STORED_BITS = (JPEGLSLossless, JPEG2000Lossless)
"""pydicom encodes the lowest bits alone for these, so that it cannot write another high bit."""


def store(path: Path, dataset: Any, syntax: Any) -> Path:
    """Write a dataset with little-endian 16-bit pixels in a transfer syntax."""
    if syntax == JPEGLosslessSV1:  # pydicom has no encoder for it
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns)
        dataset.PixelData = encapsulate([imagecodecs.ljpeg_encode(pixels, bitspersample=16)])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(path, enforce_file_format=True)
        return path
    if syntax in NATIVE:
        dataset.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
            dataset["PixelData"].VR = "OW"
    else:
        dataset.compress(syntax, generate_instance_uid=False)
    little, implicit = syntax != ExplicitVRBigEndian, syntax == ImplicitVRLittleEndian
    dataset.save_as(path, little_endian=little, implicit_vr=implicit, enforce_file_format=True)
    return path


def stored_as(dataset: Any, values: np.ndarray, kind: str) -> None:
    """Put values (-600 to 1400, or from 0 on) of 12 bits into a dataset."""
    signed = kind.startswith("signed")
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, int(signed)
    raw = values & 0xFFFF if kind == "signed, extended" else values & 0xFFF
    if kind == "overlay above":
        raw = raw | 0x8000 * (np.indices(values.shape).sum(axis=0) % 2)
    if kind == "high bit 15":
        dataset.HighBit, raw = 15, raw << 4
    if kind == "high bit 13, overlays around":
        dataset.HighBit, raw = 13, (raw << 2) | 0x8001
    if kind == "signed, high bit 15":
        dataset.HighBit, raw = 15, (values & 0xFFF) << 4
    dataset.PixelData = raw.astype("<u2").tobytes()


KINDS = ("plain", "overlay above", "signed, extended", "signed, not extended", "high bit 15")
ODD = ("high bit 13, overlays around", "signed, high bit 15")


@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        pytest.param(kind, syntax, id=f"{kind}, {syntax.name.split(',')[0]}")
        for kind in (*KINDS, *ODD)
        for syntax in SYNTAXES
        if not ("high bit" in kind and syntax in OF_STORED_BITS)
    ],
)
def test_every_value_is_that_of_its_stored_bits(
    make: Any, check_voxels: Any, tmp_path: Path, kind: str, syntax: Any
) -> None:
    plan = make.Plan(make.asymmetric((3, 64, 40)), rescale=(2.0, -7.0))
    values = plan.array.astype(np.int64) % 2000 - (600 if kind.startswith("signed") else 0)
    paths = []
    for number, dataset in enumerate(make.datasets_of(plan)):
        stored_as(dataset, values[number], kind)
        paths.append(store(tmp_path / f"{number}", dataset, syntax))
        if "high bit" not in kind:  # GDCM takes the lowest bits, too
            decoded = sitk.GetArrayFromImage(sitk.ReadImage(str(paths[-1])))[0]
            np.testing.assert_array_equal(decoded, values[number] * 2.0 - 7.0)
    check_voxels(read_series(paths).volume, plan, values * 2.0 - 7.0)


def test_eight_and_thirty_two_bits(make: Any, check_voxels: Any, tmp_path: Path) -> None:
    for bits, kind in ((8, "u1"), (32, "<u4")):
        plan = make.Plan(make.asymmetric((3, 6, 8)))
        datasets = make.datasets_of(plan)
        for dataset, pixels in zip(datasets, plan.array, strict=True):
            dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
            dataset.PixelData = pixels.astype(kind).tobytes()
        check_voxels(read_series(make.write_datasets(tmp_path / str(bits), datasets)).volume, plan, plan.array)


@pytest.mark.parametrize(
    ("padding", "limit", "changed"),
    [(-2000, None, True), (30000, None, True), (-2000, -1990, True), (0, None, False)],
)
def test_padding_far_from_the_values_does_not_spoil_the_range(
    make: Any, tmp_path: Path, padding: int, limit: int | None, changed: bool
) -> None:
    plan = make.Plan(make.asymmetric())  # values 0 to 479
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, plan.array.astype(np.int16), strict=True):
        dataset.PixelRepresentation, dataset.PixelPaddingValue = 1, padding
        stored = pixels.copy()
        stored[0] = padding
        if limit is not None:
            dataset.PixelPaddingRangeLimit = limit
            stored[0, 0] = (padding + limit) // 2
        dataset.PixelData = stored.astype("<i2").tobytes()
    found = read_series(make.write_datasets(tmp_path, datasets))
    lowest = plan.array[:, 1:].min() if changed else 0
    assert (found.volume.array.min(), found.volume.array.max() <= 479) == (lowest, True)
    assert [note.split(" voxels")[0] for note in found.notes] == (["48"] if changed else [])  # 6 slices of 8 columns


def test_padding_of_signed_pixels_may_be_written_as_an_unsigned_number(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, plan.array.astype(np.int16), strict=True):
        pixels[0] = -2000
        dataset.PixelRepresentation, dataset.PixelData = 1, pixels.astype("<i2").tobytes()
        dataset[0x00280120] = pydicom.DataElement(0x00280120, "US", 65536 - 2000)
    found = read_series(make.write_datasets(tmp_path, datasets))
    assert found.volume.array.min() == plan.array[:, 1:].min()
    assert [note.split(" voxels")[0] for note in found.notes] == ["48"]


@pytest.mark.parametrize(("photometric", "shape", "inverted"), [
    ("MONOCHROME1", None, True), ("MONOCHROME2", "INVERSE", True), ("MONOCHROME1", "IDENTITY", False),
])  # fmt: skip
def test_what_is_displayed_inverted_is_inverted(
    make: Any, check_voxels: Any, tmp_path: Path, photometric: str, shape: str | None, inverted: bool
) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    for dataset in datasets:
        dataset.PhotometricInterpretation = photometric
        dataset.BitsStored, dataset.HighBit = 12, 11
        if shape:
            dataset.PresentationLUTShape = shape
    expected = 4095.0 - plan.array if inverted else plan.array
    check_voxels(read_series(make.write_datasets(tmp_path, datasets)).volume, plan, expected)


def test_colors_are_no_gray_values(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for dataset in datasets:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
        dataset.PixelData = bytes(10 * 8 * 3)
    with pytest.raises(Unusable, match=r"pixels of 3 samples \(RGB\)"):
        read_series(make.write_datasets(tmp_path, datasets))


@pytest.mark.parametrize(("slope", "intercept"), [("0", "0"), ("nan", "1"), ("1e400", "0")])
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_a_rescale_that_is_none_is_refused(make: Any, tmp_path: Path, slope: str, intercept: str) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric(), rescale=(1.0, 0.0)))
    path = make.write_datasets(tmp_path, datasets)[0]
    content = path.read_bytes()
    old = b"\x28\x00\x53\x10DS\x04\x001.0 "
    assert old in content
    path.write_bytes(content.replace(old, b"\x28\x00\x53\x10DS\x06\x00" + slope.ljust(6).encode()))
    with pytest.raises(Unusable, match="a rescale slope of|cannot be decoded"):
        read_series(sorted(tmp_path.iterdir()))


@pytest.mark.parametrize(("damage", "words"), [
    (lambda content: content[:-150], "ends early or is damaged"),
    (lambda content: content.replace(b"\xff\x4f\xff\x51", b"\x00\x00\x00\x00"), "JPEG 2000 Image Compression"),
])  # fmt: skip
def test_the_reason_for_pixels_that_cannot_be_decoded_is_no_programmers_word(
    make: Any, tmp_path: Path, damage: Any, words: str
) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric((6, 64, 40))))
    for dataset in datasets:
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    path = make.write_datasets(tmp_path, datasets)[2]
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Unusable) as refused:
        read_series(sorted(tmp_path.iterdir()))
    assert words in str(refused.value)
    assert not any(word in str(refused.value) for word in ("Error", "Exception", str(tmp_path)))
