"""How the bias field of a data set's cases is to be estimated, chosen from its fingerprint, with reasons."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.field_settings import FEWEST_CLASSES, FieldSettings
from nnunet_spine.preprocessing.foreground import MINIMUM_SIDE, MOST_SAMPLES, SAMPLE_SPACING_MM, sample_positions
from nnunet_spine.preprocessing.van_leemput import CLASSES, ORDERS

SHORTEST_HALF_WAVE_MM = 30.0
"""No coil's field goes up or down within less; a degree n has about n half-waves across the field of view."""

WANTED_SAMPLES = 2000
"""Samples that a case should give: the highest order has 34 products, and a class should have hundreds."""

CLOSER_SPACINGS_MM = (4.0, 3.5, 3.0)
"""Distances of samples for small fields of view, in mm; a closer one tells no more of a smooth field."""

SAMPLES_PER_CLASS = 200
"""Samples for each class, those in air included: half of a view is tissue, and 100 give a mean and a variance."""

LEAST_CLASSES = max(FEWEST_CLASSES, 4)
"""With fewer, the fit of the cited method was wrong on synthetic volumes."""


@dataclass(frozen=True)
class FieldChoice:
    """Settings for a data set, and one sentence for each of them by its name in the plans."""

    settings: FieldSettings
    reasons: dict[str, str]


def choose_field_settings(shapes: Sequence[Sequence[int]], spacings_mm: Sequence[Sequence[float]]) -> FieldChoice:
    """Choose classes, orders and distance of samples by the median case.

    Parameters
    ----------
    shapes
        Voxels (slice, y, x) of each case after cropping.
    spacings_mm
        Spacing (slice, y, x) of each case, in mm.

    Raises
    ------
    BadInput
        Where there is no case.
    """
    if not len(shapes):
        raise BadInput("The data set has no training case to plan from.")
    view_mm = float(np.median(_smaller_sides_mm(shapes, spacings_mm)))
    orders = choose_orders(view_mm)
    sample_spacing_mm, samples = _choose_spacing(shapes, spacings_mm)
    classes = choose_classes(samples)
    reasons = {
        "bias_field.classes": _reason_for_classes(classes, samples),
        "bias_field.orders": (
            f"degree n has about n half-waves across the view, whose smaller in-plane side is {view_mm:.0f} mm in the "
            f"median case; a coil's field has none under {SHORTEST_HALF_WAVE_MM:g} mm. Each case takes the likeliest"
        ),
        "bias_field.sample_spacing_mm": (
            f"the median case gives {samples} samples; {WANTED_SAMPLES} are wanted, and beyond {MOST_SAMPLES} a case "
            "takes them farther apart"
        ),
    }
    return FieldChoice(FieldSettings(classes, orders, sample_spacing_mm), reasons)


def choose_orders(view_mm: float) -> tuple[int, ...]:
    """Orders that compete, for the smaller in-plane side of the field of view, in mm."""
    highest = max(1, int(view_mm // SHORTEST_HALF_WAVE_MM))
    orders = tuple(order for order in ORDERS if order <= highest)
    return orders if max(orders) > 0 else (0, highest)


def choose_classes(samples: int) -> int:
    """Classes of the mixture, for the number of a case's samples."""
    return int(np.clip(samples // SAMPLES_PER_CLASS, LEAST_CLASSES, CLASSES))


def _reason_for_classes(classes: int, samples: int) -> str:
    if classes < CLASSES:
        return f"a class needs {SAMPLES_PER_CLASS} samples, and the median case gives {samples}"
    return "a spine after contrast shows fat, marrow, muscle, disc, cord, fluid, bone, and what enhances"


def _smaller_sides_mm(shapes: Sequence[Sequence[int]], spacings_mm: Sequence[Sequence[float]]) -> list[float]:
    return [min(s[1] * mm[1], s[2] * mm[2]) for s, mm in zip(shapes, spacings_mm, strict=True)]


def _choose_spacing(shapes: Sequence[Sequence[int]], spacings_mm: Sequence[Sequence[float]]) -> tuple[float, int]:
    """The largest distance that gives the samples wanted, else the closest; and what the median case then gives."""
    spacing_mm, samples = SAMPLE_SPACING_MM, _median_samples(shapes, spacings_mm, SAMPLE_SPACING_MM)
    for closer_mm in CLOSER_SPACINGS_MM:
        if samples < WANTED_SAMPLES and closer_mm < spacing_mm:
            spacing_mm, samples = closer_mm, _median_samples(shapes, spacings_mm, closer_mm)
    return spacing_mm, samples


def _median_samples(
    shapes: Sequence[Sequence[int]], spacings_mm: Sequence[Sequence[float]], sample_spacing_mm: float
) -> int:
    counts = []
    for shape, spacing_mm in zip(shapes, spacings_mm, strict=True):
        thick_enough = [max(n, MINIMUM_SIDE) for n in shape]
        counts.append(math.prod(len(along) for along in sample_positions(thick_enough, spacing_mm, sample_spacing_mm)))
    return int(np.median(counts))
