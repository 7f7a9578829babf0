import numpy as np
import pytest
from scipy import ndimage

from nnunet_spine.evaluation.boxes import bounding_box, box_around, crop_to_union


@pytest.mark.parametrize("share", [1.0, 0.3, 0.01, 0.002])
def test_the_box_is_the_one_that_scipy_finds(share: float) -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        mask = generator.random((5, 11, 12)) < share
        mask[tuple(generator.integers(mask.shape))] = True
        assert bounding_box(mask) == ndimage.find_objects(mask.astype(int))[0]


def test_the_box_of_nothing_is_one_voxel() -> None:
    assert bounding_box(np.zeros((3, 4, 5), bool)) == (slice(0, 1),) * 3


def test_a_box_has_its_margin_as_far_as_the_array_goes() -> None:
    mask = np.zeros((5, 20, 20), bool)
    mask[1, 8:10, 3] = True  # 5 mm are 2 slices of 4 mm, 5 rows of 1 mm, 3 columns of 2 mm
    assert box_around(mask, (4.0, 1.0, 2.0), 5.0) == (slice(0, 4), slice(3, 15), slice(0, 7))


def test_the_union_holds_all_voxels_of_both() -> None:
    reference, prediction = np.zeros((2, 4, 5, 6), bool)
    reference[1, 2, 3] = prediction[2, 1, 3] = True
    cut, other = crop_to_union(reference, prediction)
    assert cut.tolist() == [[[False], [True]], [[False], [False]]]
    assert other.tolist() == [[[False], [False]], [[True], [False]]]
