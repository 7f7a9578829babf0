import math

import numpy as np
import pytest

from nnunet_spine.evaluation.calibration import calibrate, rank_correlation
from nnunet_spine.evaluation.certainty import Certainty
from nnunet_spine.evaluation.reliability import reliability_of_voxels


def case(fact, number, dice, *, expected, detection=0.8, entropy=0.3, p=(0.2, 0.9), y=(False, True)):
    voxels = reliability_of_voxels(np.array(p), np.array(y))
    return fact(f"c{number}", dice, certainty=Certainty(detection, expected, entropy), voxels=voxels)


def test_voxels_of_all_cases_together(fact):
    facts = [
        case(fact, 0, 0.5, expected=0.6, p=(0.25, 0.25), y=(False, True)),
        case(fact, 1, 0.5, expected=0.6, p=(0.95, 0.95, 0.25), y=(True, True, False)),
        fact("without", 0.5),
    ]
    found = calibrate(facts)
    assert found.judged == 3
    assert found.voxels.n == 5
    # 0.25 against 1/3 (3 voxels), 0.95 against 1 (2 voxels).
    assert found.voxels.ece == pytest.approx((3 * abs(0.25 - 1 / 3) + 2 * 0.05) / 5)
    rows = found.bin_rows()
    assert [row["n"] for row in rows if row["level"] == "voxel"] == [0, 0, 3, 0, 0, 0, 0, 0, 0, 2]
    assert not [row for row in rows if row["level"] == "case"]  # 2 cases make no group
    assert "2 of 3 cases" in next(found.sentences())


def test_a_model_that_promises_too_much(fact):
    found = calibrate([case(fact, k, k / 10, expected=k / 10 + 0.3, detection=0.9) for k in range(6)])
    assert found.dice_gap == pytest.approx(0.3)
    expected, entropy, detection = found.correlations
    assert (expected.rho, entropy.rho, detection.rho) == (1.0, None, None)  # the others do not vary
    # One group of six: confidence 0.9 against 5 detected of 6.
    assert found.detection.ece == pytest.approx(0.9 - 5 / 6)
    text = " ".join(found.sentences())
    assert "Expected minus actual Dice: +0.30 on average." in text
    assert "expected Dice +1.00" in text
    assert "entropy not defined, n = 6, no spread" in text


def test_fewer_than_five_cases_are_not_judged(fact):
    found = calibrate([case(fact, k, k / 10, expected=k / 10) for k in range(4)])
    assert (found.detection, found.dice_gap) == (None, None)
    assert [c.rho for c in found.correlations] == [None] * 3
    text = " ".join(found.sentences())
    assert "Detection: n < 5, not judged." in text
    assert "expected Dice not judged, n = 4" in text
    content = found.to_json()
    assert (content["detection"], content["rank_correlations_with_dice"][0]["n"]) == (None, 4)


def test_no_case_detected(fact):
    found = calibrate([case(fact, k, 0.0, expected=k / 10, detection=0.1 * k) for k in range(6)])
    assert [c.rho for c in found.correlations] == [None] * 3
    assert found.detection.bins[0].observed == 0


def test_without_probabilities_there_is_nothing(fact):
    found = calibrate([fact("a", 0.5)])
    assert (found.to_json(), found.bin_rows(), found.case_rows(), list(found.sentences())) == (None, [], [], [])


def test_rows_of_cases(fact):
    (row,) = calibrate([case(fact, 0, 0.5, expected=0.6)]).case_rows()
    assert (row["case"], row["expected_dice"], row["detection_confidence"], row["entropy_bits"]) == (
        "c0",
        0.6,
        0.8,
        0.3,
    )
    assert row["voxel_brier"] == pytest.approx((0.04 + 0.01) / 2)


def test_rank_correlation_by_hand():
    """Ranks 1 2 3 4 5 against 2 1 4 3 5: rho = 1 - 6 * 4 / (5 * 24) = 0.8."""
    found = rank_correlation("x", [0.1, 0.2, 0.3, 0.4, 0.5, None], [0.2, 0.1, 0.4, 0.3, 0.5, 0.9])
    assert (found.n, found.rho) == (5, pytest.approx(0.8))
    half = 1.959964 * math.sqrt((1 + 0.32) / 2)
    centre = 0.5 * math.log(1.8 / 0.2)
    ends = [(math.exp(2 * z) - 1) / (math.exp(2 * z) + 1) for z in (centre - half, centre + half)]
    assert [found.low, found.high] == pytest.approx(ends, abs=1e-5)


def test_ties_share_their_mean_rank():
    """Ranks 1.5 1.5 3 4 5 against 1 2 3 4 5: Pearson's correlation of the ranks is 9.5 / sqrt(9.5 * 10)."""
    found = rank_correlation("x", [0.0, 0.0, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert found.rho == pytest.approx(9.5 / math.sqrt(95))
