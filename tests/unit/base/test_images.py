from __future__ import annotations

import os
import pickle
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine import volume_headers
from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound, NotWritable
from nnunet_spine.grids import Geometry
from nnunet_spine.images import (
    SAGITTAL_ORIENTATION,
    SUFFIXES,
    NotFinite,
    Volume,
    is_volume_file,
    read_volume,
    reorient,
    volume_stem,
    write_volume,
)
from nnunet_spine.volume_headers import read_volume_header

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)
TILTED = tuple(float(v) for v in np.linalg.qr(np.array([[1, 0.1, 0], [-0.1, 1, 0.05], [0, -0.05, 1.0]]))[0].ravel())


def volume(shape=(3, 4, 5), direction=IDENTITY) -> Volume:
    array = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Volume(array, Geometry(shape[::-1], (0.5, 0.75, 4.0), (10.0, -20.0, 30.0), direction))


def test_affine_maps_an_index_to_its_place() -> None:
    affine = volume().geometry.affine_lps()
    np.testing.assert_allclose(affine @ [2, 3, 1, 1], [11.0, -17.75, 34.0, 1.0])


def test_affine_agrees_with_simpleitk() -> None:
    tilted = volume(direction=TILTED)
    expected = tilted.image().TransformIndexToPhysicalPoint((4, 3, 2))
    np.testing.assert_allclose(tilted.geometry.affine_lps() @ [4, 3, 2, 1], [*expected, 1], atol=1e-9)


def test_voxel_volume_and_orders() -> None:
    geometry = volume().geometry
    assert geometry.voxel_ml == pytest.approx(0.0015)
    assert geometry.shape_zyx == (3, 4, 5)
    assert geometry.spacing_zyx_mm == (4.0, 0.75, 0.5)


