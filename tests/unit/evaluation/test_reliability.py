"""Bins, expected calibration error and Brier score, by hand and against a plain loop."""

import numpy as np
import pytest

from nnunet_spine.evaluation.reliability import reliability_of_cases, reliability_of_voxels


def loop_ece(probability, truth, bins=10):
    """Expected calibration error as its definition reads, in plain Python."""
    total, n = 0.0, len(probability)
    for k in range(bins):
        low, high = k / bins, (k + 1) / bins
        inside = [
            (p, y) for p, y in zip(probability, truth, strict=True) if low <= p < high or (k == bins - 1 and p == 1)
        ]
        if inside:
            confidence = sum(p for p, _ in inside) / len(inside)
            frequency = sum(1 for _, y in inside if y) / len(inside)
            total += len(inside) / n * abs(confidence - frequency)
    return total


def test_by_hand():
    found = reliability_of_voxels(np.array([0.05, 0.05, 0.95, 0.85]), np.array([False, True, True, True]))
    assert found.n == 4
    # Bins: 0.05 against 1/2 (2 voxels), 0.85 against 1, 0.95 against 1.
    assert found.ece == pytest.approx((2 * 0.45 + 0.15 + 0.05) / 4)
    assert found.brier == pytest.approx((0.05**2 + 0.95**2 + 0.05**2 + 0.15**2) / 4)
    assert [b.n for b in found.bins] == [2, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert (found.bins[0].mean_confidence, found.bins[0].frequency) == (pytest.approx(0.05), 0.5)
    assert (found.bins[1].mean_confidence, found.bins[1].frequency) == (None, None)


def test_a_value_on_an_edge_belongs_to_the_bin_above_it_and_1_to_the_last():
    edges = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    found = reliability_of_voxels(edges, np.zeros(11, bool))
    assert [b.n for b in found.bins] == [1] * 9 + [2]


@pytest.mark.parametrize("seed", range(10))
def test_against_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    p = rng.beta(0.4, 0.8, 700)
    y = rng.random(700) < p**1.5
    found = reliability_of_voxels(p.reshape(7, 10, 10), y.reshape(7, 10, 10))
    assert found.ece == pytest.approx(loop_ece(p.tolist(), y.tolist()), abs=1e-12)
    assert found.brier == pytest.approx(sum((a - b) ** 2 for a, b in zip(p, y, strict=True)) / 700)


def test_cases_add_up_to_the_whole():
    rng = np.random.default_rng(3)
    p, y = rng.random(100).astype(np.float32), rng.random(100) < 0.3
    whole = reliability_of_voxels(p, y)
    parts = reliability_of_voxels(p[:30], y[:30]) + reliability_of_voxels(p[30:], y[30:])
    assert parts.n == whole.n
    assert parts.ece == pytest.approx(whole.ece)
    assert parts.brier == pytest.approx(whole.brier)


def test_nothing_has_no_figures():
    found = reliability_of_voxels(np.zeros(0), np.zeros(0, bool))
    assert (found.n, found.ece, found.brier) == (0, None, None)


def test_cases_in_groups_of_equal_number():
    confidence = [k / 10 for k in range(10)]
    outcome = [False] * 4 + [True] * 6
    found = reliability_of_cases(confidence[::-1], outcome[::-1])
    assert [(b.low, b.high, b.n) for b in found.bins] == [(0.0, 0.4, 5), (0.5, 0.9, 5)]
    # Groups: mean 0.2 against 1/5, mean 0.7 against 5/5.
    assert found.ece == pytest.approx((0 + 0.3) / 2)
    assert found.brier == pytest.approx((0 + 0.01 + 0.04 + 0.09 + 0.36 + 0.25 + 0.16 + 0.09 + 0.04 + 0.01) / 10)


@pytest.mark.parametrize(("n", "groups"), [(0, 0), (4, 0), (5, 1), (9, 1), (24, 4), (58, 5)])
def test_number_of_groups_for_few_cases(n, groups):
    found = reliability_of_cases([0.5] * n, [True] * n)
    assert (len(found.bins) if found else 0) == groups
    assert found is None or sum(b.n for b in found.bins) == n
