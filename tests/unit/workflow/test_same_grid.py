from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.images import Volume
from nnunet_spine.workflow.same_grid import read_with_spacing, write_into_grid_of

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha")


def write_oblique(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = sitk.GetImageFromArray(rng.integers(-5, 300, (5, 6, 7)).astype(np.int16))
    image.SetSpacing(rng.uniform(0.3, 5, 3).tolist())
    image.SetOrigin(rng.uniform(-300, 300, 3).tolist())
    image.SetDirection(np.linalg.qr(rng.normal(size=(3, 3)))[0].ravel().tolist())
    sitk.WriteImage(image, str(path))


def grid(path: Path) -> tuple[tuple[float, ...], ...]:
    image = sitk.ReadImage(str(path))
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_oblique_grid_is_kept_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    plainly_written = []
    for seed in range(20):
        source, target, plain = (tmp_path / f"{name}{suffix}" for name in ("source", "target", "plain"))
        write_oblique(source, seed)
        volume = read_with_spacing(source)
        values = (volume.array / 7).astype(np.float32)
        write_into_grid_of(target, Volume(values, volume.geometry), source)
        assert grid(target) == grid(source)
        written = sitk.ReadImage(str(target))
        assert written.GetPixelID() == sitk.sitkFloat32
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written), values)
        sitk.WriteImage(volume.image(), str(plain))
        plainly_written.append(grid(plain) == grid(source))
    if suffix != ".mha":
        assert not all(plainly_written)  # else this test would not see what it is for


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_nifti_header_gives_its_place_and_nothing_else(tmp_path: Path, order: str) -> None:
    affine = np.array([[0.7, 0.1, 0, -30.1], [-0.1, 0.7, 0, 5], [0, 0, 3.3, 7.7], [0, 0, 0, 1]])
    header = nibabel.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    header["descrip"], header["aux_file"], header["intent_name"] = b"Quirke^Ada", b"Quirke", b"Quirke"
    source = nibabel.Nifti1Image(np.arange(210).reshape(7, 6, 5).astype(np.int16), affine, header)
    source.set_sform(affine, 1)
    source.set_qform(affine, 2)
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Quirke"))
    source.to_filename(tmp_path / "source.nii")
    volume = read_with_spacing(tmp_path / "source.nii")
    write_into_grid_of(tmp_path / "target.nii", volume, tmp_path / "source.nii")
    ours, theirs = (nibabel.load(tmp_path / f"{name}.nii").header for name in ("target", "source"))
    for name in ("pixdim", "qform_code", "sform_code", "quatern_b", "qoffset_x", "srow_x", "srow_z", "xyzt_units"):
        np.testing.assert_array_equal(ours[name], theirs[name])
    assert (int(ours["qform_code"]), int(ours["sform_code"])) == (2, 1)
    assert b"Quirke" in (tmp_path / "source.nii").read_bytes()
    assert b"Quirke" not in (tmp_path / "target.nii").read_bytes()
    np.testing.assert_array_equal(nibabel.load(tmp_path / "target.nii").get_fdata(), source.get_fdata())


def test_an_nrrd_in_another_space_keeps_its_words(tmp_path: Path) -> None:
    voxels = np.arange(60, dtype="<f4").tobytes()
    header = (
        b"NRRD0005\n# Quirke\ntype: float\ndimension: 3\nspace: RAS\nsizes: 5 4 3\n"
        b"space directions: (0.5,0.1,0) (-0.1,0.5,0) (0,0,3.3)\nspace origin: (1.1,2.2,3.3)\n"
        b"patient:=Quirke\nendian: little\nencoding: raw\n\n"
    )
    (tmp_path / "source.nrrd").write_bytes(header + voxels)
    volume = read_with_spacing(tmp_path / "source.nrrd")
    write_into_grid_of(tmp_path / "target.nrrd", volume, tmp_path / "source.nrrd")
    written = (tmp_path / "target.nrrd").read_bytes()
    assert b"\nspace directions: (0.5,0.1,0) (-0.1,0.5,0) (0,0,3.3)\n" in written
    assert b"Quirke" not in written
    assert grid(tmp_path / "target.nrrd") == grid(tmp_path / "source.nrrd")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "target.nrrd"))), volume.array)


def test_an_nrrd_without_a_space(tmp_path: Path) -> None:
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 5 4 3\nspacings: 0.3 0.7 3.3\nencoding: raw\n\n"
    (tmp_path / "source.nrrd").write_bytes(header + bytes(range(60)))
    volume = read_with_spacing(tmp_path / "source.nrrd")
    write_into_grid_of(tmp_path / "target.nrrd", volume, tmp_path / "source.nrrd")
    assert grid(tmp_path / "target.nrrd")[1] == (0.3, 0.7, 3.3)


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 4.0), (1.0, np.nan, 4.0), (1.0, 1.0, -2.0), (np.inf, 1.0, 1.0)])
@pytest.mark.parametrize("packed", [False, True])
def test_a_nifti_without_spacing_is_refused(
    tmp_path: Path, spacing: tuple[float, ...], packed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    image = nibabel.Nifti1Image(np.zeros((7, 6, 5), np.int16), None)
    image.header["pixdim"][1:4] = spacing
    path = tmp_path / ("image.nii.gz" if packed else "image.nii")
    image.to_filename(path)
    with pytest.raises(BadInput, match=r"image\.nii.* gives a voxel spacing of .*; expected numbers above 0"):
        read_with_spacing(path)
    assert capfd.readouterr().err == ""


def test_a_nifti_in_no_place_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    image = nibabel.Nifti1Image(np.zeros((7, 6, 5), np.int16), None)
    image.header["sform_code"] = 1
    image.header["srow_x"] = np.nan
    image.to_filename(tmp_path / "image.nii")
    with pytest.raises(BadInput, match="not finite"):
        read_with_spacing(tmp_path / "image.nii")
    assert capfd.readouterr().err == ""


def test_what_is_no_nifti_is_told_by_the_reader(tmp_path: Path) -> None:
    for name, content in (("empty.nii", b""), ("text.nii", b"hello"), ("cut.nii.gz", gzip.compress(bytes(400))[:20])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=name):
            read_with_spacing(tmp_path / name)
    with pytest.raises(NotFound):
        read_with_spacing(tmp_path / "absent.nii")


def test_a_nifti_2_is_told_by_its_name(tmp_path: Path) -> None:
    nibabel.Nifti2Image(np.zeros((7, 6, 5), np.int16), np.eye(4)).to_filename(tmp_path / "b.nii.gz")
    with pytest.raises(BadInput, match=r"b\.nii\.gz is NIfTI-2, which ITK does not read\. Save it as NIfTI-1"):
        read_with_spacing(tmp_path / "b.nii.gz")


def test_a_damaged_extension_of_a_header_is_no_hindrance(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((7, 6, 5), np.int16), np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 20))
    image.to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[352:356] = (-5).to_bytes(4, "little", signed=True)  # the size of the extension
    (tmp_path / "a.nii").write_bytes(content)
    assert read_with_spacing(tmp_path / "a.nii").geometry.size_xyz == (7, 6, 5)
