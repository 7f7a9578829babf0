"""DICOM SEG as other makers write it, attribute by attribute: dcmqi, dcmjs and OHIF, highdicom, syngo, older versions.

The files are written with pydicom alone; where a voxel lies is worked out by the DICOM equation (`Plan.point`).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import pack_bits
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.references import on_grid, read_reference
from nnunet_spine.images import Volume, reorient

OBLIQUE = (-0.17101007, 0.96984631, -0.17364818, 0.0301537, -0.17101007, -0.98480775)
SHAPE = (8, 9, 7)  # 63 bits a frame: frames do not begin with a byte
SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"


@dataclass
class Drawing:
    """A segmentation to write; masks by segment number, each (slice, row, column). Empty frames may be left out."""

    plan: Any
    masks: dict[int, np.ndarray]
    names: dict[int, str]
    kind: str | None = "BINARY"
    bits: int = 1
    order: Sequence[int] = ()
    keep_empty: bool = False
    per_frame: bool = False
    thickness: float | None = None
    between: float | None = None
    without: Sequence[str] = ()
    most: int | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def write(self, path: Path, syntax: str = ExplicitVRLittleEndian, *, bare: bool = False) -> Path:
        """Write it; `bare` without preamble and file meta information."""
        dataset = self._head()
        frames = self._frames()
        groups, pixels = zip(*[frames[k] for k in self.order or range(len(frames))], strict=True)
        dataset.NumberOfFrames = len(frames)
        dataset.PerFrameFunctionalGroupsSequence = list(groups)
        stacked = np.stack(pixels)
        dataset.PixelData = pack_bits(stacked.astype(np.uint8)) if self.bits == 1 else stacked.astype("<u1").tobytes()
        dataset.PixelData += b"\0" * (len(dataset.PixelData) % 2)
        dataset["PixelData"].VR = "OB"
        for keyword in self.without:
            for holder in (dataset, *groups, *dataset.SharedFunctionalGroupsSequence, *dataset.SegmentSequence):
                if keyword in holder:
                    delattr(holder, keyword)
        for keyword, value in self.more.items():
            setattr(dataset, keyword, value)
        if syntax == RLELossless:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        if bare:
            del dataset.file_meta
            dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
        else:
            dataset.save_as(path, enforce_file_format=True)
        return path

    def _head(self) -> Dataset:
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        storage = LABEL_MAP if self.kind == "LABELMAP" else SEGMENTATION
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = storage
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.9"
        dataset.Modality, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "SEG", "1.2.3.8", self.plan.study
        dataset.Rows, dataset.Columns = self.plan.array.shape[1:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.PixelRepresentation = 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = self.bits, self.bits, self.bits - 1
        if self.kind:
            dataset.SegmentationType = self.kind
        if self.most:
            dataset.MaximumFractionalValue = self.most
        dataset.SegmentSequence = [self._segment(number, name) for number, name in self.names.items()]
        shared = Dataset()
        if not self.per_frame:
            self._describe(shared)
        dataset.SharedFunctionalGroupsSequence = [shared]
        return dataset

    def _segment(self, number: int, name: str) -> Dataset:
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel, item.SegmentAlgorithmType = number, name, "MANUAL"
        return item

    def _describe(self, group: Dataset) -> None:
        measures, orientation = Dataset(), Dataset()
        measures.PixelSpacing = list(self.plan.spacing[1:])
        if self.thickness is not None:
            measures.SliceThickness = self.thickness
        if self.between is not None:
            measures.SpacingBetweenSlices = self.between
        orientation.ImageOrientationPatient = [f"{v:.8f}" for v in self.plan.cosines]
        group.PixelMeasuresSequence, group.PlaneOrientationSequence = [measures], [orientation]

    def _frames(self) -> list[tuple[Dataset, np.ndarray]]:
        frames = []
        masks = self.masks
        if self.kind == "LABELMAP":
            masks = {0: sum(number * mask.astype(np.uint8) for number, mask in self.masks.items())}
        for number, mask in masks.items():
            for k in range(len(mask)):
                if mask[k].any() or self.keep_empty:
                    frames.append((self._group(number, k), mask[k]))
        return frames

    def _group(self, number: int, slice_: int) -> Dataset:
        group, place, segment = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [f"{v:.5f}" for v in self.plan.point(slice_, 0, 0)]
        group.PlanePositionSequence = [place]
        if number:
            segment.ReferencedSegmentNumber = number
            group.SegmentIdentificationSequence = [segment]
        if self.per_frame:
            self._describe(group)
        return group


@pytest.fixture
def plan(make: Any) -> Any:
    return make.Plan(make.asymmetric(SHAPE), cosines=OBLIQUE, spacing=(4.0, 0.8, 0.6))


@pytest.fixture
def image(make: Any, tmp_path: Path, plan: Any) -> Volume:
    return reorient(read_series(make.write_datasets(tmp_path / "series", make.datasets_of(plan))).volume)


def block(slices: Sequence[int], rows: tuple[int, int] = (2, 5), columns: tuple[int, int] = (1, 4)) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask[list(slices), rows[0] : rows[1], columns[0] : columns[1]] = 1
    mask[slices[0], rows[1], columns[0]] = 1
    return mask


TUMOR, CORD = block([1, 5]), block(range(8), (6, 8), (5, 7))


def placed(path: Path, image: Volume, selection: Selection = NO_SELECTION) -> np.ndarray:
    return on_grid(read_reference(path, image.geometry, selection), image.geometry).mask.array


def truth(image: Volume, plan: Any, mask: np.ndarray) -> np.ndarray:
    found = np.zeros(image.array.shape, np.uint8)
    for voxel in np.argwhere(mask):
        x, y, z = image.image().TransformPhysicalPointToIndex([float(v) for v in plan.point(*voxel)])
        found[z, y, x] = 1
    return found


@pytest.mark.parametrize("per_frame", [False, True])
@pytest.mark.parametrize(("thickness", "between"), [(None, None), (3.0, None), (None, 4.0), (3.0, 3.0)])
@pytest.mark.parametrize("order", [(), (1, 0)])
def test_measures_that_are_missing_or_in_each_frame(
    tmp_path: Path,
    plan: Any,
    image: Volume,
    per_frame: bool,
    thickness: float | None,
    between: float | None,
    order: tuple[int, ...],
) -> None:
    drawing = Drawing(
        plan, {1: TUMOR}, {1: "Tumor"}, per_frame=per_frame, thickness=thickness, between=between, order=order
    )
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, TUMOR))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("keep_empty", [False, True])
def test_bits_that_do_not_begin_with_a_byte(
    tmp_path: Path, plan: Any, image: Volume, syntax: str, keep_empty: bool
) -> None:
    drawing = Drawing(plan, {3: CORD, 7: TUMOR}, {3: "Spinal cord", 7: "Tumor"}, keep_empty=keep_empty)
    assert np.array_equal(placed(drawing.write(tmp_path / "s", syntax), image), truth(image, plan, TUMOR))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_without_preamble_and_file_meta_information(tmp_path: Path, plan: Any, image: Volume, syntax: str) -> None:
    path = Drawing(plan, {1: TUMOR}, {1: "Tumor"}).write(tmp_path / "s", syntax, bare=True)
    assert np.array_equal(placed(path, image), truth(image, plan, TUMOR))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
@pytest.mark.parametrize("numbers", [(1, 2), (2, 1), (40, 3)])
def test_label_maps_with_any_numbers(
    tmp_path: Path, plan: Any, image: Volume, numbers: tuple[int, int], syntax: str
) -> None:
    tumor, cord = numbers
    names = {0: "Background", tumor: "Lesion", cord: "Spinal cord"}
    drawing = Drawing(plan, {tumor: TUMOR, cord: CORD * (1 - TUMOR)}, names, kind="LABELMAP", bits=8)
    path = drawing.write(tmp_path / "s", syntax)
    assert np.array_equal(placed(path, image), truth(image, plan, TUMOR))
    wanted = truth(image, plan, CORD * (1 - TUMOR))
    assert np.array_equal(placed(path, image, Selection(labels=("spinal cord",))), wanted)


def test_values_of_a_label_map_without_a_segment_are_noted(tmp_path: Path, plan: Any, image: Volume) -> None:
    masks = {1: TUMOR, 4: block([2], (6, 8), (5, 7))}  # 2 x 2 pixels, and one more
    path = Drawing(plan, masks, {1: "Lesion"}, kind="LABELMAP", bits=8).write(tmp_path / "s")
    read = on_grid(read_reference(path, image.geometry), image.geometry)
    assert np.array_equal(read.mask.array, truth(image, plan, TUMOR))
    assert read.notes == (
        "the reference also holds values without a name, which were not taken as tumor: 4 (5 voxels)",
    )


def test_frames_of_a_segment_that_is_not_described_are_noted(tmp_path: Path, plan: Any, image: Volume) -> None:
    path = Drawing(plan, {1: TUMOR, 4: block([2, 3, 6])}, {1: "Lesion"}).write(tmp_path / "s")
    read = on_grid(read_reference(path, image.geometry), image.geometry)
    assert np.array_equal(read.mask.array, truth(image, plan, TUMOR))
    assert read.notes == (
        "the reference also holds segments without a name, which were not taken as tumor: 4 (3 frames)",
    )


@pytest.mark.parametrize("kind", ["BINARY", None])
def test_binary_pixels_of_a_byte(tmp_path: Path, plan: Any, image: Volume, kind: str | None) -> None:
    drawing = Drawing(plan, {1: TUMOR * 255}, {1: "Tumor"}, kind=kind, bits=8)
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, TUMOR))


def test_fractions_of_a_maximum(tmp_path: Path, plan: Any, image: Volume) -> None:
    shares = TUMOR * 100
    shares[1, 2, 1] = 49
    drawing = Drawing(plan, {1: shares}, {1: "Tumor"}, kind="FRACTIONAL", bits=8, most=100)
    wanted = TUMOR.copy()
    wanted[1, 2, 1] = 0
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, wanted))
    drawing.most = None
    with pytest.raises(Unusable, match="a fractional DICOM SEG without Maximum Fractional Value"):
        placed(drawing.write(tmp_path / "s"), image)


def test_a_single_frame(tmp_path: Path, plan: Any, image: Volume) -> None:
    mask = block([6])
    drawing = Drawing(plan, {1: mask}, {1: "Tumor"})
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, mask))
    drawing.without = ["NumberOfFrames"]
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, mask))


def test_one_segment_that_no_frame_names(tmp_path: Path, plan: Any, image: Volume) -> None:
    drawing = Drawing(plan, {1: TUMOR}, {1: "Tumor"}, without=["SegmentIdentificationSequence"])
    assert np.array_equal(placed(drawing.write(tmp_path / "s"), image), truth(image, plan, TUMOR))
    drawing.masks, drawing.names = {1: TUMOR, 2: CORD}, {1: "Tumor", 2: "Cord"}
    with pytest.raises(Unusable, match="2 segments with a frame that names none of them"):
        placed(drawing.write(tmp_path / "s"), image)


def test_a_segment_shared_by_all_frames(tmp_path: Path, plan: Any, image: Volume) -> None:
    path = Drawing(plan, {2: TUMOR}, {2: "Tumor"}).write(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.SegmentIdentificationSequence = dataset.PerFrameFunctionalGroupsSequence[0].SegmentIdentificationSequence
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.SegmentIdentificationSequence
    dataset.save_as(path)
    assert np.array_equal(placed(path, image), truth(image, plan, TUMOR))


def test_directions_that_differ_by_rounding_are_one(tmp_path: Path, plan: Any, image: Volume) -> None:
    path = Drawing(plan, {1: TUMOR}, {1: "Tumor"}, per_frame=True).write(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item = group.PlaneOrientationSequence[0]
        item.ImageOrientationPatient = [float(v) + 1e-6 * number for v in OBLIQUE]
    dataset.save_as(path)
    assert np.array_equal(placed(path, image), truth(image, plan, TUMOR))
    turned = dataset.PerFrameFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    turned.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    dataset.save_as(path)
    with pytest.raises(Unusable, match="frames of different orientations, which place a corner up to"):
        placed(path, image)


def test_two_frames_at_one_place_are_united(tmp_path: Path, plan: Any, image: Volume) -> None:
    path = Drawing(plan, {1: TUMOR, 2: CORD}, {1: "Tumor", 2: "Tumor 2"}).write(tmp_path / "s")
    assert np.array_equal(placed(path, image), truth(image, plan, TUMOR | CORD))


@pytest.mark.parametrize(
    ("slices", "thickness", "between", "step"),
    [
        ((1, 2, 3, 6), None, None, 4.0),  # the gaps tell
        ((1, 5), 4.0, None, 4.0),
        ((1, 5), 3.0, 4.0, 4.0),
        ((1, 2), 3.0, None, 4.0),
        ((2,), 4.0, None, 4.0),
        ((2,), None, 5.0, 5.0),
    ],
)
def test_off_the_slices_of_an_image_its_own_measures_tell(
    tmp_path: Path,
    plan: Any,
    slices: tuple[int, ...],
    thickness: float | None,
    between: float | None,
    step: float,
) -> None:
    drawing = Drawing(plan, {1: block(slices)}, {1: "Tumor"}, thickness=thickness, between=between)
    mask = read_reference(drawing.write(tmp_path / "s")).mask
    assert mask.geometry.spacing_xyz_mm == pytest.approx((0.6, 0.8, step))
    assert int(mask.array.sum()) == int(block(slices).sum())
    assert mask.array.shape[0] == max(slices) - min(slices) + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slices": (1, 5)}, "whose frames are 16.00 to 16.00 mm apart, and on no slices of the image"),
        ({"slices": (1, 3, 6)}, "whose frames are 8.00 to 12.00 mm apart"),
        ({"slices": (2,)}, "one frame that is on no slice of the image, and has no slice thickness"),
        ({"without": ["PlanePositionSequence"]}, "a frame without position; expected the position of every frame"),
        ({"without": ["PlaneOrientationSequence"]}, "a frame without orientation"),
        ({"without": ["PixelMeasuresSequence"]}, "a frame without pixel size"),
        ({"without": ["PerFrameFunctionalGroupsSequence"]}, "3 frames, of which its header describes 0"),
        ({"without": ["SegmentSequence"]}, "a DICOM SEG of 0 segments, so nothing in it is a tumor"),
        ({"names": {1: "Segment 1"}}, "1 segment, which nothing names as a tumor"),
        ({"names": {1: "Tumor", 2: "Cord"}, "number": 2}, "without a frame of the segment that is the tumor"),
        ({"without": ["Rows"]}, "is damaged|describes|no pixels|bytes"),
    ],
)
def test_what_cannot_be_known_is_named(tmp_path: Path, plan: Any, change: dict[str, Any], message: str) -> None:
    mask = block(change.get("slices", (1, 2, 3)))
    drawing = Drawing(plan, {change.get("number", 1): mask}, change.get("names", {1: "Tumor"}))
    drawing.without = change.get("without", ())
    with pytest.raises(Unusable, match=message) as caught:
        read_reference(drawing.write(tmp_path / "s"))
    assert "Error" not in str(caught.value)


def test_frames_shifted_within_their_plane_are_refused(tmp_path: Path, plan: Any) -> None:
    path = Drawing(plan, {1: block([1, 2, 3])}, {1: "Tumor"}).write(tmp_path / "s")
    dataset = pydicom.dcmread(path)
    place = dataset.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0]
    place.ImagePositionPatient = [f"{v:.4f}" for v in plan.point(2, 0, 1.5)]
    dataset.save_as(path)
    with pytest.raises(Unusable, match=r"frames are shifted within their plane, by up to 0\.90 mm"):
        read_reference(path)


def test_a_truncated_file_is_named_without_an_exception(tmp_path: Path, plan: Any) -> None:
    path = Drawing(plan, {1: TUMOR}, {1: "Tumor"}, kind="FRACTIONAL", bits=8, most=1).write(tmp_path / "s", RLELossless)
    content = path.read_bytes()
    for share in (0.5, 0.8, 0.95):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(Unusable) as caught:
            read_reference(path)
        assert "Error" not in str(caught.value)
        assert "pydicom" not in str(caught.value)


@pytest.mark.parametrize(
    ("slices", "thickness", "between"),
    [
        ((3, 5), 3.6, 8.0),  # the gap of the frames, as a writer measures it
        ((4,), 3.6, 8.0),
        ((3, 5), None, 8.0),
        ((4,), 8.0, 8.0),  # nothing but the header says that one frame is thick
        ((3, 5), 8.0, None),
        ((3, 4), 8.0, 8.0),  # nearer than they are thick
        ((1, 3, 6), 8.0, 8.0),
        ((3, 5), 8.0, 6.0),  # one and a half slices of the image
    ],
)
def test_frames_on_slices_of_the_image_are_as_thick_whatever_their_spacing(
    tmp_path: Path, plan: Any, image: Volume, slices: tuple[int, ...], thickness: float | None, between: float | None
) -> None:
    """The image's slices are 4 mm apart."""
    mask = block(slices)
    path = Drawing(plan, {1: mask}, {1: "Tumor"}, thickness=thickness, between=between).write(tmp_path / "s")
    read = on_grid(read_reference(path, image.geometry), image.geometry)
    assert np.array_equal(read.mask.array, truth(image, plan, mask))
    assert read.notes == ()


@pytest.mark.parametrize("thickness", [8.0, 6.5])
def test_frames_of_a_series_twice_as_coarse_keep_their_thickness(
    tmp_path: Path, plan: Any, image: Volume, thickness: float
) -> None:
    """Thickness, spacing and places of the frames agree, so each covers two slices of the image."""
    coarse = copy.copy(plan)
    coarse.array, coarse.spacing = plan.array[::2], (8.0, 0.8, 0.6)
    mask = np.zeros((4, 9, 7), np.uint8)
    mask[1:3, 2:5, 1:4] = 1
    drawing = Drawing(coarse, {1: mask}, {1: "Tumor"}, thickness=thickness, between=8.0)
    read = read_reference(drawing.write(tmp_path / "s"), image.geometry)
    assert read.mask.geometry.spacing_xyz_mm[2] == pytest.approx(8.0)
    assert int(read.mask.array.sum()) == 18
    (note,) = read.notes
    assert note.startswith("the slices of the DICOM SEG are 8.00 mm apart by its header, 2 times those of the image;")
