from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from scipy import ndimage
from threadpoolctl import threadpool_limits

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing import polynomial
from nnunet_spine.preprocessing.foreground import sample
from nnunet_spine.preprocessing.van_leemput import CLASSES, LEAST_FIELD, FieldEstimate, StopReason, estimate_field

SPACING = (4.0, 1.0, 1.0)
SHAPE = (14, 128, 112)


def anatomy(seed: int) -> np.ndarray:
    """Blobs of three tissues with a little texture, in air."""
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


def test_the_field_has_the_same_bits_on_any_number_of_threads() -> None:
    image = taken(anatomy(1), smooth_field(0.5))
    fields = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            fields.append(estimate_field(image, SPACING).field.tobytes())
    assert fields[0] == fields[1]


def test_the_estimate_holds_together() -> None:
    found = estimate_field(taken(anatomy(1), smooth_field(0.5)), SPACING)
    fit = found.fit
    assert fit is not None
    assert fit.posteriors.shape[0] == CLASSES
    assert fit.posteriors.sum(axis=0) == pytest.approx(1.0)
    assert fit.classes.weights.sum() == pytest.approx(1.0)
    assert fit.coefficients.size == len(polynomial.exponents(found.order))
    assert found.iterations == len(fit.objective) - 1 > 0
    assert found.stop in {StopReason.CONVERGED, StopReason.MOST_ITERATIONS}
    assert 0 < found.tissue_share < 1
    assert found.field.dtype == np.float32
    assert found.field.min() > 0


def test_only_the_orders_asked_for_compete() -> None:
    assert estimate_field(taken(anatomy(1), smooth_field(0.5)), SPACING, orders=(3,)).order == 3


@pytest.mark.parametrize("orders", [(0,), ()])
def test_without_orders_there_is_no_field(orders: tuple[int, ...]) -> None:
    found = estimate_field(taken(anatomy(1), smooth_field(0.5)), SPACING, orders=orders)
    assert found.order == 0
    np.testing.assert_array_equal(found.field, 1.0)


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


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)])
def test_the_order_of_axes_does_not_matter(axes: tuple[int, int, int]) -> None:
    image = taken(anatomy(2), smooth_field(0.6))
    field = estimate_field(image, SPACING).field
    turned = estimate_field(image.transpose(axes), [SPACING[axis] for axis in axes])
    close(turned, field.transpose(axes))


def test_a_field_too_weak_to_tell_from_anatomy_is_left_alone() -> None:
    """The field's log has an SD of about 0.5 per unit of strength: 0.03 lies below the least, 0.3 above."""
    signal = anatomy(1)
    weak = np.log(smooth_field(0.03))[signal > 0].std()
    assert weak < LEAST_FIELD < np.log(smooth_field(0.3))[signal > 0].std()
    np.testing.assert_array_equal(estimate_field(taken(signal, smooth_field(0.03)), SPACING).field, 1.0)
    assert estimate_field(taken(signal, smooth_field(0.3)), SPACING).order > 0


@pytest.mark.parametrize("spacing", [(0.0, 1.0, 1.0), (np.nan, 1.0, 1.0), (4.0, -1.0, 1.0), (4.0, 1.0), (1, np.inf, 1)])
def test_a_spacing_that_is_none(spacing: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match="three numbers above 0"):
        estimate_field(taken(anatomy(1), smooth_field(0.4)), spacing)


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


@pytest.mark.parametrize("lowest", [-1.6e38, -1.0])
def test_the_whole_range_of_float32(lowest: float) -> None:
    image = taken(anatomy(1), smooth_field(0.4)).astype(np.float64)
    whole = lowest + image / image.max() * 3.2e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate_field(whole.astype(np.float32), SPACING)
    assert np.isfinite(found.field).all()
    assert found.field.min() > 0


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
def test_integers_at_their_extremes(kind: type) -> None:
    image = taken(anatomy(1), smooth_field(0.4))
    limits = np.iinfo(kind)
    stored = np.clip(image / 200 * limits.max, limits.min, limits.max).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = estimate_field(stored, SPACING)
    assert np.isfinite(found.field).all()


def test_outside_tissue_the_field_stays_near_its_range() -> None:
    signal, field = anatomy(2), smooth_field(0.9)
    found = estimate_field(taken(signal, field), SPACING)
    inside = found.field[signal > 0]
    assert found.field.max() < 1.5 * inside.max()
    assert found.field.min() > inside.min() / 1.5


def test_the_geometric_mean_in_tissue_is_1() -> None:
    image = taken(anatomy(2), smooth_field(0.9))
    found = estimate_field(image, SPACING)
    samples = sample(image, SPACING)
    at_samples = found.field[np.ix_(*samples.indices)][samples.tissue]
    assert np.exp(np.log(at_samples).mean()) == pytest.approx(1.0, abs=1e-4)


def test_a_large_volume_takes_little_more_memory_than_its_field() -> None:
    image = np.tile(taken(anatomy(1), smooth_field(0.5)), (4, 4, 4))[:48, :384, :384].copy()
    tracemalloc.start()
    estimate_field(image, (4.0, 0.7, 0.7))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.5 * image.nbytes


def test_a_small_volume_takes_at_most_four_times_its_memory() -> None:
    image = np.tile(taken(anatomy(1), smooth_field(0.5)), (2, 2, 3))[:16, :256, :256].copy()
    tracemalloc.start()
    estimate_field(image, SPACING)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * image.nbytes


def test_a_volume_of_512_by_512_by_64() -> None:
    coarse = taken(anatomy(1), smooth_field(0.6))
    image = ndimage.zoom(coarse, (64 / 14, 4, 512 / 112), order=1)
    found = estimate_field(image, (1.0, 0.5, 0.5))
    assert found.field.shape == (64, 512, 512)
    assert found.strength > 1.5
