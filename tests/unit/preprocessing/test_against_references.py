"""Preprocessing beside other programs' results: MONAI's and nnU-Net's padding, SimpleITK's N4."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import SpatialPad
from scipy import ndimage

from nnunet_spine.preprocessing.bias import correct_bias
from nnunet_spine.preprocessing.geometry import pad_to_grid
from nnunet_spine.preprocessing.pipeline import IntensitySettings, normalise
from nnunet_spine.preprocessing.van_leemput import estimate_field
from nnunet_spine.protocol import BiasMethod

SPACING = (4.0, 1.5, 1.5)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Three tissues with texture in noisy air, under a smooth field."""
    shape = (8, 56, 48)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    rng = np.random.default_rng(3)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), (1.5, 5, 5))
    tissue = np.select([blobs < np.quantile(blobs, 0.3), blobs < np.quantile(blobs, 0.7)], [60.0, 110.0], 180.0)
    tissue[(x**2 + y**2) > 0.9] = 0.0
    signal = tissue * np.exp(0.5 * x + 0.2 * y * z)
    return np.hypot(signal + rng.normal(0, 3, shape), rng.normal(0, 3, shape)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.tuples(*[st.integers(0, 7)] * 3))
def test_padding_is_monais_and_that_of_nnunets_predictor(shape, more) -> None:
    array = np.random.default_rng(0).random((1, *shape), np.float32)
    grid = tuple(n + m for n, m in zip(shape, more, strict=True))
    padded = pad_to_grid(array, grid)
    np.testing.assert_array_equal(padded, SpatialPad(grid)(array).numpy())
    # The call in nnUNetPredictor.predict_sliding_window_return_logits; its images are padded again at prediction.
    predictors, _ = pad_nd_image(array, grid, "constant", {"constant_values": 0}, True, None)
    np.testing.assert_array_equal(padded, predictors)


def test_the_padding_is_zero_unless_a_value_is_asked() -> None:
    assert pad_to_grid(np.full((1, 1, 1, 1), 7.0), (3, 3, 3)).sum() == 7.0


def test_n4_is_simpleitks_in_its_quick_setting(image: np.ndarray) -> None:
    whole = sitk.GetImageFromArray(image)
    whole.SetSpacing(SPACING[::-1])
    mask = sitk.OtsuThreshold(whole, 0, 1, 200)
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * 4)
    n4.Execute(sitk.Shrink(whole, [4, 4, 1]), sitk.Shrink(mask, [4, 4, 1]))
    expected = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole)))
    found = correct_bias(image, SPACING, BiasMethod.N4)
    np.testing.assert_allclose(found.field, expected, rtol=1e-5)
    np.testing.assert_allclose(found.image, image / expected, rtol=1e-5)


def test_each_method_is_the_one_it_is_named(image: np.ndarray) -> None:
    fields = {method: correct_bias(image, SPACING, method).field for method in BiasMethod}
    np.testing.assert_array_equal(fields[BiasMethod.VAN_LEEMPUT], estimate_field(image, SPACING).field)
    np.testing.assert_array_equal(fields[BiasMethod.NONE], 1.0)
    # The two methods do not agree on an anatomy, so that a mix-up would be seen.
    assert np.abs(fields[BiasMethod.N4] / fields[BiasMethod.VAN_LEEMPUT] - 1).max() > 0.05


# N4 stops by a threshold, so that on an image as small as this the last bits of the input decide its iterations.
@pytest.mark.parametrize("method", [BiasMethod.VAN_LEEMPUT, BiasMethod.NONE])
@pytest.mark.parametrize("unit", [1e-30, 1e-9, 1e-3, 1e36])
def test_the_unit_of_the_intensities_does_not_matter(image: np.ndarray, method: BiasMethod, unit: float) -> None:
    asked = IntensitySettings(bias_method=method)
    once = normalise(image, SPACING, asked)
    again = normalise((image.astype(np.float64) * unit).astype(np.float32), SPACING, asked)
    np.testing.assert_allclose(again, once, atol=5e-3)


@pytest.mark.parametrize("method", list(BiasMethod))
def test_the_result_fills_its_range_and_the_image_is_not_changed(image: np.ndarray, method: BiasMethod) -> None:
    before = image.copy()
    scaled = normalise(image, SPACING, IntensitySettings(bias_method=method, scale_minimum=-1.0, scale_maximum=3.0))
    assert (scaled.dtype, scaled.min()) == (np.float32, -1.0)
    assert scaled.max() == pytest.approx(3.0, abs=1e-6)
    np.testing.assert_array_equal(image, before)
