"""In which order of axes images are stored; right values are worked out by hand or by nibabel."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, read_volume, write_volume
from nnunet_spine.nnunet.image_io import STORED_KEY, SpineImageIO, as_stored, check_one_grid
from nnunet_spine.nnunet.orientation import (
    ORIENTATIONS,
    Orientation,
    Survey,
    angle_degrees,
    axes_of,
    check_stated,
    is_record,
    of_our_plans,
    of_plans,
    survey,
    turned,
)
from nnunet_spine.volume_headers import read_nifti_forms, read_volume_header, states_axes

CODES = sorted(ORIENTATIONS)
RAS = {"L": (-1, 0, 0), "R": (1, 0, 0), "P": (0, -1, 0), "A": (0, 1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
PIL = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""x to posterior, y to inferior, z to left, as LPS columns."""


def nifti(path: Path, code: str, tilt_degrees: float = 0.0) -> tuple[Path, np.ndarray]:
    """A NIfTI of 5 x 6 x 7 voxels whose axes point to `code`, written by nibabel, and its array (x, y, z)."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([RAS[letter] for letter in code]).T * (2.0, 3.0, 4.0)
    turn = np.radians(tilt_degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    affine[:3, :3] = rotation @ affine[:3, :3]
    affine[:3, 3] = (-11.0, 7.0, 30.0)
    array = np.random.default_rng(0).integers(0, 500, (5, 6, 7)).astype(np.int16)
    image = nibabel.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    image.set_sform(affine, 1)
    nibabel.save(image, path)
    return path, array


def test_there_are_48() -> None:
    assert len(CODES) == 48
    assert {"PIL", "RAS", "LPS", "SRA"} <= ORIENTATIONS
    assert not {"PPL", "XYZ", "PI", "pil"} & ORIENTATIONS


@pytest.mark.parametrize("code", CODES)
def test_each_orientation_is_read_off_a_header_as_nibabel_reads_it(tmp_path: Path, code: str) -> None:
    path, _ = nifti(tmp_path / "a.nii.gz", code)
    assert "".join(nibabel.aff2axcodes(nibabel.load(path).affine)) == code
    assert axes_of(read_volume(path).geometry) == code


@pytest.mark.parametrize("degrees", [0.0, 5.0, 12.5, 44.0])
@pytest.mark.parametrize("code", ["PIL", "RAS", "SLA"])
def test_the_angle_is_that_of_the_tilt_in_every_order(tmp_path: Path, code: str, degrees: float) -> None:
    path, _ = nifti(tmp_path / "a.nii.gz", code, degrees)
    assert angle_degrees(read_volume(path).geometry) == pytest.approx(degrees, abs=0.01)


def test_what_is_warned_of() -> None:
    known = Orientation("PIL", 10.0)
    assert [known.is_too_oblique(angle) for angle in (0.0, 10.9, 11.0, 11.1)] == [False, False, False, True]
    assert not Orientation("PIL").is_too_oblique(80.0)


def test_the_orientation_that_plans_record() -> None:
    plans = {"spine_orientation": {"axes": "RAS", "largest_angle_degrees": 12.5}}
    assert of_our_plans(plans) == Orientation("RAS", 12.5)
    assert of_our_plans({}) == Orientation("PIL")  # plans of version 0.1
    assert of_our_plans({"image_reader_writer": "NibabelIOWithReorient"}) == Orientation("RAS")
    assert is_record(Orientation("PIL", 0.0).as_json())
    assert is_record(Orientation(None).as_json())


@pytest.mark.parametrize("value", [None, "PIL", {}, {"axes": "PIL"}, {"axes": "ABC", "largest_angle_degrees": 1}])
def test_what_is_no_record(value: Any) -> None:
    assert not is_record(value)


def test_plans_of_nnunet_say_nothing_so_their_training_images_do(tmp_path: Path) -> None:
    configuration, plans = {"preprocessor_name": "DefaultPreprocessor"}, {"image_reader_writer": "SimpleITKIO"}
    assert of_plans(plans, configuration, tmp_path / "none").axes is None
    nifti(tmp_path / "a_0000.nii.gz", "LPS", 3.0)
    nifti(tmp_path / "b_0000.nii.gz", "LPS")
    assert of_plans(plans, configuration, tmp_path) == Orientation("LPS", 3.0)
    nifti(tmp_path / "c_0000.nii.gz", "RAS")  # trained as they are stored: there is no order to turn to
    assert of_plans(plans, configuration, tmp_path).axes is None
    assert of_plans({"image_reader_writer": "NibabelIOWithReorient"}, configuration, tmp_path).axes == "RAS"
    recorded = {**plans, "spine_orientation": {"axes": "PIL", "largest_angle_degrees": 1.0}}
    assert of_plans(recorded, configuration, tmp_path) == Orientation("PIL", 1.0)
    assert of_plans(plans, {"preprocessor_name": "SpinePreprocessor"}, tmp_path) == Orientation("PIL")
    (tmp_path / "d_0000.nii.gz").write_bytes(b"damaged")
    assert of_plans(plans, configuration, tmp_path).axes is None


def test_a_survey_takes_what_most_images_have(tmp_path: Path) -> None:
    paths = [nifti(tmp_path / f"{n}.nii.gz", code)[0] for n, code in enumerate(("RAS", "PIL", "RAS"))]
    found = survey(paths)
    assert found.orientation == Orientation("RAS", 0.0)
    assert found.reason == "the order of axes of 2 of 3 training images; the other 1 are turned to it"
    assert survey(paths[:1]).reason == "the order of axes of 1 of 1 training images"
    assert survey(paths[:2]).orientation.axes == "PIL"  # of equally many, the sagittal one
    assert survey(paths, "NibabelIOWithReorient").orientation.axes == "RAS"
    assert survey([tmp_path / "a.png"]) == Survey((), 0.0)
    assert survey([]).orientation.axes is None
    assert survey(paths[:1]).warning == ""
    assert survey(paths).warning.startswith("The data set's orientation is RAS: the order of axes of 2 of 3")
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None), tmp_path / "unset.nii.gz")
    unset = survey([*paths, tmp_path / "unset.nii.gz"])
    assert unset.orientation.axes is None
    assert unset.warning == (
        "The data set has no orientation: 1 of 4 images do not say where their axes point. Images are taken as they "
        "are stored, and new ones cannot be turned to them."
    )


def test_formats_that_leave_the_orientation_out(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    unset = nibabel.Nifti1Image(array, None)
    assert unset.header["sform_code"] == unset.header["qform_code"] == 0
    nibabel.save(unset, tmp_path / "unset.nii.gz")
    image = sitk.GetImageFromArray(array)
    for name in ("a.nrrd", "a.mha", "a.nii"):
        sitk.WriteImage(image, str(tmp_path / name))
    nrrd, mha = (tmp_path / "a.nrrd").read_bytes(), (tmp_path / "a.mha").read_bytes()
    bare = b"NRRD0004\ntype: short\ndimension: 3\nsizes: 6 5 4\nencoding: raw\nendian: little\n\n" + array.tobytes()
    (tmp_path / "bare.nrrd").write_bytes(bare)
    kept = [
        line for line in mha.split(b"\n", 13) if not line.startswith((b"TransformMatrix", b"AnatomicalOrientation"))
    ]
    (tmp_path / "bare.mha").write_bytes(b"\n".join(kept))
    assert nrrd.startswith(b"NRRD")
    for name, stated in (("unset.nii.gz", False), ("bare.nrrd", False), ("bare.mha", False)):
        assert states_axes(tmp_path / name) is stated
        with pytest.raises(BadInput, match="does not say where its axes point"):
            check_stated(tmp_path / name)
    for name in ("a.nrrd", "a.mha", "a.nii"):
        assert states_axes(tmp_path / name)
        check_stated(tmp_path / name)


def test_a_nifti_that_says_two_things(tmp_path: Path) -> None:
    path, array = nifti(tmp_path / "a.nii.gz", "PIL")
    image = nibabel.load(path)
    other = np.diag([-2.0, -3.0, 4.0, 1.0])
    image.set_qform(other, 1)
    nibabel.save(image, tmp_path / "b.nii.gz")
    with pytest.raises(BadInput, match="point to PIL by its sform and to LPS by its qform"):
        check_stated(tmp_path / "b.nii.gz")
    with pytest.raises(BadInput, match="PIL by its sform"):
        survey([tmp_path / "b.nii.gz"])
    with pytest.raises(BadInput, match="PIL by its sform"):
        SpineImageIO("PIL").read_images([str(tmp_path / "b.nii.gz")])
    assert SpineImageIO(None).read_images([str(tmp_path / "b.nii.gz")])[0].shape == (1, *array.shape[::-1])


@pytest.mark.parametrize("code", CODES)
def test_forms_are_those_that_nibabel_reads(tmp_path: Path, code: str) -> None:
    path, _ = nifti(tmp_path / "a.nii.gz", code)
    image = nibabel.load(path)
    image.set_qform(image.affine, 1)
    nibabel.save(image, tmp_path / "b.nii")
    nibabel.save(nibabel.Nifti2Image(image.dataobj, image.affine, image.header), tmp_path / "c.nii.gz")
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    for name in ("b.nii", "c.nii.gz"):
        header, forms = nibabel.load(tmp_path / name).header, read_nifti_forms(tmp_path / name)
        np.testing.assert_allclose(forms.sform_lps, to_lps @ header.get_sform(), atol=1e-4)
        np.testing.assert_allclose(forms.qform_lps, to_lps @ header.get_qform(), atol=5e-3)  # half turns
        assert forms.apart_mm((10, 10, 10)) < 0.01
        check_stated(tmp_path / name)


@pytest.mark.parametrize("squares", [1.0 - 2e-6, 1.0 - 5e-8, 1.0, 1.0 + 2e-6, 1.0 + 1e-3])
def test_a_quaternion_that_was_rounded_is_taken_as_itk_takes_it(tmp_path: Path, squares: float) -> None:
    """Nibabel refuses a norm that is above 1 by 2e-6."""
    path, _ = nifti(tmp_path / "a.nii", "PIL")
    content = bytearray(path.read_bytes())
    half_turn = np.array([0.6, 0.8, 0.0]) * np.sqrt(squares)
    content[252:256] = np.array([1, 0], "<i2").tobytes()  # the qform alone
    content[256:268] = half_turn.astype("<f4").tobytes()
    path.write_bytes(content)
    expected = read_volume_header(path).geometry.affine_lps()
    np.testing.assert_allclose(read_nifti_forms(path).qform_lps, expected, atol=1e-4)
    check_stated(path)


def test_plain_content_under_a_name_in_gz_says_where_its_axes_point(tmp_path: Path) -> None:
    path, _ = nifti(tmp_path / "a.nii", "PIL")
    path = path.rename(tmp_path / "a.nii.gz")
    check_stated(path)
    assert survey([path]).orientation.axes == "PIL"
    assert SpineImageIO("PIL").read_images([str(path)])[0].ndim == 4


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("code", CODES[::5])
def test_an_image_is_read_in_one_order_and_a_segmentation_is_written_back(tmp_path: Path, code: str, ending) -> None:
    """By nibabel: which voxel of the stored array is at which place."""
    path, array = nifti(tmp_path / "a.nii.gz", code)
    stored = tmp_path / f"b{ending}"
    sitk.WriteImage(sitk.ReadImage(str(path)), str(stored))
    reader = SpineImageIO("PIL")
    image, properties = reader.read_images([str(stored)])
    wanted = nibabel.orientations.axcodes2ornt("PIL")
    here = nibabel.orientations.axcodes2ornt(code)
    expected = nibabel.orientations.apply_orientation(array, nibabel.orientations.ornt_transform(here, wanted))
    np.testing.assert_array_equal(image[0], expected.transpose(2, 1, 0))
    assert image.dtype == np.float32
    spacing_xyz = dict(zip(code, (2.0, 3.0, 4.0), strict=True))
    assert properties["spacing"] == pytest.approx(
        [next(mm for letter, mm in spacing_xyz.items() if letter in pair) for pair in ("LR", "SI", "PA")]
    )
    assert (STORED_KEY in properties) == (code != "PIL")
    segmentation = (image[0] > 250).astype(np.uint8)
    reader.write_seg(segmentation, str(tmp_path / "out.nii.gz"), properties)
    out = nibabel.load(tmp_path / "out.nii.gz")
    np.testing.assert_allclose(out.affine, nibabel.load(path).affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(out.dataobj), array > 250)
    classes = np.stack([1 - image[0], image[0]])
    turned_back = as_stored(classes, properties)
    np.testing.assert_array_equal(turned_back[1], array.transpose(2, 1, 0))
    np.testing.assert_array_equal(turned_back[0], 1 - array.transpose(2, 1, 0).astype(np.float32))


@pytest.mark.parametrize("axes", [None, "PIL"])
def test_an_image_in_the_order_of_its_data_set_is_what_nnunet_reads_and_writes(
    tmp_path: Path, axes: str | None
) -> None:
    path, _ = nifti(tmp_path / "a.nii.gz", "PIL", 7.0)
    (ours, noted), (theirs, their_notes) = (
        reader.read_images([str(path)]) for reader in (SpineImageIO(axes), SimpleITKIO())
    )
    np.testing.assert_array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype
    assert noted == their_notes
    segmentation = (ours[0] > 250).astype(np.uint8)
    for reader, notes, name in ((SpineImageIO(axes), noted, "ours"), (SimpleITKIO(), their_notes, "theirs")):
        reader.write_seg(segmentation, str(tmp_path / f"{name}.nii.gz"), notes)
    assert (tmp_path / "ours.nii.gz").read_bytes() == (tmp_path / "theirs.nii.gz").read_bytes()


directions = st.tuples(*[st.floats(-math.pi, math.pi)] * 3)


@given(angles=directions, codes=st.tuples(st.sampled_from(CODES), st.sampled_from(CODES)))
@settings(max_examples=60, deadline=None)
def test_however_it_is_turned_and_stored_an_image_comes_to_the_same_array(angles, codes) -> None:
    a, b, c = angles
    about = [
        np.array([[np.cos(t), -np.sin(t), 0], [np.sin(t), np.cos(t), 0], [0, 0, 1]])[np.ix_(order, order)]
        for t, order in zip((a, b, c), itertools.permutations(range(3)), strict=False)
    ]
    direction = tuple((about[0] @ about[1] @ about[2]).ravel())
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    volume = Volume(array, Geometry((5, 4, 3), (1.0, 2.0, 3.0), (4.0, 5.0, 6.0), direction))
    one, other = (turned(turned(volume, code), "PIL") for code in codes)
    np.testing.assert_array_equal(one.array, other.array)
    assert one.geometry.gap_mm(other.geometry) < 1e-6
    assert one.geometry.gap_mm(turned(volume, "PIL").geometry) < 1e-6
    assert angle_degrees(one.geometry) == pytest.approx(angle_degrees(volume.geometry), abs=1e-3)


def test_a_volume_in_its_orientation_is_not_touched() -> None:
    volume = Volume(np.zeros((2, 3, 4)), Geometry((4, 3, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), PIL))
    assert turned(volume, "PIL") is volume
    assert turned(volume, None) is volume


def test_channels_and_references_are_on_one_grid(tmp_path: Path) -> None:
    volume = Volume(np.zeros((4, 5, 6), np.int16), Geometry((6, 5, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), PIL))
    moved = Volume(volume.array, Geometry((6, 5, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.5), PIL))
    for name, one in (("a_0000", volume), ("a_0001", moved), ("b_0001", turned(volume, "RAS"))):
        write_volume(tmp_path / f"{name}.nii.gz", one)
    first, second, other_order = (str(tmp_path / f"{name}.nii.gz") for name in ("a_0000", "a_0001", "b_0001"))
    reader = SpineImageIO("PIL")
    with pytest.raises(GeometryMismatch, match=r"a_0001\.nii\.gz is not on the grid of a_0000.*0\.5 mm apart"):
        reader.read_images([first, second])
    image, notes = reader.read_images([first])
    with pytest.raises(GeometryMismatch, match=r"not on the grid of the image: voxels up to 0\.5 mm apart"):
        check_one_grid(image, notes, *reader.read_seg(second))
    check_one_grid(image, notes, *reader.read_seg(other_order))


def test_what_cannot_be_read_is_refused_with_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    values = np.zeros((4, 5, 6), np.float32)
    values[0, 0, 0] = np.nan
    write_volume(path, Volume(values, Geometry((6, 5, 4), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), PIL)))
    with pytest.raises(BadInput, match="1 voxels that are not finite"):
        SpineImageIO("PIL").read_images([str(path)])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match="damaged"):
        SpineImageIO("PIL").read_images([str(path)])