def test_an_array_must_fit_its_grid() -> None:
    with pytest.raises(GeometryMismatch, match=r"\(3, 4, 6\).*\(3, 4, 5\)"):
        Volume(np.zeros((3, 4, 6)), volume().geometry)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_written_and_read(tmp_path: Path, suffix: str) -> None:
    original = volume(direction=TILTED)
    write_volume(tmp_path / f"a{suffix}", original)
    again = read_volume(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(again.array, original.array)
    assert again.geometry.same_grid(original.geometry)


def test_nifti_says_the_same_to_nibabel_and_holds_no_text(tmp_path: Path) -> None:
    original = volume(direction=TILTED)
    write_volume(tmp_path / "a.nii.gz", original)
    image = nibabel.load(tmp_path / "a.nii.gz")
    lps_to_ras = np.diag([-1.0, -1.0, 1.0, 1.0])
    np.testing.assert_allclose(image.affine, lps_to_ras @ original.geometry.affine_lps(), atol=1e-5)
    np.testing.assert_array_equal(np.asarray(image.dataobj), original.array.T)
    assert (image.header["descrip"].item(), image.header["aux_file"].item(), image.header["db_name"].item()) == (
        b"",
        b"",
        b"",
    )


def test_written_twice_it_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nii.gz", volume())
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("most", [0, 200, 3000])
def test_a_volume_that_does_not_fit_on_the_disk_is_an_error(tmp_path: Path, suffix: str, most: int) -> None:
    grid = Geometry((30, 20, 9), (1.0, 1.0, 3.0), (5.0, 6.0, 7.0), IDENTITY)
    noise = Volume(np.random.default_rng(0).integers(0, 999, (9, 20, 30)).astype(np.int16), grid)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"earlier")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)  # as a full disk, but without one
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(NotWritable, match=r"a\..*File too large"):
            write_volume(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"earlier"


def test_bool_becomes_uint8(tmp_path: Path) -> None:
    mask = Volume(volume().array > 7, volume().geometry)
    write_volume(tmp_path / "a.nii.gz", mask)
    assert read_volume(tmp_path / "a.nii.gz").array.dtype == np.uint8


def test_files_that_are_no_volume(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_volume(tmp_path / "no.nii.gz")
    (tmp_path / "text.nii.gz").write_text("not an image")
    with pytest.raises(BadInput, match="cannot be read as a volume"):
        read_volume(tmp_path / "text.nii.gz")
    sitk.WriteImage(sitk.Image([3, 3], sitk.sitkInt16), str(tmp_path / "flat.mha"))
    sitk.WriteImage(sitk.Image([3, 3, 3], sitk.sitkVectorInt16, 2), str(tmp_path / "colour.mha"))
    for name in ("flat", "colour"):
        with pytest.raises(BadInput, match="scalar 3D volume"):
            read_volume(tmp_path / f"{name}.mha")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_file_that_breaks_off_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    array = np.random.default_rng(0).integers(0, 500, (8, 32, 32)).astype(np.int16)
    whole = Volume(array, Geometry((32, 32, 8), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), IDENTITY))
    write_volume(tmp_path / f"a{suffix}", whole)
    content = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(content[: int(share * len(content))])
    with pytest.raises(BadInput, match=f"b{suffix}"):
        read_volume(tmp_path / f"b{suffix}")


def test_a_compressed_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    write_volume(tmp_path / "a.nii.gz", volume((6, 30, 30)))
    content = bytearray((tmp_path / "a.nii.gz").read_bytes())
    content[-6] ^= 0xFF  # in the checksum
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_of_other_programs_is_read_whatever_its_type(tmp_path: Path, dtype: type, suffix: str) -> None:
    array = (np.arange(2 * 3 * 4).reshape(4, 3, 2) * 5).astype(dtype)
    image = nibabel.Nifti1Image(array, np.diag([-1.0, -1.0, 1.0, 1.0]))
    image.header.set_slope_inter(2.0, 1.0)  # ITK then gives floats where the file holds integers
    nibabel.save(image, tmp_path / f"a{suffix}")
    found = read_volume(tmp_path / f"a{suffix}").array
    np.testing.assert_allclose(found, nibabel.load(tmp_path / f"a{suffix}").get_fdata().T)


@settings(max_examples=25, deadline=None)
@given(st.permutations([0, 1, 2]), st.tuples(*[st.sampled_from([1.0, -1.0])] * 3))
def test_reorient_moves_no_voxel(order: list[int], signs: tuple[float, float, float]) -> None:
    direction = np.zeros((3, 3))
    for axis, (row, sign) in enumerate(zip(order, signs, strict=True)):
        direction[row, axis] = sign
    original = volume(direction=tuple(direction.ravel()))
    turned = reorient(original)
    np.testing.assert_allclose(np.reshape(turned.geometry.direction, (3, 3)), [[0, 0, 1], [1, 0, 0], [0, -1, 0]])
    # Each voxel is found again at its place in space.
    inverse = np.linalg.inv(turned.geometry.affine_lps())
    for index in [(0, 0, 0), (4, 3, 2), (1, 2, 1)]:
        x, y, z = np.rint(inverse @ original.geometry.affine_lps() @ [*index, 1])[:3].astype(int)
        assert turned.array[z, y, x] == original.array[index[::-1]]


def test_sagittal_orientation_has_slices_first() -> None:
    assert SAGITTAL_ORIENTATION == "PIL"
    assert np.reshape(reorient(volume()).geometry.direction, (3, 3))[0, 2] == 1.0  # z of the array runs to the left


@pytest.mark.parametrize(
    ("name", "stem", "is_volume"),
    [("a.nii.gz", "a", True), ("a.b.NII", "a.b", True), ("a.dcm", "a.dcm", False), ("nii.gz", "nii.gz", False)],
)
def test_names(name: str, stem: str, is_volume: bool) -> None:
    assert volume_stem(Path(name)) == stem
    assert is_volume_file(Path(name)) is is_volume


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(tmp_path: Path, suffix: str, dtype: type, value: float) -> None:
    array = np.ones((3, 4, 5), dtype)
    array[0, 1, 2] = array[2, 3, 4] = value
    write_volume(tmp_path / f"a{suffix}", Volume(array, volume().geometry))
    with pytest.raises(NotFinite, match="has 2 voxels that are not finite") as refused:
        read_volume(tmp_path / f"a{suffix}")
    assert refused.value.voxels == 2


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_big_endian_nifti_is_looked_at_in_its_own_order(tmp_path: Path, suffix: str) -> None:
    array = np.full((70, 80, 90), 2.5, ">f4")  # more than a block of bytes
    array[69, 79, 89] = np.nan
    header = nibabel.Nifti1Header(endianness=">")
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]), header), tmp_path / f"a{suffix}")
    assert str(pickle.loads(pickle.dumps(NotFinite(Path("a.nii"), 2)))).startswith("a.nii has 2 voxels")
    with pytest.raises(NotFinite, match="has 1 voxels"):
        read_volume(tmp_path / f"a{suffix}")
    array[69, 79, 89] = 1.0
    nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]), header), tmp_path / f"a{suffix}")
    assert read_volume(tmp_path / f"a{suffix}").array[-1, -1, -1] == 1.0


