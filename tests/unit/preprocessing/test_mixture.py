from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from nnunet_spine.preprocessing.mixture import LEAST_VARIANCE, MOST_ITERATIONS, MixtureFit, Prior, fit_mixture

SAMPLES = 400


def random_problem(
    seed: int, functions: int, tissues: int, noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Prior]:
    """Log intensities of some tissues under a field, the basis, the field's coefficients, and a prior near them."""
    rng = np.random.default_rng(seed)
    basis = rng.uniform(-1, 1, (functions, SAMPLES))
    truth = rng.normal(0, 0.3, functions)
    tissue = rng.integers(0, tissues, SAMPLES)
    logs = rng.normal(4, 1, tissues)[tissue] + truth @ basis + rng.normal(0, noise, SAMPLES)
    root = rng.normal(size=(functions, functions))
    return logs, basis, truth, Prior(truth + rng.normal(0, 0.1, functions), root @ root.T * rng.uniform(0, 50))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 8), st.integers(1, 6), st.integers(1, 9), st.floats(0.0, 0.5))
def test_the_objective_never_falls(seed: int, functions: int, tissues: int, classes: int, noise: float) -> None:
    logs, basis, _, prior = random_problem(seed, functions, tissues, noise)
    fit = fit_mixture(logs, basis, prior, classes)
    assert np.isfinite(fit.objective).all()
    assert (np.diff(fit.objective) >= -1e-6 * np.abs(fit.objective[:-1])).all()
    assert fit.converged or len(fit.objective) == MOST_ITERATIONS + 1


def by_scipy(fit: MixtureFit, logs: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Log of weight times density of each class, shape (classes, samples)."""
    flat, classes = logs - fit.coefficients @ basis, fit.classes
    density = stats.norm.logpdf(flat, classes.means[:, None], np.sqrt(classes.variances)[:, None])
    return np.asarray(np.log(classes.weights)[:, None] + density)


@pytest.mark.parametrize("functions", [0, 3, 9])
def test_objective_and_posteriors_agree_with_scipys_normal_distribution(functions: int) -> None:
    logs, basis, _, prior = random_problem(5, functions, 3, 0.1)
    fit = fit_mixture(logs, basis, prior, 4)
    scores = by_scipy(fit, logs, basis)
    if functions:
        at_prior = stats.multivariate_normal(prior.mean, np.linalg.inv(prior.precision))
        penalty = at_prior.logpdf(prior.mean) - at_prior.logpdf(fit.coefficients)
    else:
        penalty = 0.0
    assert fit.objective[-1] == pytest.approx(logsumexp(scores, axis=0).sum() - penalty, rel=1e-6)
    np.testing.assert_allclose(fit.posteriors, np.exp(scores - logsumexp(scores, axis=0)), atol=1e-8)


def test_a_field_over_clear_tissues_is_found() -> None:
    logs, basis, truth, _ = random_problem(3, 4, 3, 0.02)
    fit = fit_mixture(logs, basis, Prior(0.7 * truth, 1e-3 * np.eye(4)), 5)
    np.testing.assert_allclose(fit.coefficients, truth, atol=0.05)


def test_a_sure_prior_holds() -> None:
    logs, basis, truth, _ = random_problem(3, 4, 3, 0.02)
    fit = fit_mixture(logs, basis, Prior(-truth, 1e12 * np.eye(4)), 5)
    np.testing.assert_allclose(fit.coefficients, -truth, atol=1e-6)


def test_two_grey_values_by_hand() -> None:
    # Three samples of 1 and one of 5: two classes at these, with 3/4 and 1/4, as narrow as allowed.
    fit = fit_mixture(np.repeat([1.0, 1.0, 1.0, 5.0], 50), np.empty((0, 200)), Prior(np.empty(0), np.empty((0, 0))), 2)
    np.testing.assert_allclose(fit.classes.means, [1.0, 5.0], atol=1e-3)
    np.testing.assert_allclose(fit.classes.weights, [0.75, 0.25], atol=1e-3)
    np.testing.assert_allclose(fit.classes.variances, LEAST_VARIANCE, rtol=1e-3)


def test_more_classes_than_grey_values_stay_usable() -> None:
    fit = fit_mixture(np.full(50, 2.0), np.empty((0, 50)), Prior(np.empty(0), np.empty((0, 0))), 6)
    assert np.isfinite(fit.objective).all()
    np.testing.assert_allclose(fit.classes.means, 2.0, atol=0.1)
