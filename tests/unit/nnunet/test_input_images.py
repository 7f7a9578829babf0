"""New images in a folder: which are taken, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, write_volume
from nnunet_spine.nnunet.input_images import find_images, forms_warning, orientation_warning
from nnunet_spine.nnunet.orientation import Orientation


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_each_format_is_taken_under_any_name(tmp_path: Path) -> None:
    names = ("a_0000.nii.gz", "b b_0000.nii", "{c}_0000.nrrd", "dü_0000.mha", "e#:'_0000.NII.GZ", "f_0001_0000.nii")
    images, warnings = find_images(touch(tmp_path, *names, "notes.txt", ".hidden_0000.nii.gz", "._a_0000.nii.gz"))
    assert {case: path.name for case, path in images.items()} == {
        name.rpartition("_0000")[0]: name for name in sorted(names)
    }
    assert warnings == []


def test_what_is_not_predicted_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a.nii.gz", "b.nii.gz", "a_0001.nii.gz", *[f"c{n}.nrrd" for n in range(5)])
    (warning,) = find_images(tmp_path)[1]
    assert warning.startswith("7 volumes are not predicted, since they are not named CASE_0000 and one of")
    assert "a_0001.nii.gz, b.nii.gz, c0.nrrd, c1.nrrd, c2.nrrd and 2 more" in warning


@pytest.mark.parametrize("names", [("a_0000.nii.gz", "a_0000.nii"), ("a_0000.nrrd", "a_0000.mha")])
def test_two_files_of_a_case_are_refused(tmp_path: Path, names: tuple[str, str]) -> None:
    with pytest.raises(BadInput, match="for one case. Keep one"):
        find_images(touch(tmp_path, *names))


def test_no_folder_and_no_image(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="does not exist"):
        find_images(tmp_path / "none")
    touch(tmp_path, "file")
    with pytest.raises(NotFound, match="it is a file"):
        find_images(tmp_path / "file")
    with pytest.raises(BadInput, match="There is no image in"):
        find_images(tmp_path)
    touch(tmp_path, "_0000.nii.gz")
    with pytest.raises(BadInput, match="names its case with 0"):
        find_images(tmp_path)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    for name, make, words in (
        ("a", lambda path: path.mkdir(), "is a folder"),
        ("b", lambda path: path.symlink_to(tmp_path / "nothing"), "is a link to nothing"),
        ("c", os.mkfifo, "is no regular file"),
    ):
        folder = touch(tmp_path / name, "z_0000.nii.gz")
        make(folder / "y_0000.nii.gz")
        with pytest.raises(BadInput, match=words):
            find_images(folder)


def test_names_that_no_result_can_have(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="more than 200 bytes"):
        find_images(touch(tmp_path / "a", "x" * 201 + "_0000.nii.gz"))
    find_images(touch(tmp_path / "b", "x" * 200 + "_0000.nii.gz"))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / os.fsdecode(b"\xff\xfe_0000.nii.gz")).write_bytes(b"")
    with pytest.raises(BadInput, match="no text"):
        find_images(tmp_path / "c")
    with pytest.raises(BadInput, match=r"'a\\nb_0000"):
        find_images(touch(tmp_path / "d", "a\nb_0000.nii.gz"))


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    touch(tmp_path / "a", "a_0000.nii.gz").chmod(0o300)
    with pytest.raises(BadInput, match="Permission denied"):
        find_images(tmp_path / "a")


def test_an_oblique_image_is_warned_of(tmp_path: Path) -> None:
    turn = np.radians(20.0)
    direction = (np.cos(turn), -np.sin(turn), 0.0, np.sin(turn), np.cos(turn), 0.0, 0.0, 0.0, 1.0)
    volume = Volume(np.zeros((3, 4, 5), np.int16), Geometry((5, 4, 3), (1.0, 1.0, 3.0), (0.0, 0.0, 0.0), direction))
    path = tmp_path / "a_0000.nii.gz"
    write_volume(path, volume)
    warned = orientation_warning("a", path, Orientation("PIL", 12.5))
    assert warned.startswith("a is oblique by 20.0 degrees from LPS, and the training images by at most 12.5")
    assert orientation_warning("a", path, Orientation("PIL", 19.0)) == ""
    assert orientation_warning("a", path, Orientation("PIL")) == ""
    path.write_bytes(b"damaged")
    assert orientation_warning("a", path, Orientation("PIL", 12.5)) == ""


@pytest.mark.parametrize(("moved_mm", "words"), [(0.0, ""), (0.09, ""), (0.2, "0.2 mm apart"), (7.5, "7.5 mm apart")])
def test_an_image_whose_forms_place_it_apart_is_warned_of(tmp_path: Path, moved_mm: float, words: str) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
    image.set_sform(image.affine, 1)
    other = image.affine.copy()
    other[0, 3] += moved_mm
    image.set_qform(other, 1)
    path = tmp_path / "a_0000.nii.gz"
    nibabel.save(image, path)
    warned = forms_warning("a", path)
    assert words in warned
    assert bool(words) == bool(warned)
    image.set_qform(other, 0)
    nibabel.save(image, path)
    assert forms_warning("a", path) == ""
    path.write_bytes(b"damaged")
    assert forms_warning("a", path) == ""
