from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.evaluation.masks import foreground, locate_predictions, read_mask, volumes_by_case

FOLD_OF = {"a": 0, "b": 1}


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_foreground_is_what_is_above_0(dtype):
    mask, unexpected = foreground(np.array([0, 1, 0, 1], dtype))
    assert mask.tolist() == [False, True, False, True]
    assert unexpected == ()


def test_foreground_names_other_labels():
    mask, unexpected = foreground(np.array([3, -1, 0, 1, 2, 3]))
    assert mask.tolist() == [True, False, False, True, True, True]
    assert unexpected == (-1, 2, 3)


@pytest.mark.parametrize("value", [0.5, 1.0001, np.nan, np.inf])
def test_foreground_refuses_what_is_no_label(value):
    with pytest.raises(BadInput, match="no label map"):
        foreground(np.array([0.0, 1.0, value]))


def test_read_mask_has_the_volume_in_ml(tmp_path):
    array = np.zeros((2, 3, 4), np.uint8)
    array[0, 0, :3] = 1
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 5.0, 10.0))
    sitk.WriteImage(image, str(tmp_path / "a.nii.gz"))
    assert read_mask(tmp_path / "a.nii.gz").volume_ml == pytest.approx(0.3)  # 3 voxels of 100 mm3


def test_volumes_by_case_leaves_out_what_is_no_volume(tmp_path):
    touch(*(tmp_path / n for n in ("a.nii.gz", "b.mha", "dataset.json", "plans.json", ".partial.c.nii.gz")))
    assert list(volumes_by_case(tmp_path)) == ["a", "b"]
    assert volumes_by_case(tmp_path / "absent") == {}


def test_volumes_by_case_refuses_two_files_of_a_case(tmp_path):
    touch(tmp_path / "a.nii.gz", tmp_path / "a.nrrd")
    with pytest.raises(BadInput, match=r"a\.nii\.gz and a\.nrrd"):
        volumes_by_case(tmp_path)


def test_locate_in_a_flat_folder(tmp_path):
    touch(tmp_path / "a.nii.gz", tmp_path / "z.nii.gz")
    located = locate_predictions(tmp_path, FOLD_OF)
    assert located.paths == {"a": tmp_path / "a.nii.gz"}
    assert located.extra == ("z.nii.gz",)


def test_locate_takes_a_case_only_from_the_fold_that_tests_it(tmp_path):
    folders = {k: tmp_path / f"fold_{k}" / "validation" for k in (0, 1)}
    touch(folders[0] / "a.nii.gz", folders[0] / "b.nii.gz", folders[1] / "b.nii.gz", tmp_path / "plans.json")
    located = locate_predictions(tmp_path, FOLD_OF)
    assert located.paths == {"a": folders[0] / "a.nii.gz", "b": folders[1] / "b.nii.gz"}
    assert located.extra == ("fold_0/validation/b.nii.gz",)


def test_locate_does_not_take_a_case_from_a_fold_that_trained_on_it(tmp_path):
    touch(tmp_path / "fold_0" / "validation" / "a.nii.gz", tmp_path / "fold_0" / "validation" / "b.nii.gz")
    assert set(locate_predictions(tmp_path, FOLD_OF).paths) == {"a"}


def test_locate_says_where_it_looked(tmp_path):
    with pytest.raises(NotFound, match="no folder"):
        locate_predictions(tmp_path / "absent", FOLD_OF)
    with pytest.raises(NotFound, match=r"looked for CASE\.nii\.gz in it"):
        locate_predictions(tmp_path, FOLD_OF)
    (tmp_path / "fold_0").mkdir()
    with pytest.raises(NotFound, match=r"fold folders \(fold_0\)"):
        locate_predictions(tmp_path, FOLD_OF)


@pytest.mark.parametrize("given", [".", "fold_all", "fold_all/validation"])
def test_locate_refuses_the_model_of_all_cases(tmp_path, given):
    touch(tmp_path / "fold_all" / "validation" / "a.nii.gz")
    with pytest.raises(BadInput, match=r"fold `all`, which trained on every case: there are no test cases"):
        locate_predictions(tmp_path / given, FOLD_OF)


def test_locate_takes_the_numbered_folds_beside_the_one_of_all_cases(tmp_path):
    touch(tmp_path / "fold_all" / "validation" / "a.nii.gz", tmp_path / "fold_0" / "validation" / "a.nii.gz")
    located = locate_predictions(tmp_path, FOLD_OF)
    assert located.paths == {"a": tmp_path / "fold_0" / "validation" / "a.nii.gz"}
    assert located.extra == ()
