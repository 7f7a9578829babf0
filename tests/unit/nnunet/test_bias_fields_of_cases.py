"""What `plan` measures of the bias fields, and what it advises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from nnunet_spine.cli import plan as plan_command
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, write_volume
from nnunet_spine.nnunet.case_measures import case_field, measure_case
from nnunet_spine.nnunet.field_advice import CaseField, FieldAdvice, advise
from nnunet_spine.nnunet.planning import Planned
from nnunet_spine.preprocessing.field_settings import FieldSettings
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.protocol import BiasMethod

SHAPE = (14, 128, 112)
SPACING = (4.0, 1.0, 1.0)
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def blobs(log_field_along_y: float) -> np.ndarray:
    """Blobs of three tissues and noise under a field that grows by exp(2 x log_field_along_y) along y; no air."""
    rng = np.random.default_rng(1)
    smooth = ndimage.gaussian_filter(rng.normal(size=SHAPE), (1.5, 6, 6))
    levels = np.select([smooth < np.quantile(smooth, 0.3), smooth < np.quantile(smooth, 0.7)], [40.0, 90.0], 160.0)
    field = np.exp(log_field_along_y * np.linspace(-1, 1, SHAPE[1]))[None, :, None]
    image = np.maximum(levels * field + rng.normal(0, 2, SHAPE), 0).astype(np.float32)
    image[0, 0, 0] = 0  # so that gamma acts on a scale that begins at 0
    return image


def found(strength: float, order: int = 2, case: str = "a") -> CaseField:
    return CaseField(case, strength, 1.0, order, "converged")


@pytest.mark.parametrize("gamma", [0.5, 0.7, 1.0, 1.5])
def test_the_strength_is_the_true_one_whatever_the_gamma(gamma: float) -> None:
    field = case_field("a", blobs(0.4), SPACING, IntensitySettings(gamma=gamma))
    # log field = 0.4 y for y from -1 to 1: its 5th and 95th percentiles are 1.8 x 0.4 apart.
    assert field.strength == pytest.approx(np.exp(1.8 * 0.4), rel=0.08)
    assert field.order is not None
    assert field.order > 0
    assert field.confidence == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("method", list(BiasMethod))
def test_the_field_is_seen_whatever_the_plans_correct_with(method: BiasMethod) -> None:
    image = blobs(0.4)
    assert case_field("a", image, SPACING, IntensitySettings(bias_method=method)) == case_field(
        "a", image, SPACING, IntensitySettings()
    )


def test_without_a_field_the_strength_is_1() -> None:
    field = case_field("a", blobs(0.0), SPACING, IntensitySettings())
    assert (field.strength, field.order) == (1.0, 0)


def test_the_settings_of_the_plans_are_used() -> None:
    settings = IntensitySettings(bias_field=FieldSettings(orders=(1,)))
    assert case_field("a", blobs(0.4), SPACING, settings).order == 1


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.full(SHAPE, 7.0), "constant image"),
        (np.where(np.arange(np.prod(SHAPE)).reshape(SHAPE) < 5, 9.0, 0.0), "no tissue found"),
        (np.full(SHAPE, np.nan), "not finite"),
        (blobs(0.4)[:2], "too thin"),
    ],
)
def test_an_odd_image_is_no_error_and_says_why(image: np.ndarray, reason: str) -> None:
    field = case_field("a", image, SPACING, IntensitySettings())
    assert (field.strength, field.confidence, field.order) == (None, None, None)
    assert reason in field.stop


def test_borders_of_zero_are_cut_off_as_in_preprocessing(tmp_path: Path) -> None:
    framed = np.pad(blobs(0.4), ((0, 0), (30, 10), (0, 40)))
    geometry = Geometry(framed.shape[::-1], SPACING[::-1], (0.0, 0.0, 0.0), IDENTITY)
    write_volume(tmp_path / "a_0000.nii.gz", Volume(framed, geometry))
    write_volume(tmp_path / "a.nii.gz", Volume((framed > 150).astype(np.uint8), geometry))
    settings = IntensitySettings()
    measures = measure_case(tmp_path / "a.nii.gz", tmp_path / "a_0000.nii.gz", (16, 128, 112), settings)
    assert measures.field == case_field("a", blobs(0.4), SPACING, settings)
    assert (measures.ceiling.case, measures.ceiling.dice) == ("a", 1.0)


def test_many_fields_are_advised_to_be_corrected() -> None:
    advice = advise([*[found(s) for s in (2.4, 1.2, 1.9)], found(1.0, order=0)])
    assert advice == FieldAdvice(4, (1.2, 1.9, 2.4), {})
    assert advice.advised
    assert advice.describe(BiasMethod.VAN_LEEMPUT) == (
        "bias fields found in 3 of 4 cases, median strength x1.90, x1.20 to x2.40 (95th over 5th percentile of the "
        "field in tissue, before gamma): correction advised"
    )
    assert advice.describe(BiasMethod.NONE).endswith("correction advised; these plans switch it off")


@pytest.mark.parametrize(("with_field", "advised"), [(6, True), (5, False)])
def test_a_quarter_of_the_cases_is_enough(with_field: int, advised: bool) -> None:
    assert advise([found(1.5)] * with_field + [found(1.0, order=0)] * (24 - with_field)).advised is advised


def test_few_fields_are_not() -> None:
    advice = advise([found(1.3), found(1.5), *[found(1.0, order=0)] * 22])
    assert "found in 2 of 24 cases, median strength x1.40" in advice.describe(BiasMethod.VAN_LEEMPUT)
    assert advice.describe(BiasMethod.N4).endswith("correction not advised; consider `--bias none`")
    assert advice.describe(BiasMethod.NONE).endswith("correction not advised")
    assert advise([found(1.0, order=0)]).describe(BiasMethod.N4) == (
        "bias fields found in 0 of 1 cases: correction not advised; consider `--bias none`"
    )


def test_cases_that_could_not_be_measured_are_named_and_not_counted() -> None:
    advice = advise([found(2.0), CaseField("b", None, None, None, "constant image")])
    assert advice == FieldAdvice(1, (2.0,), {"b": "constant image"})
    assert advice.as_json(BiasMethod.VAN_LEEMPUT) == {
        "measured": 1,
        "with_field": 1,
        "strength_is": "95th over 5th percentile of the field in tissue, before gamma",
        "strength_median": 2.0,
        "strength_range": [2.0, 2.0],
        "not_measured": {"b": "constant image"},
        "correction_advised": True,
        "advice": advice.describe(BiasMethod.VAN_LEEMPUT),
    }


def test_nothing_measured_is_no_advice() -> None:
    advice = advise([CaseField("b", None, None, None, "constant image")])
    assert not advice.advised
    assert "no advice" in advice.describe(BiasMethod.VAN_LEEMPUT)
    assert advice.as_json(BiasMethod.VAN_LEEMPUT)["strength_median"] is None


def test_plan_prints_the_advice_and_the_odd_cases_within_80_columns(capsys) -> None:
    fields = (found(1.9), CaseField("spine_004", None, None, None, "constant image"))
    configuration = {
        "patch_size": [16, 32, 32],
        "spacing": [3.0, 1.0, 1.0],
        "spine_preprocessing": IntensitySettings().as_json(),
    }
    reasons = {"patch_size": "small", "spacing": "median", "bias_field.orders": "wide", "bias_field.classes": "many"}
    plans = {
        "configurations": {"3d_fullres": configuration},
        "spine_reasons": reasons,
        "spine_departures": ["gamma: 1.0 instead of 0.7 (ours)"],
    }
    from nnunet_spine.nnunet.case_measures import ResizeCeiling

    planned = Planned(Path("p.json"), plans, (ResizeCeiling("a", 0.9, False),), fields, advise(fields))
    plan_command._show(planned, "58")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "bias_field.orders 0, 2, 3, 4: wide" in lines
    assert "bias_field.classes 8: many" in lines
    text = " ".join(lines)
    assert lines[-1] == "next:  nnunet-spine preprocess 58 --plans p"
    assert "bias fields found in 1 of 1 cases, median strength x1.90" in text
    assert "no bias field could be measured in spine_004: constant image" in text
