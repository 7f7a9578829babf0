from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.transforms import AdjustContrast, ScaleIntensity

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.intensity import adjust_gamma, scale_intensity

IMAGES = arrays(np.float32, (3, 4, 5), elements=st.floats(-1000, 1000, width=32)).filter(lambda a: np.ptp(a) > 1.0)


def test_gamma_by_hand() -> None:
    # (x - 2)/8 is 0, 1/4, 1; its square 0, 1/16, 1; times 8 plus 2.
    np.testing.assert_allclose(adjust_gamma(np.array([2.0, 4.0, 10.0]), 2.0), [2.0, 2.5, 10.0])
    np.testing.assert_allclose(adjust_gamma(np.array([2.0, 4.0, 10.0]), 0.5), [2.0, 6.0, 10.0])


def test_scale_by_hand() -> None:
    np.testing.assert_allclose(scale_intensity(np.array([-5, 0, 15], np.int16)), [0.0, 0.25, 1.0])
    np.testing.assert_allclose(scale_intensity(np.array([0.0, 1.0, 2.0]), -1.0, 3.0), [-1.0, 1.0, 3.0])


@given(IMAGES, st.floats(0.2, 3.0))
def test_gamma_agrees_with_monai(image: np.ndarray, gamma: float) -> None:
    expected = AdjustContrast(gamma)(image[None])[0].numpy()
    np.testing.assert_allclose(adjust_gamma(image, gamma), expected, rtol=1e-3, atol=1e-3 * np.ptp(image))


@given(IMAGES)
def test_scale_agrees_with_monai(image: np.ndarray) -> None:
    expected = ScaleIntensity(0.0, 1.0)(image[None])[0].numpy()
    np.testing.assert_allclose(scale_intensity(image), expected, atol=1e-5)


@given(IMAGES, st.floats(0.2, 3.0))
def test_gamma_keeps_range_and_order(image: np.ndarray, gamma: float) -> None:
    adjusted = adjust_gamma(image, gamma)
    tolerance = 1e-5 * max(1.0, float(np.abs(image).max()))
    assert adjusted.min() == pytest.approx(image.min(), abs=tolerance)
    assert adjusted.max() == pytest.approx(image.max(), abs=tolerance)
    ordered = adjusted.ravel()[np.argsort(image.ravel(), kind="stable")]
    assert np.all(np.diff(ordered) >= -tolerance)


@given(IMAGES, st.floats(0.5, 4.0), st.floats(-50, 50))
def test_the_result_does_not_depend_on_scale_and_offset(image: np.ndarray, scale: float, offset: float) -> None:
    changed = (image.astype(np.float64) * scale + offset).astype(np.float32)
    once = scale_intensity(adjust_gamma(image, 0.7))
    again = scale_intensity(adjust_gamma(changed, 0.7))
    np.testing.assert_allclose(again, once, atol=5e-3)


def test_gamma_one_and_constant_images_are_unchanged() -> None:
    image = np.array([[1.0, 5.0]], np.float32)
    np.testing.assert_array_equal(adjust_gamma(image, 1.0), image)
    np.testing.assert_array_equal(adjust_gamma(np.full((2, 2), 7.0), 0.7), np.full((2, 2), 7.0))
    np.testing.assert_array_equal(scale_intensity(np.full((2, 2), 7.0)), np.zeros((2, 2)))


def test_the_input_is_not_changed() -> None:
    image = np.array([1.0, 2.0, 4.0], np.float32)
    for step in (
        lambda: adjust_gamma(image, 0.7),
        lambda: scale_intensity(image),
        lambda: scale_intensity(image, 2, 5),
    ):
        result = step()
        assert result.dtype == np.float32
        np.testing.assert_array_equal(image, [1.0, 2.0, 4.0])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted(value: float) -> None:
    with pytest.raises(BadInput, match="2 voxels that are not finite"):
        scale_intensity(np.array([1.0, value, value]))


@pytest.mark.parametrize("step", [lambda image: adjust_gamma(image, 0.7), scale_intensity])
def test_a_range_beyond_float32_is_refused_and_no_nan_comes_out(step) -> None:
    with pytest.raises(BadInput, match="-3e\\+38 to 3e\\+38"):
        step(np.array([-3e38, 0.0, 3e38], np.float32))
    assert np.isfinite(step(np.array([0.0, 1.0, 3e38], np.float32))).all()


def test_no_voxels() -> None:
    with pytest.raises(BadInput, match="no voxels"):
        adjust_gamma(np.empty((0, 3)), 0.7)


@pytest.mark.parametrize("gamma", [0.0, -1.0, np.nan, np.inf])
def test_gamma_must_be_above_zero(gamma: float) -> None:
    with pytest.raises(BadInput, match="above 0"):
        adjust_gamma(np.array([1.0, 2.0]), gamma)
