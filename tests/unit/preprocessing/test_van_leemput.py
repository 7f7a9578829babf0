from __future__ import annotations

import warnings

import numpy as np
import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.evidence import correlation_volume
from nnunet_spine.preprocessing.foreground import sample
from nnunet_spine.preprocessing.van_leemput import (
    ORDERS,
    FieldEstimate,
    StopReason,
    estimate_field,
    fit_orders,
)

SPACING = (4.0, 1.0, 1.0)
SHAPE = (14, 128, 112)


def anatomy(seed: int) -> np.ndarray:
    """Blobs of three tissues with a little texture, in air."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1.5, 6, 6))
    levels = np.select([smooth < np.quantile(smooth, 0.3), smooth < np.quantile(smooth, 0.7)], [40.0, 90.0], 160.0)
    texture = 1 + 0.04 * ndimage.gaussian_filter(rng.normal(size=SHAPE), 1) / 0.1
    signal = levels * texture
    signal[:, :, :18] = 0.0
    return signal


def smooth_field(strength: float) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.exp(strength * (0.8 * y - 0.5 * x**2 + 0.3 * z * x))


def taken(signal: np.ndarray, field: np.ndarray, seed: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.hypot(signal * field + rng.normal(0, 3, SHAPE), rng.normal(0, 3, SHAPE)).astype(np.float32)


def error(estimate: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float:
    ratio = estimate[inside] / truth[inside]
    return float(np.std(ratio) / np.mean(ratio))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("strength", [0.2, 0.5, 0.9])
def test_a_known_field_is_found(seed: int, strength: float) -> None:
    signal, field = anatomy(seed), smooth_field(strength)
    inside = signal > 0
    found = estimate_field(taken(signal, field), SPACING)
    nothing = error(np.ones(SHAPE), field, inside)
    assert error(found.field, field, inside) < 0.35 * nothing
    assert found.confidence > 0.95
    assert found.strength > 1.1


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_without_a_field_none_is_made_up(seed: int) -> None:
    signal = anatomy(seed)
    found = estimate_field(taken(signal, np.ones(SHAPE)), SPACING)
    assert error(found.field, np.ones(SHAPE), signal > 0) <= 0.03


def test_the_objective_never_falls() -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        image = taken(anatomy(seed), smooth_field(float(rng.uniform(0, 1))), seed)
        fits = fit_orders(sample(image, SPACING), SHAPE, classes=int(rng.integers(2, 8)), orders=ORDERS)
        for fit in fits:
            steps = np.diff(fit.objective)
            assert (steps >= -1e-6 * np.abs(fit.objective[:-1])).all()


def test_the_fit_holds_together() -> None:
    found = estimate_field(taken(anatomy(1), smooth_field(0.5)), SPACING)
    fit = found.fit
    assert fit is not None
    assert fit.posteriors.sum(axis=1) == pytest.approx(1.0)
    assert fit.mixture.weights.sum() == pytest.approx(1.0)
    assert fit.coefficients.size == len(polynomial.exponents(fit.order))
    assert found.stop in {StopReason.CONVERGED, StopReason.MOST_ITERATIONS}
    assert found.field.dtype == np.float32
    assert found.field.min() > 0


def close(a: FieldEstimate, b: np.ndarray) -> None:
    np.testing.assert_allclose(a.field, b, rtol=1e-3)


def test_scale_storage_and_flips_do_not_matter() -> None:
    image = taken(anatomy(2), smooth_field(0.6))
    field = estimate_field(image, SPACING).field
    close(estimate_field(image * np.float32(37.5), SPACING), field)
    close(estimate_field(np.asfortranarray(image), SPACING), field)
    close(estimate_field(np.repeat(image, 2, axis=2)[:, :, ::2], SPACING), field)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_flip_flips_the_field(axis: int) -> None:
    image = taken(anatomy(2), smooth_field(0.6))
    field = estimate_field(image, SPACING).field
    close(estimate_field(np.flip(image, axis), SPACING), np.flip(field, axis))


@pytest.mark.parametrize(
    ("image", "stop"),
    [
        (np.full(SHAPE, 7.0), StopReason.CONSTANT),
        (np.zeros(SHAPE), StopReason.CONSTANT),
        (np.eye(40)[None].repeat(40, 0) * 1e-30, None),
    ],
)
def test_what_holds_no_tissue_is_left_alone(image: np.ndarray, stop: StopReason | None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate_field(image.astype(np.float32), SPACING)
    assert stop is None or found.stop is stop
    np.testing.assert_array_equal(found.field, 1.0)
    assert found.confidence < 0.5


@pytest.mark.parametrize("scale", [1e-20, 1.0, 3e38])
def test_noise_alone_holds_no_field(scale: float) -> None:
    rng = np.random.default_rng(0)
    noise = np.hypot(rng.normal(size=SHAPE), rng.normal(size=SHAPE))
    image = (noise / noise.max() * scale).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate_field(image, SPACING)
    np.testing.assert_allclose(found.field, 1.0, atol=0.03)


def test_negative_values_move_up() -> None:
    image = taken(anatomy(1), smooth_field(0.4))
    moved = estimate_field(image - 500, SPACING)
    np.testing.assert_allclose(moved.field, estimate_field(image - image.min(), SPACING).field, rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 64, 64), (64, 3, 64), (64, 64)])
def test_too_thin(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="too thin"):
        estimate_field(np.random.default_rng(0).random(shape).astype(np.float32), SPACING)


def test_not_finite() -> None:
    image = anatomy(1).astype(np.float32)
    image[0, 0, 0] = np.nan
    with pytest.raises(BadInput, match="1 voxels that are not finite"):
        estimate_field(image, SPACING)


def test_correlation_volume_of_white_noise_and_of_blocks() -> None:
    rng = np.random.default_rng(0)
    tissue = np.ones((12, 24, 24), bool)
    white = rng.normal(size=tissue.shape)
    assert correlation_volume(white[tissue], tissue) < 1.5
    # Blocks of 3 samples: triangular correlation 1, 2/3, 1/3 on each side sums to 3 along each axis.
    blocks = rng.normal(size=(4, 8, 8)).repeat(3, 0).repeat(3, 1).repeat(3, 2)
    assert correlation_volume(blocks[tissue], tissue) == pytest.approx(27, rel=0.5)