def sheared_affine(shear: float) -> np.ndarray:
    """RAS; the second axis leans towards the first."""
    affine = np.diag([1.25, 1.5, 4.0, 1.0])
    affine[:3, 3] = 3.0, 4.0, 5.0
    affine[0, 1] = shear * 1.5
    return affine


@pytest.mark.parametrize("shear", [1e-4, 1e-3])
def test_a_nifti_whose_axes_are_nearly_at_right_angles_is_squared(tmp_path: Path, shear: float) -> None:
    array = np.arange(40 * 50 * 9, dtype=np.int16).reshape(40, 50, 9)
    image = nibabel.Nifti1Image(array, sheared_affine(shear))
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii.gz")
    found = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.array, array.T)
    direction = np.reshape(found.geometry.direction, (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    # The farthest corner is 24.5 rows from the center, where a shear moves voxels by half of it to each side.
    theirs = np.diag([-1.0, -1.0, 1.0, 1.0]) @ sheared_affine(shear)
    corner = np.array([39, 49, 8, 1.0])
    moved = np.linalg.norm((theirs - found.geometry.affine_lps()) @ corner)
    assert 0.5 * shear * 24.5 * 1.5 < moved < shear * 24.5 * 1.5
    note = read_volume_header(tmp_path / "a.nii.gz").axes_note()
    assert "not quite at right angles" in note
    assert f"{moved:.3f} mm" in note


def write_sheared(path: Path, affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(np.arange(40 * 50 * 9, dtype=np.int16).reshape(40, 50, 9), affine)
    image.set_qform(None, 0)
    nibabel.save(image, path)


@pytest.mark.parametrize("value", ["YES", "NO", "1", ""])
def test_the_users_environment_does_not_change_axes(tmp_path, monkeypatch, value) -> None:
    for name, shear in (("near", 1e-3), ("far", 0.02)):
        write_sheared(tmp_path / f"{name}.nii", sheared_affine(shear))
    monkeypatch.setenv("ITK_NIFTI_SFORM_PERMISSIVE", value)
    found = read_volume(tmp_path / "near.nii").geometry
    np.testing.assert_allclose(found.spacing_xyz_mm, (1.25, 1.5, 4.0), rtol=1e-3)
    np.testing.assert_allclose(np.reshape(found.direction, (3, 3)), np.diag([-1, -1, 1]), atol=1e-3)
    with pytest.raises(BadInput, match="not at right angles"):
        read_volume(tmp_path / "far.nii")
    assert os.environ["ITK_NIFTI_SFORM_PERMISSIVE"] == value


def test_threads_do_not_change_each_others_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread has ITK accept sheared axes, another one reads, or waits: it does not get ITK's own guess."""
    write_sheared(tmp_path / "a.nii", sheared_affine(1e-3))
    accepting, done, others = threading.Event(), threading.Event(), []
    wrapped = volume_headers.hushed

    def hushed() -> AbstractContextManager[None]:
        if threading.current_thread() is not threading.main_thread():
            if os.environ["ITK_NIFTI_SFORM_PERMISSIVE"] == "YES":
                accepting.set()
                done.wait(timeout=5)
        elif not others:  # the first look, at which ITK shall refuse the axes
            others.append(threads.submit(read_volume, tmp_path / "a.nii"))
            accepting.wait(timeout=1)
        return wrapped()

    monkeypatch.setattr(volume_headers, "hushed", hushed)
    with ThreadPoolExecutor(1) as threads:
        found = [read_volume(tmp_path / "a.nii")]
        done.set()
        found.append(others[0].result())
    for volume in found:
        np.testing.assert_allclose(volume.geometry.spacing_xyz_mm, (1.25, 1.5, 4.0), rtol=1e-3)
        np.testing.assert_allclose(np.reshape(volume.geometry.direction, (3, 3)), np.diag([-1, -1, 1]), atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_sheared_volume_is_refused_with_the_figure(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".nii.gz":
        image = nibabel.Nifti1Image(np.zeros((40, 50, 9), np.int16), sheared_affine(0.02))
        image.set_qform(None, 0)
        nibabel.save(image, path)
    else:
        directions = {
            ".nrrd": "space directions: (1.25,0,0) (0.03,1.5,0) (0,0,4)",
            ".mha": "TransformMatrix = 1 0 0 0.02 0.9998 0 0 0 1",
        }[suffix]
        path.write_bytes(header_of(suffix, directions) + bytes(2 * 40 * 50 * 9))
    with pytest.raises(BadInput, match=r"not at right angles.* corner moves by 0\.\d+ mm \(0\.\d+ of a voxel\)"):
        read_volume(path)


def header_of(suffix: str, directions: str) -> bytes:
    if suffix == ".nrrd":
        lines = ["NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "sizes: 40 50 9"]
        lines += [directions, "kinds: domain domain domain", "endian: little", "encoding: raw"]
        return "\n".join([*lines, "space origin: (0,0,0)", "", ""]).encode()
    lines = ["ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False", directions]
    lines += ["Offset = 0 0 0", "ElementSpacing = 1.25 1.5 4", "DimSize = 40 50 9", "ElementType = MET_SHORT"]
    return "\n".join([*lines, "ElementDataFile = LOCAL", ""]).encode()


def test_memory_that_does_not_suffice_is_the_reason_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(header: object) -> None:
        raise MemoryError

    write_volume(tmp_path / "a.nii.gz", volume())
    monkeypatch.setattr("nnunet_spine.images.read_voxels", refuse)
    with pytest.raises(BadInput, match="needs more memory"):
        read_volume(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_path_that_is_not_utf_8_is_refused_before_itk_ends_the_process(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "not\udcffutf8"
    volume = Volume(np.zeros((4, 5, 6), np.uint8), Geometry((6, 5, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), IDENTITY))
    with pytest.raises(NotWritable, match="has a name that is not UTF-8, which ITK cannot write to"):
        write_volume(folder / f"a{suffix}", volume)
    assert list(folder.iterdir()) == []
    write_volume(tmp_path / f"a{suffix}", volume)
    (tmp_path / f"a{suffix}").rename(folder / f"a{suffix}")
    with pytest.raises(BadInput, match="has a name, or a folder, that is not UTF-8, which ITK cannot open"):
        read_volume(folder / f"a{suffix}")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: os.mkfifo(path), "is a pipe; expected a volume file"),
        (lambda path: path.mkdir(), "is a folder; expected a volume file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device; expected a volume file"),
        (lambda path: path.symlink_to("annex"), "is a link to a file that is missing; expected a volume file"),
        (lambda path: path.symlink_to(path.name), "is out of reach (Too many levels of symbolic links)"),
    ],
)
def test_what_is_no_file_is_named_for_what_it_is(tmp_path: Path, make: Callable[[Path], object], told: str) -> None:
    make(tmp_path / "a.nii.gz")
    with pytest.raises(BadInput) as refused:
        read_volume(tmp_path / "a.nii.gz")
    assert told in str(refused.value)
