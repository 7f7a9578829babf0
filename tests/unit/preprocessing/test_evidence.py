from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nnunet_spine.preprocessing.evidence import correlation_volume, log_evidence


def test_correlation_volume_of_white_noise_and_of_blocks() -> None:
    rng = np.random.default_rng(0)
    tissue = np.ones((12, 24, 24), bool)
    white = rng.normal(size=tissue.shape)
    assert correlation_volume(white[tissue], tissue) < 1.5
    # Blocks of 3 samples: triangular correlation 1, 2/3, 1/3 on each side sums to 3 along each axis.
    blocks = rng.normal(size=(4, 8, 8)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert correlation_volume(blocks[tissue], tissue) == pytest.approx(27, rel=0.5)


def test_a_residual_of_zero_says_nothing() -> None:
    tissue = np.ones((5, 5, 5), bool)
    assert correlation_volume(np.zeros(125), tissue) == 1.0


def test_only_pairs_inside_tissue_count() -> None:
    rng = np.random.default_rng(1)
    blocks = rng.normal(size=(4, 12, 12)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    tissue = rng.random(blocks.shape) > 0.3
    assert correlation_volume(blocks[tissue], tissue) == pytest.approx(27, rel=0.5)


def test_evidence_of_a_linear_model_is_exact() -> None:
    """For a Gaussian model Laplace's approximation is exact: the marginal density of the data."""
    rng = np.random.default_rng(2)
    basis, precision, weights = rng.normal(size=(12, 3)), np.array([2.0, 5.0, 9.0]), rng.uniform(0.5, 4, 12)
    data = rng.normal(size=12)
    hessian = basis.T @ (weights[:, None] * basis) + np.diag(precision)
    best = np.linalg.solve(hessian, basis.T @ (weights * data))
    likelihood = float(stats.norm.logpdf(data, basis @ best, weights**-0.5).sum())
    marginal = basis @ np.diag(1 / precision) @ basis.T + np.diag(1 / weights)
    expected = stats.multivariate_normal.logpdf(data, np.zeros(12), marginal)
    assert log_evidence(likelihood, weights, basis, best, precision) == pytest.approx(expected)


def test_without_a_field_it_is_the_likelihood() -> None:
    assert log_evidence(-7.0, np.ones(4), np.empty((4, 0)), np.empty(0), np.empty(0)) == -7.0
