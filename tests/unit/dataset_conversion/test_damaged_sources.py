"""What damaged sources once did: each is refused in words, or left out, and nothing else happens."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.dataset_conversion.bids_source import discover_bids
from nnunet_spine.dataset_conversion.case_conversion import check_contrast
from nnunet_spine.dataset_conversion.case_list import read_case_list
from nnunet_spine.dataset_conversion.case_proposals import write_proposals
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_headers import numbers_of
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import structures_of
from nnunet_spine.dataset_conversion.references import Reference, on_grid, read_reference
from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_text
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, read_volume
from nnunet_spine.volume_headers import _nifti_forms, read_volume_header

AXES = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def volume_file(make: Any, path: Path) -> Path:
    sitk.WriteImage(make.itk_image(make.asymmetric().astype(np.float32)), str(path), useCompression=False)
    return path


def patched(path: Path, offset: int, kind: str, *values: float) -> Path:
    content = bytearray(path.read_bytes())
    struct.pack_into(kind, content, offset, *values)
    path.write_bytes(content)
    return path


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("i.nii", "T1w.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(BadInput, match="a pipe"):
        read_text(tmp_path / "T1w.json")
    with pytest.raises(BadInput, match="a pipe"):
        read_volume_header(tmp_path / "i.nii")
    os.mkfifo(tmp_path / "cases.csv")
    assert main(["convert", str(tmp_path / "cases.csv"), "--root", str(tmp_path / "out")]) == 2


def test_a_pipe_beside_a_bids_image_is_no_sidecar(make: Any, tmp_path: Path) -> None:
    anatomy = tmp_path / "sub-1" / "anat"
    anatomy.mkdir(parents=True)
    volume_file(make, anatomy / "sub-1_T1w.nii.gz")
    os.mkfifo(anatomy / "sub-1_T1w.json")
    assert len(discover_bids(tmp_path).proposals) == 1


def test_folders_deeper_than_a_path_can_name_are_passed_over(make: Any, tmp_path: Path) -> None:
    root = tmp_path / "bids"
    (root / "sub-1" / "anat").mkdir(parents=True)
    volume_file(make, root / "sub-1" / "anat" / "sub-1_T1w.nii.gz")
    here = Path.cwd()
    try:
        os.chdir(root / "sub-1")
        for _ in range(400):
            Path("deep_folder_").mkdir()
            os.chdir("deep_folder_")
    finally:
        os.chdir(here)
    discovery = discover_bids(root)
    assert discovery.files["total"] == 1
    assert len(discovery.proposals) == 1


def test_a_size_that_the_file_cannot_hold_is_refused_before_memory_is_taken(make: Any, tmp_path: Path) -> None:
    path = patched(volume_file(make, tmp_path / "i.nii"), 40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)
    with pytest.raises(BadInput, match="35181150961663 voxels, which .* bytes cannot hold"):  # 32767 ** 3
        read_volume(path)


@pytest.mark.parametrize(
    ("name", "line", "other"),
    [
        ("i.mha", b"ElementDataFile = LOCAL", b"ElementDataFile = ../other.raw"),
        ("i.nrrd", b"encoding: raw", b"encoding: raw\ndata file: ../other.raw"),
        ("i.nrrd", b"encoding: raw", b"encoding: raw\r\ndatafile: ../other.raw\r"),
    ],
)
def test_voxels_of_another_file_are_not_read(make: Any, tmp_path: Path, name: str, line: bytes, other: bytes) -> None:
    (tmp_path / "other.raw").write_bytes(b"\1" * 10_000)
    folder = tmp_path / "source"
    folder.mkdir()
    path = volume_file(make, folder / name)
    assert line in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(line, other))
    with pytest.raises(BadInput, match="in another file|cannot be read"):
        read_volume(path)


def test_a_voxel_that_spells_a_header_is_no_header(tmp_path: Path) -> None:
    words = np.frombuffer(b"\nElementDataFile = x\n" * 8, np.uint8).reshape(3, 7, 8)
    for name in ("i.mha", "i.nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(words), str(tmp_path / name), useCompression=False)
        assert np.array_equal(read_volume(tmp_path / name).array, words)


@pytest.mark.parametrize(
    "matrix", [b"0 0 0 0 0 0 0 0 0", b"1 0 0 1 0 0 0 0 1", b"nan 0 0 0 1 0 0 0 1"], ids=["zero", "flat", "nan"]
)
def test_axes_that_span_no_volume_are_no_grid(
    make: Any, tmp_path: Path, matrix: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    path = volume_file(make, tmp_path / "i.mha")
    before, _, after = path.read_bytes().partition(b"TransformMatrix = ")
    path.write_bytes(before + b"TransformMatrix = " + matrix + after[after.index(b"\n") :])
    with pytest.raises(BadInput, match="no grid|cannot be read"):
        read_volume(path)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("place", "value"), [(324, np.inf), (312, np.nan), (268, np.inf), (80, 1e30)])
def test_forms_that_are_no_numbers_are_no_grid(
    make: Any, tmp_path: Path, suffix: str, place: int, value: float
) -> None:
    path = volume_file(make, tmp_path / "i.nii")
    patched(path, 312, "<f", -1.0)  # with an infinite offset, ITK would not return
    patched(path, place, "<f", value)
    if suffix == ".nii.gz":
        path.with_name("i.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(BadInput, match="has no grid"):
        read_volume(tmp_path / f"i{suffix}")


def test_a_form_that_is_not_set_may_hold_anything(make: Any, tmp_path: Path) -> None:
    path = patched(volume_file(make, tmp_path / "i.nii"), 324, "<f", np.inf)
    expected = read_volume(volume_file(make, tmp_path / "e.nii"))
    patched(path, 252, "<2h", 1, 0)
    assert read_volume(path).geometry.same_grid(expected.geometry)


@pytest.mark.parametrize("number", [b"2000000000", b"11", b"-3", b"0", b"", b"many", b"9" * 5000])
def test_a_number_of_axes_that_itk_has_no_room_for_is_refused(make: Any, tmp_path: Path, number: bytes) -> None:
    path = volume_file(make, tmp_path / "i.mha")
    content = path.read_bytes()
    assert content.count(b"NDims = 3") == 1
    path.write_bytes(content.replace(b"NDims = 3", b"NDims = " + number))
    with pytest.raises(BadInput, match=r"number of axes that no volume has\. Expected 3"):
        read_volume(path)
    path.write_bytes(content)
    assert read_volume(path).array.ndim == 3


@pytest.mark.parametrize("big", [False, True], ids=["little", "big"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_forms_of_every_kind_of_nifti(tmp_path: Path, kind: Any, big: bool) -> None:
    affine = np.array([[-1.0, 0, 0, 5], [0, -2.0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    header = kind.header_class(endianness=">" if big else "<")
    image = kind(np.zeros((4, 5, 6), np.float32), affine, header)
    image.header.set_qform(affine, 1)
    nibabel.save(image, tmp_path / "i.nii")
    spacing, places, sform = np.split(_nifti_forms((tmp_path / "i.nii").read_bytes()), [3, 9])
    assert np.allclose(spacing, [1, 2, 3])
    assert np.allclose(places, [0, 0, 1, 5, 6, 7])  # half a turn about z
    assert np.allclose(sform, affine[:3].ravel())


def test_what_libraries_say_of_a_file_does_not_reach_the_console(
    volumes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (volumes.parent / "i0.nii.gz").rename(volumes.parent / "Quirke.nii.gz")
    content = bytearray(352)
    struct.pack_into("<i", content, 0, 348)  # Analyze, of which ITK warns with the path
    struct.pack_into("<8h", content, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into("<2h", content, 70, 4, 16)
    (volumes.parent / "i0.nii").write_bytes(bytes(content) + bytes(128))
    volumes.write_text(volumes.read_text().replace("i0.nii.gz", "i0.nii"))
    main(["convert", str(volumes), "--root", str(tmp_path / "out")])
    assert "WARNING" not in (errors := capfd.readouterr().err)
    assert str(volumes.parent) not in errors


def test_pixels_that_the_file_does_not_have_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    for dataset in datasets:
        dataset.Rows = dataset.Columns = 65535
    with pytest.raises(Unusable, match="160 bytes of pixels where the header tells of 8589672450"):  # 65535 ** 2 * 2
        read_series(make.write_datasets(tmp_path, datasets))


def test_frames_of_a_segmentation_far_apart_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    path = make.write_segmentation(tmp_path / "seg", datasets, make.blob())
    dataset = pydicom.dcmread(path)
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient = [9000.0 * number, -60.0, 90.0]
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = 0.001
    dataset.save_as(path)
    with pytest.raises(Unusable, match=r"a grid of \d+ x 10 x 8 voxels; expected at most 5000 slices"):
        read_reference(path)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_frames_of_a_segmentation_at_no_place_are_refused(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    image = read_series(make.write_datasets(tmp_path / "series", datasets)).volume
    path = make.write_segmentation(tmp_path / "seg", datasets, make.blob())
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient = ["inf", "0", "0"]
    dataset.save_as(path)
    with (
        np.errstate(all="raise"),
        pytest.raises(Unusable, match="a frame whose position is not 3 numbers that a scanner gives"),
    ):
        read_reference(path, image.geometry)


def test_a_segment_with_two_numbers_has_the_first() -> None:
    header = pydicom.Dataset()
    header.SegmentSequence = [pydicom.Dataset()]
    header.SegmentSequence[0].add_new("SegmentNumber", "US", [2, 3])
    assert [one.number for one in structures_of(header)] == [2]


def test_a_reference_with_a_damaged_list_of_instances_is_matched_by_its_frame_of_reference(export: Path) -> None:
    path = export / "Zebulon0" / "SEG5" / "IM0001"
    dataset = pydicom.dcmread(path)
    del dataset.ReferencedSeriesSequence  # so that instances tell the series
    dataset.save_as(path)
    assert len(discover_export(export).cases) == 5
    mark = b"\x08\0\x55\x11UI"  # Referenced SOP Instance UID
    content = path.read_bytes()
    assert mark in content
    path.write_bytes(content.replace(mark, mark[:4] + b"QI"))
    assert len(discover_export(export).cases) == 5


def test_meta_information_of_a_wrong_length_is_a_damaged_file(make: Any, tmp_path: Path) -> None:
    paths = make.write_datasets(tmp_path, make.datasets_of(make.Plan(make.asymmetric())))
    content = bytearray(paths[0].read_bytes())
    assert content[132:140] == b"\2\0\0\0UL\4\0"
    content[138] = 7
    paths[0].write_bytes(content)
    export = group_files(tmp_path, paths)
    assert len(export.damaged) == 1
    assert len(export.series[0].files) == 5


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0.7, -0.7]}, "an orientation that no image has"),
        ({"ImageOrientationPatient": [0, 0, 0, 0, 0, 0]}, "an orientation that no image has"),
        ({"ImageOrientationPatient": ["0", "1e200", "0", "0", "0", "-1e200"]}, "an orientation that no image has"),
        ({"ImagePositionPatient": ["1e300", "0", "0"]}, "a position that is not in a scanner"),
        ({"ImagePositionPatient": ["nan", "0", "0"]}, "a position that is not in a scanner"),
        ({"ImageOrientationPatient": [0, 1, 0, 0]}, "6 of 6 slices have no orientation of six numbers"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1, 0, 1, 0]}, "6 of 6 slices have no orientation"),
        ({"PixelSpacing": ["1e8", "1e8"]}, r"voxels of 1e\+08 x 1e\+08 x 4 mm; expected sizes from 0.001 to 1000 mm"),
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")
def test_geometry_that_is_none_is_refused(make: Any, tmp_path: Path, tags: dict[str, Any], message: str) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric(), tags=tags))
    with np.errstate(all="raise"), pytest.raises(Unusable, match=message):
        read_series(make.write_datasets(tmp_path, datasets))


def test_numbers_beyond_any_are_not_taken() -> None:
    header = {"ImagePositionPatient": ["0", "1e200", "3"], "PixelSpacing": [1, 10**400]}
    assert numbers_of(header, "ImagePositionPatient", 3) is None
    assert numbers_of(header, "PixelSpacing", 2) is None


@pytest.mark.parametrize("values", [[0.0, 1e300], [0.0, np.nan], [-np.inf, 0.0], [1.0, 1.0 + 1e-12], [0.0, 1e-300]])
def test_values_that_float32_cannot_tell_are_refused(values: list[float]) -> None:
    with pytest.raises(Unusable, match="values from|a constant image"):
        check_contrast(np.array(values))


def test_a_speck_that_no_sub_sample_meets_is_refused() -> None:
    mask = np.zeros((3, 3, 3), np.uint8)
    mask[1, 1, 1] = 1
    speck = Volume(mask, Geometry((3, 3, 3), (1e-3, 1e-3, 1e-3), (0.013, 0.013, 0.013), AXES))
    with pytest.raises(Unusable, match="less than half a voxel|lies on the image"):
        on_grid(Reference(speck), Geometry((9, 9, 9), (4.0, 4.0, 4.0), (-16.0, -16.0, -16.0), AXES))


@pytest.mark.parametrize("column", ["image", "reference"])
def test_a_path_that_is_too_long_does_not_exist(volumes: Path, column: str) -> None:
    row = {"patient": "p", "image": "i0.nii.gz", "reference": "r0.nii.gz", column: "Q" * 5000}
    volumes.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(BadInput, match=f"row 2: the {column} does not exist") as caught:
        read_case_list(volumes)
    assert "QQ" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("patient,image,reference,region\np,i0.nii.gz,r0.nii.gz,Quirke\n", "row 2: region is none of"),
        ("Quirke,i0.nii.gz,r0.nii.gz\n", "no column patient, image, reference"),
        ("patient,image,reference,Quirke,Quirke\n", "two columns of one name"),
    ],
)
def test_messages_on_a_list_repeat_nothing_of_it(volumes: Path, text: str, message: str) -> None:
    volumes.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        read_case_list(volumes)
    assert "Quirke" not in str(caught.value)


def test_a_name_that_is_no_utf8_cannot_be_listed(export: Path, tmp_path: Path) -> None:
    (export / "Zebulon0").rename(export / os.fsdecode(b"Zebulon\xff"))
    discovery = discover_export(export)
    assert len(discovery.cases) == 5
    with pytest.raises(BadInput, match="not UTF-8"):
        write_proposals(tmp_path / "found.csv", discovery)
    assert not (tmp_path / "found.csv").exists()


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_contour_of_more_than_64_kb_is_read(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    turn = np.linspace(0, 2 * np.pi, 20_000, endpoint=False)
    centre = plan.point(2, 4, 4)
    circle = centre + np.stack([0 * turn, 1.6 * np.cos(turn), 1.6 * np.sin(turn)], axis=1)
    datasets = make.datasets_of(plan)
    image = read_series(make.write_datasets(tmp_path / "series", datasets)).volume
    path = make.write_structure_set(tmp_path / "rt", datasets, {"tumor": [np.round(circle, 6)]})
    placed = on_grid(read_reference(path, image.geometry), image.geometry)
    volume_ml = float(placed.mask.array.sum()) * image.geometry.voxel_ml
    assert abs(volume_ml - np.pi * 1.6**2 * 4.0 / 1000) < 0.5 * image.geometry.voxel_ml + 0.02 * volume_ml
