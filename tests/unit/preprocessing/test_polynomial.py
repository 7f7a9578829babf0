from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.legendre import leggrid3d

from nnunet_spine.preprocessing.polynomial import axis_basis, evaluate, exponents, products


@pytest.mark.parametrize(("order", "count"), [(0, 0), (1, 3), (2, 9), (3, 19), (4, 34)])
def test_number_of_products(order: int, count: int) -> None:
    # Polynomials of total degree up to n in three variables are (n + 3 choose 3); the constant is left out.
    assert len(exponents(order)) == count


def test_a_lower_order_comes_first_in_a_higher_one() -> None:
    assert exponents(4)[:9] == exponents(2)


def test_axis_by_hand() -> None:
    # At -1, 0 and 1: P0 = 1; P1 = x; P2 = (3 x^2 - 1)/2.
    np.testing.assert_allclose(axis_basis(np.arange(3), 3, 2), [[1, -1, 1], [1, 0, -0.5], [1, 1, 1]])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**31), st.tuples(*[st.integers(4, 9)] * 3))
def test_evaluation_agrees_with_numpys(order: int, seed: int, shape: tuple[int, int, int]) -> None:
    coefficients = np.random.default_rng(seed).normal(size=len(exponents(order)))
    cube = np.zeros((order + 1,) * 3)
    for exponent, value in zip(exponents(order), coefficients, strict=True):
        cube[exponent] = value
    axes = [np.linspace(-1, 1, n) for n in shape]
    np.testing.assert_allclose(evaluate(coefficients, shape, order), leggrid3d(*axes, cube), atol=1e-4)


def test_samples_have_the_values_of_the_whole_grid() -> None:
    rng = np.random.default_rng(1)
    shape = (9, 40, 30)
    indices = (np.array([1, 4, 7]), np.array([3, 20, 36]), np.array([5, 15, 25]))
    coefficients = rng.normal(size=len(exponents(3)))
    whole = evaluate(coefficients, shape, 3)[np.ix_(*indices)]
    np.testing.assert_allclose(np.tensordot(coefficients, products(indices, shape, 3), axes=1), whole, atol=1e-4)
