from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine.preprocessing.foreground import (
    LEAST_POWER,
    MOST_SAMPLES,
    _centred,
    _without_noise,
    sample,
)

SPACING = (4.0, 1.0, 1.0)


def body(shape=(10, 120, 100), *, air: bool, sigma: float = 5.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tissue of 100 to 200 in Rician noise, with air at the back or not; the image and where tissue is."""
    rng = np.random.default_rng(seed)
    signal = 100 + 100 * rng.random((shape[0], shape[1] // 20, shape[2] // 20)).repeat(20, 1).repeat(20, 2)
    tissue = np.ones(shape, bool)
    if air:
        tissue[:, :, -shape[2] // 4 :] = False
    signal = np.where(tissue, signal, 0.0)
    noisy = np.hypot(signal + rng.normal(0, sigma, shape), rng.normal(0, sigma, shape))
    return noisy.astype(np.float32), tissue


@pytest.mark.parametrize("sigma", [1.0, 5.0, 10.0])
def test_air_gives_the_noise_and_is_left_out(sigma: float) -> None:
    image, tissue = body(air=True, sigma=sigma)
    samples = sample(image, SPACING)
    assert samples.noise_sigma == pytest.approx(sigma, rel=0.25)
    truth = tissue[np.ix_(*samples.indices)]
    # A mean over neighbours at the body's edge is partly tissue.
    clear = np.abs(samples.indices[2] - 75) > 1
    assert (samples.tissue == truth)[:, :, clear].mean() > 0.98


def test_without_air_nearly_all_is_tissue() -> None:
    image, _ = body(air=False)
    samples = sample(image, SPACING)
    assert samples.noise_sigma == 0.0
    assert samples.tissue.mean() > 0.97


def test_zeros_around_the_body_are_no_tissue() -> None:
    image, tissue = body(air=True)
    image[~tissue] = 0.0
    samples = sample(image, SPACING)
    truth = tissue[np.ix_(*samples.indices)]
    assert not samples.tissue[~truth & (samples.values == 0)].any()
    assert samples.tissue[truth].mean() > 0.95


def test_samples_are_means_of_neighbours_inside_the_volume() -> None:
    image = np.arange(5 * 20 * 20, dtype=np.float32).reshape(5, 20, 20)
    samples = sample(image, (5.0, 3.0, 3.0))
    z, y, x = (i[1] for i in samples.indices)
    assert samples.values[1, 1, 1] == pytest.approx(image[z, y - 1 : y + 2, x - 1 : x + 2].mean())
    for indices, length in zip(samples.indices, image.shape, strict=True):
        assert indices.min() >= 1
        assert indices.max() <= length - 2


@given(st.integers(4, 300), st.integers(1, 40))
def test_positions_are_the_same_from_both_ends(length: int, stride: int) -> None:
    positions = _centred(length, stride)
    np.testing.assert_array_equal(length - 1 - positions[::-1], positions)
    assert positions.min() >= 1
    assert len(positions) == 1 or 1 <= np.diff(positions).max() <= stride


def test_there_are_never_too_many() -> None:
    image = np.linspace(1, 2, 64 * 256 * 256, dtype=np.float32).reshape(64, 256, 256)
    assert sample(image, (1.0, 1.0, 1.0)).values.size <= MOST_SAMPLES


@pytest.mark.parametrize("share", [0.9, 0.5, 0.3])
def test_air_in_view_costs_no_samples_of_tissue(share: float) -> None:
    """A body that fills part of the rows: as many samples in tissue as one that fills nearly all, within steps."""
    rng = np.random.default_rng(0)
    image = np.hypot(rng.normal(0, 10, (64, 256, 256)), rng.normal(0, 10, (64, 256, 256)))
    image[:, : round(256 * share)] += 500
    found = sample(image.astype(np.float32), (1.0, 1.0, 1.0))
    assert 0.7 * MOST_SAMPLES < found.tissue.sum() <= MOST_SAMPLES


def test_what_noise_adds_is_taken_off() -> None:
    # Rician magnitudes of a signal of 2 sigma have a mean of 2.27 sigma (Laguerre's function at -2).
    rng = np.random.default_rng(0)
    neighbours = np.hypot(20 + rng.normal(0, 10, (900, 5, 5, 5)), rng.normal(0, 10, (900, 5, 5, 5)))
    values = neighbours.mean(axis=0)
    assert values.mean() == pytest.approx(22.7, rel=0.01)
    assert _without_noise(neighbours, values, 10.0).mean() == pytest.approx(20.0, rel=0.01)


def test_noise_never_takes_all() -> None:
    neighbours = np.ones((9, 2, 2, 2))
    np.testing.assert_allclose(_without_noise(neighbours, neighbours.mean(axis=0), 5.0), np.sqrt(LEAST_POWER))


def test_thick_slices_are_sampled_more_densely() -> None:
    z, y, x = (i[1] - i[0] for i in sample(np.ones((30, 200, 200), np.float32), (4.0, 1.0, 1.0)).indices)
    assert z * 4.0 < y == x


@pytest.mark.parametrize("axes", [(0, 2, 1), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
@pytest.mark.parametrize("thickness", [4.0, 1.0])
def test_samples_do_not_depend_on_the_order_of_axes(axes, thickness) -> None:
    rng = np.random.default_rng(0)
    image = np.hypot(*rng.normal(50, 20, (2, 14, 60, 50))).astype(np.float32)
    spacing = (thickness, 1.0, 1.0)
    plain = sample(image, spacing)
    stored = sample(np.ascontiguousarray(image.transpose(axes)), [spacing[a] for a in axes])
    np.testing.assert_allclose(stored.values, plain.values.transpose(axes), rtol=1e-6)
    np.testing.assert_array_equal(stored.tissue, plain.tissue.transpose(axes))
