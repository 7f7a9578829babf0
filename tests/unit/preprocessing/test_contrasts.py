from __future__ import annotations

import warnings

import numpy as np
import pytest

from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.contrasts import (
    LAGS,
    ContrastFit,
    _block_numbers,
    _block_places,
    _differences,
    fit_contrasts,
)
from nnunet_spine.preprocessing.foreground import Samples

SHAPE = (16, 128, 128)
SPACING = (4.0, 1.0, 1.0)
ORDERS = (0, 2, 3, 4)
COUNTS = (12, 22, 22)


def samples_of(values: np.ndarray, tissue: np.ndarray | None = None) -> Samples:
    indices = tuple(np.rint(np.linspace(1, n - 2, m)).astype(np.intp) for n, m in zip(SHAPE, COUNTS, strict=True))
    tissue = np.ones(COUNTS, bool) if tissue is None else tissue
    return Samples((indices[0], indices[1], indices[2]), values, tissue, 0.0, 0.0)


def tissues(seed: int, noise: float) -> np.ndarray:
    """Logs of cubes of random tissues with noise."""
    rng = np.random.default_rng(seed)
    cubes = rng.normal(5, 0.6, (3, 4, 4)).repeat(4, 0).repeat(6, 1).repeat(6, 2)[:12, :22, :22]
    return np.asarray(cubes + rng.normal(0, noise, COUNTS))


def field_of(coefficients: np.ndarray, order: int) -> np.ndarray:
    products = polynomial.products(samples_of(np.ones(COUNTS)).indices, SHAPE, order)
    return np.asarray(np.tensordot(coefficients, products, axes=1))


def chosen(fits: list[ContrastFit]) -> ContrastFit:
    return max(fits, key=lambda fit: fit.evidence)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("order", [2, 3, 4])
def test_a_field_is_found_across_tissues(seed: int, order: int) -> None:
    truth = np.random.default_rng(seed).normal(0, 0.15, polynomial.size(order))
    logs = tissues(seed, 0.03) + field_of(truth, order)
    fit = chosen(fit_contrasts(samples_of(np.exp(logs)), SHAPE, SPACING, ORDERS))
    assert fit.order > 0
    left_over = field_of(fit.shrunken, fit.order) - field_of(truth, order)
    assert left_over.std() < 0.25 * field_of(truth, order).std()


@pytest.mark.parametrize("seed", range(8))
def test_no_field_is_found_where_there_is_none(seed: int) -> None:
    fit = chosen(fit_contrasts(samples_of(np.exp(tissues(seed, 0.05))), SHAPE, SPACING, ORDERS))
    assert field_of(fit.shrunken, fit.order).std() < 0.02 if fit.order else fit.evidence == 0.0


def test_a_tissue_on_one_side_is_no_field() -> None:
    """Bright fat at the back, dark muscle in front: a mixture could take it for a field."""
    logs = np.where(np.arange(22) < 11, 4.0, 5.5) + np.random.default_rng(0).normal(0, 0.05, COUNTS)
    assert chosen(fit_contrasts(samples_of(np.exp(logs)), SHAPE, SPACING, ORDERS)).order == 0


def test_shrunken_coefficients_by_hand() -> None:
    fit = ContrastFit(2, np.full(9, 0.2), np.eye(9), 4.0, 1.0)
    np.testing.assert_allclose(fit.shrunken, 0.15)
    np.testing.assert_array_equal(ContrastFit(2, np.full(9, 0.2), np.eye(9), 0.8, -np.inf).shrunken, 0.0)


def test_evidence_by_hand() -> None:
    # With 9 products and ratio r the g-prior's best log evidence is 9/2 (r - 1 - log r).
    logs = tissues(0, 0.03) + field_of(np.full(9, 0.1), 2)
    _, second = fit_contrasts(samples_of(np.exp(logs)), SHAPE, SPACING, (0, 2))
    assert second.ratio > 1
    assert second.evidence == pytest.approx(4.5 * (second.ratio - 1 - np.log(second.ratio)))


def test_differences_by_hand() -> None:
    tissue = np.ones(COUNTS, bool)
    tissue[:, :, 10] = False
    differences = _differences(samples_of(np.exp(tissues(1, 0.1)), tissue), SHAPE, SPACING, 2)
    z, y, x = COUNTS
    lines_z, lines_y, lines_x = y * (x - 1), z * (x - 1), z * y
    # Along x, the gap in the middle costs two neighbours at each distance.
    expected = sum(lines_z * (z - d) + lines_y * (y - d) + lines_x * (x - d - 2) for d in LAGS)
    assert differences.logs.size == differences.basis.shape[1] == expected


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_a_flip_changes_signs_alone(seed: int, axis: int) -> None:
    """Weights, blocks and evidence must not depend on the end that an axis is read from."""
    logs = tissues(seed, 0.1) + field_of(np.random.default_rng(seed).normal(0, 0.1, 19), 3)
    fits = fit_contrasts(samples_of(np.exp(logs)), SHAPE, SPACING, ORDERS)
    flipped = fit_contrasts(samples_of(np.exp(np.flip(logs, axis))), SHAPE, SPACING, ORDERS)
    for one, other in zip(fits, flipped, strict=True):
        assert other.ratio == pytest.approx(one.ratio, rel=1e-3)
        sign = np.array([(-1) ** exponent[axis] for exponent in polynomial.exponents(one.order)])
        np.testing.assert_allclose(other.coefficients * sign, one.coefficients, atol=1e-4)


def test_blocks_by_hand() -> None:
    # 64 mm of slices are blocks of 12, 40 and 12 mm, and 128 mm in the plane of 4, 40, 40, 40 and 4 mm.
    samples = samples_of(np.ones(COUNTS))
    everywhere = (slice(None),) * 3
    numbers = _block_numbers(_block_places(samples, SHAPE, SPACING), everywhere, everywhere)
    along_z = numbers[:, 11, 11]
    z_mm = (samples.indices[0] - 7.5) * 4.0
    expected = np.searchsorted([-20.0, 20.0], z_mm)
    np.testing.assert_array_equal(np.unique(along_z, return_inverse=True)[1], expected)


@pytest.mark.parametrize(
    "tissue", [np.zeros(COUNTS, bool), np.indices(COUNTS).sum(0) % 3 == 0, np.arange(22) < np.full(COUNTS, 1)]
)
def test_too_few_neighbours_are_no_field(tissue: np.ndarray) -> None:
    values = np.exp(tissues(2, 0.05))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = fit_contrasts(samples_of(values, tissue), SHAPE, SPACING, ORDERS)
    assert fits[0].order == 0
    assert all(np.isfinite(fit.coefficients).all() for fit in fits)


def test_a_constant_image_has_no_field() -> None:
    (fit,) = fit_contrasts(samples_of(np.full(COUNTS, 7.0)), SHAPE, SPACING, ORDERS)
    assert fit.order == 0
