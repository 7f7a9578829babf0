import math

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.evaluation.metrics import dice

masks = array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape))
)


def by_simpleitk(reference, prediction) -> float:
    measure = sitk.LabelOverlapMeasuresImageFilter()
    measure.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (reference, prediction)))
    return measure.GetDiceCoefficient()


@pytest.mark.parametrize(
    ("reference", "prediction", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0.0),
        ([1, 1, 0, 0], [0, 1, 1, 0], 0.5),
        ([1, 1, 1, 0], [1, 0, 0, 0], 0.5),  # 2 * 1 / (3 + 1)
        ([1, 0, 0, 0], [1, 1, 1, 1], 0.4),  # 2 * 1 / (1 + 4)
        ([1, 1, 0, 0], [0, 0, 0, 0], 0.0),
    ],
)
def test_dice_by_hand(reference, prediction, expected):
    assert dice(np.array(reference, bool), np.array(prediction, bool)) == expected


def test_dice_of_two_empty_masks_is_not_defined():
    assert math.isnan(dice(np.zeros((2, 3), bool), np.zeros((2, 3), bool)))


@settings(max_examples=60, deadline=None)
@given(masks)
def test_dice_is_simpleitks(pair):
    if any(mask.any() for mask in pair):
        assert dice(*pair) == pytest.approx(by_simpleitk(*pair), abs=1e-12)


def test_dice_is_monais():
    from monai.metrics.meandice import compute_dice
    from torch import from_numpy

    random = np.random.default_rng(3)
    for threshold in (0.2, 0.5, 0.9):
        reference, prediction = random.random((2, 1, 1, 4, 9, 7)) > threshold
        theirs = compute_dice(from_numpy(prediction).float(), from_numpy(reference).float()).item()
        assert dice(reference, prediction) == pytest.approx(theirs, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(masks)
def test_dice_does_not_depend_on_the_order(pair):
    assert np.array_equal(dice(*pair), dice(*pair[::-1]), equal_nan=True)


def test_dice_of_large_masks_does_not_overflow():
    mask = np.ones((300, 300, 300), bool)  # 2 * 27e6 voxels are past what float32 counts exactly
    other = mask.copy()
    other[0, 0, 0] = False
    assert dice(mask, other) == 2 * (300**3 - 1) / (2 * 300**3 - 1)


def test_dice_refuses_labels_and_other_shapes():
    with pytest.raises(BadInput, match="int64"):
        dice(np.ones(3, np.int64), np.ones(3, bool))
    with pytest.raises(GeometryMismatch, match=r"\(3,\).*\(4,\)"):
        dice(np.ones(3, bool), np.ones(4, bool))
