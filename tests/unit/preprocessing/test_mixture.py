from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from nnunet_spine.preprocessing.mixture import LEAST_VARIANCE, Mixture, expect, starting_mixture, update


def random_mixture(rng: np.random.Generator, classes: int) -> Mixture:
    weights = rng.dirichlet(np.ones(classes)) + 1e-6
    return Mixture(rng.normal(3, 1, classes), rng.uniform(0.01, 1, classes), weights / weights.sum())


@given(st.integers(0, 2**31), st.integers(1, 9))
def test_expectation_agrees_with_scipys_normal_distribution(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    mixture, flat = random_mixture(rng, classes), rng.normal(3, 2, 40)
    scores = np.log(mixture.weights) + stats.norm.logpdf(flat[:, None], mixture.means, np.sqrt(mixture.variances))
    posteriors, likelihood = expect(flat, mixture)
    np.testing.assert_allclose(posteriors, np.exp(scores - logsumexp(scores, axis=1, keepdims=True)), atol=1e-10)
    assert likelihood == pytest.approx(logsumexp(scores, axis=1).sum(), rel=1e-10)


def test_update_by_hand() -> None:
    mixture = update(np.array([1.0, 3.0, 10.0]), np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_allclose(mixture.means, [2.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(mixture.variances, [1.0, LEAST_VARIANCE], rtol=1e-6)
    np.testing.assert_allclose(mixture.weights, [2 / 3, 1 / 3], rtol=1e-6)


def test_a_class_without_samples_stays_usable() -> None:
    mixture = update(np.array([1.0, 2.0]), np.array([[1.0, 0.0], [1.0, 0.0]]))
    posteriors, likelihood = expect(np.array([1.0, 2.0]), mixture)
    assert np.isfinite(posteriors).all()
    assert np.isfinite(likelihood)


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_one_step_never_lowers_the_likelihood(seed: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    flat = np.concatenate([rng.normal(m, 0.2, 30) for m in rng.normal(3, 1, 3)])
    start = starting_mixture(flat, classes)
    posteriors, before = expect(flat, start)
    _, after = expect(flat, update(flat, posteriors))
    assert after >= before - 1e-6 * abs(before)


def test_start_by_hand() -> None:
    mixture = starting_mixture(np.arange(101.0), 2)
    np.testing.assert_allclose(mixture.means, [25.0, 75.0])
    np.testing.assert_allclose(mixture.weights, 0.5)
    assert mixture.variances[0] == pytest.approx((101**2 - 1) / 12 / 4)
