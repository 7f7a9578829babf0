import math

import numpy as np
import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.certainty import certainty_of, entropy_bits, expected_dice, voxel_reliability

SHAPE = (3, 4, 5)


def volume(*values: float) -> np.ndarray:
    """Probabilities that begin with `values` and are 0 elsewhere."""
    flat = np.zeros(60, np.float32)
    flat[: len(values)] = values
    return flat.reshape(SHAPE)


def test_by_hand():
    probability = volume(1.0, 0.75, 0.25)
    found = certainty_of(probability, probability >= 0.5)
    assert found.detection == pytest.approx(0.875)
    assert found.expected_dice == pytest.approx(2 * 1.75 / (2 + 2.0))
    # H(1) = 0; H(3/4) = 2 - 3/4 log2(3) bits.
    assert found.entropy_bits == pytest.approx((2 - 0.75 * math.log2(3)) / 2, abs=1e-6)


def test_an_empty_prediction_has_the_images_highest_probability_and_no_entropy():
    found = certainty_of(volume(0.4, 0.1), np.zeros(SHAPE, bool))
    assert found.detection == pytest.approx(0.4)
    assert (found.expected_dice, found.entropy_bits) == (0.0, None)
    assert certainty_of(volume(), np.zeros(SHAPE, bool)).expected_dice is None


def test_probabilities_of_another_prediction_are_refused():
    mask = np.zeros(SHAPE, bool)
    mask[2] = True
    with pytest.raises(BadInput, match="Only 0 % of the predicted voxels"):
        certainty_of(volume(0.9, 0.9), mask)


def test_a_prediction_that_was_reduced_later_is_accepted():
    probability = volume(0.9, 0.9, 0.9)
    assert certainty_of(probability, volume(1.0) > 0).detection == pytest.approx(0.9)


def test_entropy_is_defined_at_both_ends():
    np.testing.assert_allclose(entropy_bits(np.array([0.0, 0.5, 1.0])), [0, 1, 0])


def test_expected_dice_of_a_calibrated_model_is_its_dice_on_average():
    """Draw references from the probabilities: the mean Dice comes near what was expected."""
    rng = np.random.default_rng(0)
    probability = rng.beta(0.5, 0.5, (8, 20, 20))
    prediction = probability >= 0.5
    drawn = []
    for _ in range(50):
        truth = rng.random(probability.shape) < probability
        drawn.append(2 * (truth & prediction).sum() / (truth.sum() + prediction.sum()))
    assert expected_dice(probability, prediction) == pytest.approx(np.mean(drawn), abs=0.005)


def test_voxels_are_judged_around_reference_and_prediction_alone():
    probability = np.full((9, 40, 60), 0.3, np.float32)
    reference, prediction = np.zeros(probability.shape, bool), np.zeros(probability.shape, bool)
    reference[4, 12, 12] = True
    prediction[4, 12, 14] = True
    found = voxel_reliability(probability, reference, prediction, (4.0, 1.0, 2.0))
    # 10 mm are 2 slices, 10 rows, 5 columns: 5 x 21 x (3 + 10) voxels.
    assert found.n == 5 * 21 * 13
    assert sum(b.observed for b in found.bins) == 1


def test_the_region_ends_at_the_border_and_two_places_do_not_fill_what_lies_between():
    probability = np.zeros((1, 1, 100), np.float32)
    reference, prediction = np.zeros(probability.shape, bool), np.zeros(probability.shape, bool)
    reference[0, 0, 0] = prediction[0, 0, 60] = True
    assert voxel_reliability(probability, reference, prediction, (4.0, 1.0, 1.0)).n == 11 + 21


def test_two_empty_masks_have_no_region():
    nothing = np.zeros(SHAPE, bool)
    assert voxel_reliability(volume(0.2), nothing, nothing, (1.0, 1.0, 1.0)).n == 0
