from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.neighbours import neighbour_pairs, slope_equations
from nnunet_spine.preprocessing.van_leemput import prior_precision

SHAPE = (6, 24, 20)


def test_pairs_by_hand() -> None:
    tissue = np.array([[[1, 1, 0], [1, 0, 1]]], bool)  # samples 0 1 . / 2 . 3
    first, second = neighbour_pairs(tissue)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1), (0, 2)]


def test_no_pairs_leave_the_prior() -> None:
    tissue = np.zeros((3, 3, 3), bool)
    tissue[0, 0, 0] = tissue[2, 2, 2] = True
    precision = prior_precision(2)
    matrix, right_side = slope_equations(np.array([1.0, 5.0]), np.ones((2, 9)), tissue, precision)
    np.testing.assert_array_equal(matrix, np.diag(precision))
    np.testing.assert_array_equal(right_side, 0.0)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_slopes_under_strong_contrasts(seed: int) -> None:
    """Tissues differ by a factor of 2.7 or more and the field by 4; a plain fit of the logarithms is far off."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.5)
    anatomy = np.select([smooth < np.quantile(smooth, 0.3), smooth < np.quantile(smooth, 0.7)], [0.0, 1.0], 2.2)
    tissue = rng.random(SHAPE) > 0.05
    indices = tuple(np.arange(n) for n in SHAPE)
    basis = polynomial.design(indices, SHAPE, 2, tissue)
    true = rng.normal(0, 0.4, basis.shape[1]) / [sum(e) for e in polynomial.exponents(2)]
    logs = anatomy[tissue] + basis @ true + rng.normal(0, 0.03, basis.shape[0])
    matrix, right_side = slope_equations(logs, basis, tissue, prior_precision(2))
    found = np.linalg.solve(matrix, right_side)
    with_mean = np.column_stack([basis, np.ones(len(basis))])
    plain = np.linalg.lstsq(with_mean, logs, rcond=None)[0][:-1]
    error, plain_error = (np.std(basis @ (c - true)) for c in (found, plain))
    assert error < 0.05
    assert error < 0.5 * plain_error
