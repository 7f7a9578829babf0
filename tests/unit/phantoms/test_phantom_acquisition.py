"""Field, noise and stored integers against theory."""

import numpy as np
import pytest

from nnunet_spine.phantoms.acquisition import coil_field, rician, stored_values


def test_noise_over_air_is_rayleigh() -> None:
    sigma = 0.03
    noise = rician(np.zeros((40, 100, 100), np.float32), sigma, np.random.default_rng(1))
    # Mean and variance of the Rayleigh distribution.
    assert noise.mean() == pytest.approx(sigma * np.sqrt(np.pi / 2), rel=0.01)
    assert noise.std() == pytest.approx(sigma * np.sqrt(2 - np.pi / 2), rel=0.01)


def test_noise_over_strong_signal_is_nearly_gaussian() -> None:
    sigma = 0.02
    noisy = rician(np.full((40, 100, 100), 1.0, np.float32), sigma, np.random.default_rng(2))
    # Gudbjartsson and Patz 1995: the mean tends to sqrt(A^2 + sigma^2).
    assert noisy.mean() == pytest.approx(np.sqrt(1 + sigma**2), abs=2e-4)
    assert noisy.std() == pytest.approx(sigma, rel=0.01)


@pytest.mark.parametrize("amplitude", [0.0, 0.5, 1.0, 3.0])
def test_second_moment_of_rician_noise(amplitude: float) -> None:
    noisy = rician(np.full(400_000, amplitude, np.float32), 1.0, np.random.default_rng(3))
    assert np.mean(noisy.astype(float) ** 2) == pytest.approx(amplitude**2 + 2, rel=0.01)


def test_noise_is_the_same_for_the_same_generator() -> None:
    signal = np.ones((3, 4, 5), np.float32)
    first, second = (rician(signal, 0.1, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_field_falls_exponentially_with_depth() -> None:
    depth = np.array([0.0, 40.0, 80.0], np.float32)
    field = coil_field(depth, np.float32(0), strength=1.2, falloff_mm=40, centre_mm=0, length_mm=100)
    log = np.log(field)
    assert log[0] - log[1] == pytest.approx(1.2 * (1 - np.exp(-1)), abs=1e-5)
    assert log[1] - log[2] == pytest.approx(1.2 * (np.exp(-1) - np.exp(-2)), abs=1e-5)


def test_field_falls_by_half_a_log_at_one_length_from_the_centre() -> None:
    z = np.array([20.0, 120.0, -80.0], np.float32)
    field = coil_field(np.float32(10), z, strength=1.0, falloff_mm=50, centre_mm=20, length_mm=100)
    assert np.log(field[0] / field[1]) == pytest.approx(0.5, abs=1e-5)
    assert field[1] == pytest.approx(field[2])


def test_field_has_geometric_mean_one_and_no_strength_means_no_depth_dependence() -> None:
    rng = np.random.default_rng(5)
    depth, z = (rng.uniform(-50, 150, (4, 30, 20)).astype(np.float32) for _ in range(2))
    field = coil_field(depth, z, strength=1.5, falloff_mm=50, centre_mm=0, length_mm=90)
    assert np.log(field).mean() == pytest.approx(0, abs=1e-5)
    flat = coil_field(depth, np.zeros_like(z), strength=0, falloff_mm=50, centre_mm=0, length_mm=90)
    np.testing.assert_allclose(flat, 1, atol=1e-6)


def test_field_does_not_grow_before_the_coil() -> None:
    field = coil_field(
        np.array([-30.0, 0.0], np.float32), np.float32(0), strength=1, falloff_mm=50, centre_mm=0, length_mm=90
    )
    assert field[0] == field[1]


@pytest.mark.parametrize(
    ("bits", "signed", "largest", "dtype"),
    [(12, False, 4095, np.uint16), (16, True, 32767, np.int16), (16, False, 65535, np.uint16)],
)
def test_stored_values_are_rounded_and_clipped(bits: int, signed: bool, largest: int, dtype: type) -> None:
    signal = np.array([-1.0, 0.0, 0.0126, 1.0, 1e4], np.float32)
    stored = stored_values(signal, full_scale=100, bits_stored=bits, signed=signed)
    assert stored.dtype == dtype
    assert stored.tolist() == [0, 0, 1, 100, largest]
