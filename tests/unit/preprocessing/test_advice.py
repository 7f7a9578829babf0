from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nnunet_spine.preprocessing.advice import Advice, Concern, findings
from nnunet_spine.preprocessing.bias import BiasCorrection
from nnunet_spine.preprocessing.foreground import Samples
from nnunet_spine.preprocessing.van_leemput import LEAST_FIELD, FieldEstimate, StopReason
from nnunet_spine.protocol import BiasMethod

SHAPE = (8, 8, 8)
ONES = np.ones(SHAPE, np.float32)
FIELD = np.full(SHAPE, 1.25, np.float32)


def samples(tissue: int) -> Samples:
    flags = (np.arange(216) < tissue).reshape(6, 6, 6)
    places = np.arange(1, 7)
    return Samples((places, places, places), np.ones((6, 6, 6)), flags, 0.0, 0.5)


SURE = FieldEstimate(FIELD, 3, None, StopReason.CONVERGED, 1.5, 0.99, 1.5)
CORRECTED = BiasCorrection(ONES, FIELD, BiasMethod.VAN_LEEMPUT, 0.0, 1.5, samples(108), SURE)


def concerns(correction: BiasCorrection) -> list[Concern]:
    return [advice.concern for advice in findings(correction).advice]


def left_alone(**changes: object) -> BiasCorrection:
    estimate = replace(SURE, field=ONES, order=0, strength=1.0, **changes)
    return replace(CORRECTED, field=ONES, strength=1.0, estimate=estimate)


def test_a_sure_field_needs_no_advice() -> None:
    found = findings(CORRECTED)
    assert (found.changed, found.strength, found.confidence, found.order) == (True, 1.5, 0.99, 3)
    assert (found.iterations, found.stop, found.tissue_share) == (0, "converged", 0.5)
    assert found.advice == ()


def test_no_field_and_a_weak_one_are_told_apart() -> None:
    none = left_alone(confidence=0.0, fitted_strength=1.0)
    weak = left_alone(confidence=0.9, fitted_strength=1.12)
    assert concerns(none) == [Concern.NO_FIELD]
    assert concerns(weak) == [Concern.WEAK_FIELD]
    assert "x1.12" in findings(weak).advice[0].text
    assert f"{100 * LEAST_FIELD:.0f} %" in findings(weak).advice[0].text
    for correction in (none, weak):
        assert not findings(correction).changed
        assert findings(correction).advice[0].text.endswith("the image is unchanged")


@pytest.mark.parametrize(("confidence", "expected"), [(0.949, [Concern.LOW_CONFIDENCE]), (0.951, [])])
def test_low_confidence(confidence: float, expected: list[Concern]) -> None:
    assert concerns(replace(CORRECTED, estimate=replace(SURE, confidence=confidence))) == expected


@pytest.mark.parametrize(("strength", "expected"), [(19.9, []), (20.1, [Concern.IMPLAUSIBLE_STRENGTH])])
def test_a_field_too_strong_to_be_one(strength: float, expected: list[Concern]) -> None:
    assert concerns(replace(CORRECTED, strength=strength)) == expected


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (StopReason.CONSTANT, [Concern.CONSTANT]),
        (StopReason.NO_TISSUE, [Concern.NO_TISSUE]),
        (StopReason.MOST_ITERATIONS, [Concern.NO_FIELD, Concern.NOT_CONVERGED]),
    ],
)
def test_why_it_ended(stop: StopReason, expected: list[Concern]) -> None:
    assert concerns(left_alone(confidence=0.0, fitted_strength=1.0, stop=stop)) == expected


def test_n4_has_no_confidence_and_needs_tissue_for_a_strength() -> None:
    n4 = replace(CORRECTED, method=BiasMethod.N4, estimate=None)
    found = findings(n4)
    assert (found.confidence, found.order, found.iterations, found.stop) == (None, None, None, None)
    assert concerns(n4) == [Concern.NO_CONFIDENCE_KNOWN]
    assert concerns(replace(n4, samples=samples(99))) == [Concern.NO_CONFIDENCE_KNOWN, Concern.NO_TISSUE]


def test_negative_intensities_are_told_where_they_mattered() -> None:
    advice = findings(replace(CORRECTED, zero=-32768.0)).advice
    assert [a.concern for a in advice] == [Concern.NEGATIVE_INTENSITIES]
    assert "-32768" in advice[0].text
    assert isinstance(advice[0], Advice)
    assert concerns(replace(left_alone(confidence=0.0, fitted_strength=1.0), zero=-1.0)) == [Concern.NO_FIELD]


def test_none_was_not_asked_for_advice() -> None:
    found = findings(BiasCorrection(ONES, ONES, BiasMethod.NONE))
    assert (found.changed, found.strength, found.tissue_share, found.advice) == (False, 1.0, None, ())
