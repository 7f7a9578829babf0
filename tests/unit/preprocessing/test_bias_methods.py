from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.bias import correct_bias
from nnunet_spine.preprocessing.field_settings import FieldSettings
from nnunet_spine.preprocessing.intensity import adjust_gamma, scale_intensity
from nnunet_spine.preprocessing.pipeline import IntensitySettings, normalise
from nnunet_spine.preprocessing.van_leemput import estimate_field
from nnunet_spine.protocol import BiasMethod

SPACING = (4.0, 1.5, 1.5)


def phantom() -> tuple[np.ndarray, np.ndarray]:
    """Two tissues in air under a smooth field of 0.7 to 1.4, and that field."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (10, 64, 64)), indexing="ij")
    tissue = np.where(x**2 + y**2 < 0.8, 100.0, 0.0) + np.where((x - 0.2) ** 2 + y**2 < 0.15, 80.0, 0.0)
    field = np.exp(0.35 * x + 0.1 * y * z)
    noise = np.random.default_rng(0).normal(0, 1.0, tissue.shape)
    return np.abs(tissue * field + noise).astype(np.float32), field


def field_error(estimate: np.ndarray, truth: np.ndarray, inside: np.ndarray) -> float:
    ratio = estimate[inside] / truth[inside]
    return float(np.std(ratio) / np.mean(ratio))


def test_n4_is_closer_to_the_field_than_doing_nothing() -> None:
    image, field = phantom()
    inside = image > 50
    correction = correct_bias(image, SPACING, BiasMethod.N4)
    assert field_error(correction.field, field, inside) < 0.5 * field_error(np.ones_like(field), field, inside)
    assert correction.field.min() > 0
    np.testing.assert_allclose(correction.image * correction.field, image, rtol=1e-5, atol=1e-3)


def test_n4_keeps_all_slices_whichever_axis_they_run_along() -> None:
    image, _ = phantom()
    field = correct_bias(image, SPACING, BiasMethod.N4).field
    turned = correct_bias(image.transpose(1, 2, 0), [*SPACING[1:], SPACING[0]], BiasMethod.N4).field
    np.testing.assert_allclose(turned.transpose(2, 0, 1), field, rtol=0.02)


def test_n4_gives_the_same_bits_twice() -> None:
    image, _ = phantom()
    first, second = (correct_bias(image, SPACING, BiasMethod.N4).image for _ in range(2))
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("image", [np.full((8, 8, 8), 3.0), np.zeros((2, 2, 2))])
@pytest.mark.parametrize("method", list(BiasMethod))
def test_constant_images_are_left_alone(image: np.ndarray, method: BiasMethod) -> None:
    correction = correct_bias(image.astype(np.float32), SPACING, method)
    np.testing.assert_array_equal(correction.image, image)
    np.testing.assert_array_equal(correction.field, 1.0)


def test_none_does_nothing() -> None:
    image, _ = phantom()
    np.testing.assert_array_equal(correct_bias(image, SPACING, BiasMethod.NONE).image, image)


def test_negative_values_are_survived() -> None:
    image, _ = phantom()
    corrected = correct_bias(image - 50, SPACING, BiasMethod.N4)
    assert np.isfinite(corrected.image).all()
    assert corrected.field.min() > 0


def test_a_volume_too_thin_is_refused() -> None:
    with pytest.raises(BadInput, match="too thin.*at least 4 voxels"):
        correct_bias(np.random.default_rng(0).random((2, 32, 32)).astype(np.float32), SPACING, BiasMethod.N4)


def test_the_pipeline_is_gamma_then_bias_then_scale() -> None:
    image, _ = phantom()
    by_hand = scale_intensity(correct_bias(adjust_gamma(image, 0.7), SPACING, BiasMethod.VAN_LEEMPUT).image)
    np.testing.assert_array_equal(normalise(image, SPACING, IntensitySettings()), by_hand)
    by_n4 = scale_intensity(correct_bias(adjust_gamma(image, 0.7), SPACING, BiasMethod.N4).image)
    np.testing.assert_array_equal(normalise(image, SPACING, IntensitySettings(bias_method=BiasMethod.N4)), by_n4)
    assert not np.array_equal(by_hand, by_n4)
    plain = IntensitySettings(gamma=1.0, bias_method=BiasMethod.NONE)
    np.testing.assert_array_equal(normalise(image, SPACING, plain), scale_intensity(image))


@pytest.mark.parametrize("gamma", [0.0, -1.0, np.nan, np.inf])
def test_settings_refuse_a_gamma_that_no_image_could_take(gamma: float) -> None:
    with pytest.raises(BadInput, match="above 0"):
        IntensitySettings(gamma=gamma)


@pytest.mark.parametrize(("minimum", "maximum"), [(1.0, 1.0), (1.0, 0.0), (0.0, np.nan), (0.0, np.inf)])
def test_settings_refuse_a_range_that_does_not_grow(minimum: float, maximum: float) -> None:
    with pytest.raises(BadInput, match="must grow"):
        IntensitySettings(scale_minimum=minimum, scale_maximum=maximum)


@pytest.mark.parametrize("method", list(BiasMethod))
def test_one_bright_voxel_breaks_no_method(method: BiasMethod) -> None:
    image, _ = phantom()
    image[5, 21, 21] = 1e6  # Otsu's mask then holds this voxel alone
    corrected = normalise(image, SPACING, IntensitySettings(bias_method=method))
    assert np.isfinite(corrected).all()
    assert (corrected.min(), corrected.max()) == (0.0, 1.0)


def test_settings_come_back_from_json() -> None:
    settings = IntensitySettings(
        gamma=0.5, bias_method=BiasMethod.NONE, bias_field=FieldSettings(5, (0, 1, 3), sample_spacing_mm=3.5)
    )
    assert json.loads(json.dumps(settings.as_json())) == settings.as_json()
    assert IntensitySettings.from_json(settings.as_json()) == settings
    for broken in (
        {"gamma": 1.0},
        {**settings.as_json(), "gamma": -1.0},
        {**settings.as_json(), "gamma": "strong"},
    ):
        with pytest.raises(BadInput, match="Run `nnunet-spine plan` again"):
            IntensitySettings.from_json(broken)
    for broken in ({}, {**settings.as_json(), "bias_method": "magic"}, {**settings.as_json(), "blur": 1}):
        with pytest.raises(BadInput, match="Run `nnunet-spine plan` again"):
            IntensitySettings.from_json(broken)


def strength_by_hand(field: np.ndarray, inside: np.ndarray) -> float:
    return float(np.percentile(field[inside], 95) / np.percentile(field[inside], 5))


@pytest.mark.parametrize("method", [BiasMethod.VAN_LEEMPUT, BiasMethod.N4])
def test_the_strength_is_that_of_the_true_field_in_tissue(method: BiasMethod) -> None:
    image, field = phantom()
    correction = correct_bias(image, SPACING, method)
    assert correction.strength == pytest.approx(strength_by_hand(field, image > 20), rel=0.15)
    assert correction.strength == pytest.approx(strength_by_hand(correction.field, image > 20), rel=0.1)


def test_what_the_method_knows_is_carried_on() -> None:
    image, _ = phantom()
    correction = correct_bias(image, SPACING, BiasMethod.VAN_LEEMPUT)
    estimate = correction.estimate
    assert estimate is not None
    assert correction.samples is estimate.samples
    assert correction.field is estimate.field
    assert estimate.confidence > 0.95
    assert not correction.is_identity
    n4 = correct_bias(image, SPACING, BiasMethod.N4)
    assert n4.estimate is None
    assert n4.samples is not None


def test_the_fitted_classes_are_those_of_the_corrected_samples() -> None:
    image, _ = phantom()
    # Tissue on one side alone, so that the mean of the fitted polynomial is not near 0.
    estimate = correct_bias(image[:, :, 30:], SPACING, BiasMethod.VAN_LEEMPUT).estimate
    assert estimate is not None
    assert estimate.fit is not None
    assert estimate.order > 0
    assert estimate.samples is not None
    corrected = estimate.samples.logs - np.log(estimate.samples.in_tissue(estimate.field))
    classes = estimate.fit.classes
    assert classes.weights @ classes.means == pytest.approx(corrected.mean(), abs=0.01)


@pytest.mark.parametrize("method", [BiasMethod.VAN_LEEMPUT, BiasMethod.N4])
def test_an_offset_moves_the_corrected_image_alone(method: BiasMethod) -> None:
    image, _ = phantom()
    image -= image.min()
    plain, moved = (correct_bias(image - offset, SPACING, method) for offset in (0, 512))  # exact in float32 of 1/8192
    assert moved.zero == -512
    np.testing.assert_allclose(moved.image + 512, plain.image, atol=0.05)
    np.testing.assert_allclose((moved.image + 512) * moved.field - 512, image - 512, atol=1e-3)


def test_a_weak_field_is_left_alone_bit_for_bit() -> None:
    image, field = phantom()
    weak = (image / field**0.9).astype(np.float32) - 3  # negative values, too
    correction = correct_bias(weak, SPACING, BiasMethod.VAN_LEEMPUT)
    assert correction.is_identity
    assert correction.image.tobytes() == weak.tobytes()
    assert correction.strength == 1
    assert correction.estimate is not None
    assert 1 < correction.estimate.fitted_strength < 1.17


def test_what_leaves_float32_is_refused() -> None:
    image, _ = phantom()
    image[:, 30:34, 2:6] = image.max()  # bright where the field is weak
    with pytest.raises(BadInput, match="near the end of float32"):
        correct_bias(image / image.max() * np.float32(3.4e38), SPACING, BiasMethod.VAN_LEEMPUT)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_the_samples_lie_in_the_array_as_it_is_stored(axes: tuple[int, ...]) -> None:
    image, _ = phantom()
    stored, spacing = image.transpose(axes), [SPACING[axis] for axis in axes]
    correction = correct_bias(stored, spacing, BiasMethod.VAN_LEEMPUT)
    assert correction.samples is not None
    # Tissue has 70 and more; a few samples of air are taken for tissue, since its noise is not Rician here.
    assert (correction.samples.in_tissue(stored) > 20).mean() > 0.8 > 0.7 > (image > 20).mean()
    low, high = np.percentile(np.log(correction.samples.in_tissue(correction.field)), (5, 95))
    assert correction.strength == pytest.approx(np.exp(high - low), rel=1e-4)


def test_plans_without_the_field_serve_the_methods_that_do_not_read_it() -> None:
    earlier = {"gamma": 0.7, "bias_method": "n4", "scale_minimum": 0.0, "scale_maximum": 1.0}
    assert IntensitySettings.from_json(earlier) == IntensitySettings(bias_method=BiasMethod.N4)
    with pytest.raises(BadInput, match="earlier version.*Run `nnunet-spine plan` again"):
        IntensitySettings.from_json({**earlier, "bias_method": "van_leemput"})


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 1},
        {"classes": 21},
        {"classes": 8.0},
        {"classes": True},
        {"classes": None},
        {"orders": []},
        {"orders": [0, 7]},
        {"orders": [-1, 2]},
        {"orders": [3, 2]},
        {"orders": [2, 2]},
        {"orders": [0, 2.0]},
        {"orders": 4},
        {"sample_spacing_mm": 0.0},
        {"sample_spacing_mm": float("nan")},
        {"sample_spacing_mm": float("inf")},
        {"sample_spacing_mm": "near"},
        {"smoothness": 3},
    ],
)
def test_settings_of_the_field_that_make_no_sense(change: dict[str, Any]) -> None:
    plans = IntensitySettings().as_json()
    with pytest.raises(BadInput, match="Run `nnunet-spine plan` again"):
        IntensitySettings.from_json({**plans, "bias_field": {**plans["bias_field"], **change}})


@pytest.mark.parametrize("name", ["classes", "orders", "sample_spacing_mm"])
def test_plans_name_every_setting_of_the_field(name: str) -> None:
    plans = IntensitySettings().as_json()
    del plans["bias_field"][name]
    with pytest.raises(BadInput, match=f"{name}.*Run `nnunet-spine plan` again"):
        IntensitySettings.from_json(plans)


@pytest.mark.parametrize(
    "chosen", [FieldSettings(classes=2), FieldSettings(orders=(1,)), FieldSettings(sample_spacing_mm=9.0)]
)
def test_the_settings_of_the_field_reach_its_estimation(chosen: FieldSettings) -> None:
    image, _ = phantom()
    settings = IntensitySettings(gamma=1.0, bias_field=chosen)
    field = estimate_field(
        image,
        SPACING,
        classes=chosen.classes,
        orders=chosen.orders,
        sample_spacing_mm=chosen.sample_spacing_mm,
    ).field
    found = normalise(image, SPACING, settings)
    np.testing.assert_array_equal(found, scale_intensity(image / field))
    assert not np.array_equal(found, normalise(image, SPACING, IntensitySettings(gamma=1.0)))
