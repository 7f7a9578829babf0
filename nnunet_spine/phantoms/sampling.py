"""Drawing the specifications of a cohort.

What a cohort should be balanced in (volume, compartment, region, look, maker)
follows a low-discrepancy sequence, so that also a small cohort has its share
of each; the rest is drawn from a generator of its own for each patient and
study. Case n is the same in every cohort of the same seed, whatever its size.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, pi
from typing import TypeVar

import numpy as np

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.phantoms.lesion_sampling import SMALLEST_ML, sample_lesion
from nnunet_spine.phantoms.makers import MAKERS
from nnunet_spine.phantoms.model import AcquisitionSpec, AnatomySpec, CaseSpec, GridSpec, Maker

T = TypeVar("T")

FOLLOW_UP_EVERY = 12
"""Every twelfth case is a second study of the patient before it."""

_REGIONS = ((Region.CERVICAL, 0.4), (Region.THORACIC, 0.35), (Region.LUMBAR, 0.25))
_MAKERS = ((Maker.SIEMENS, 0.45), (Maker.GE, 0.25), (Maker.PHILIPS, 0.3))
_COMPARTMENTS = ((Compartment.INTRAMEDULLARY, 0.45), (Compartment.EXTRAMEDULLARY, 0.55))

_RANGES: dict[Region, dict[str, tuple[float, float]]] = {
    Region.CERVICAL: {
        "curve_radius_mm": (160, 420), "pitch_mm": (17.5, 21), "disc_share": (0.24, 0.32), "body_depth_mm": (15, 19),
        "body_half_width_mm": (9, 12), "sac_half_ap_mm": (5.8, 7.6), "sac_half_lateral_mm": (8.5, 11),
        "cord_half_ap_mm": (3.2, 4.0), "cord_half_lateral_mm": (5.2, 6.6), "spinous_length_mm": (16, 26),
        "spinous_tilt": (0.3, 0.6), "back_depth_mm": (46, 68), "subcutaneous_mm": (4, 14), "front_depth_mm": (58, 85),
    },
    Region.THORACIC: {
        "curve_radius_mm": (-420, -170), "pitch_mm": (23, 28), "disc_share": (0.16, 0.22), "body_depth_mm": (24, 30),
        "body_half_width_mm": (13, 17), "sac_half_ap_mm": (5.8, 7.4), "sac_half_lateral_mm": (7, 9),
        "cord_half_ap_mm": (2.8, 3.5), "cord_half_lateral_mm": (3.8, 4.8), "spinous_length_mm": (24, 34),
        "spinous_tilt": (0.7, 1.2), "back_depth_mm": (46, 76), "subcutaneous_mm": (6, 22), "front_depth_mm": (200, 230),
    },
    Region.LUMBAR: {
        "curve_radius_mm": (150, 380), "pitch_mm": (34, 40), "disc_share": (0.24, 0.32), "body_depth_mm": (30, 37),
        "body_half_width_mm": (20, 25), "sac_half_ap_mm": (6.5, 8.8), "sac_half_lateral_mm": (8.5, 11.5),
        "cord_half_ap_mm": (3.0, 3.8), "cord_half_lateral_mm": (4.2, 5.2), "spinous_length_mm": (24, 32),
        "spinous_tilt": (0.1, 0.3), "back_depth_mm": (52, 92), "subcutaneous_mm": (6, 30), "front_depth_mm": (200, 230),
    },
}  # fmt: skip
"""Ranges of anatomy by region, in mm: textbook sizes of adults."""


def sample_cohort(cases: int, seed: int) -> list[CaseSpec]:
    """Specifications of `cases` cases.

    Parameters
    ----------
    cases
        How many; every twelfth is a second study of the patient before it.
    seed
        Any non-negative integer.
    """
    return [_sample_case(number, seed) for number in range(cases)]


def _sample_case(number: int, seed: int) -> CaseSpec:
    follow_up = number % FOLLOW_UP_EVERY == FOLLOW_UP_EVERY - 1
    first = number - 1 if follow_up else number
    even = _even_numbers(first, seed)
    patient_rng = np.random.default_rng([seed, first, 0])
    grid = _sample_grid(patient_rng)
    anatomy = _sample_anatomy(patient_rng, _pick(_REGIONS, even[0]), grid)
    lesion = sample_lesion(
        patient_rng,
        compartment=_pick(_COMPARTMENTS, even[1]),
        look_quantile=even[2],
        volume_quantile=even[3],
        anatomy=anatomy,
        grid=grid,
    )
    acquisition = _sample_acquisition(patient_rng, _pick(_MAKERS, even[4]))
    if follow_up:
        study_rng = np.random.default_rng([seed, number, 1])
        grid = replace(grid, slices=_sample_grid(study_rng).slices, left_to_right=bool(study_rng.random() < 0.5))
        lesion = replace(lesion, volume_ml=round(max(SMALLEST_ML, lesion.volume_ml * study_rng.uniform(0.4, 0.9)), 3))
        acquisition = _sample_acquisition(study_rng, acquisition.maker)
    patient_number = first - first // FOLLOW_UP_EVERY + 1
    return CaseSpec(number, patient_number, 1 + follow_up, anatomy, lesion, grid, acquisition)


def _even_numbers(number: int, seed: int) -> list[float]:
    """Member of the R5 sequence with a random start (M. Roberts, 2018): evenly spread over the unit cube."""
    start = np.random.default_rng([seed, 2**20]).random(5)
    base = 1.1673039782614187  # root of x^6 = x + 1
    return [float((start[i] + (number + 1) * base ** -(i + 1)) % 1.0) for i in range(5)]


def _pick(shares: tuple[tuple[T, float], ...], quantile: float) -> T:
    total = 0.0
    for value, share in shares:
        total += share
        if quantile < total:
            return value
    return shares[-1][0]


def _sample_grid(rng: np.random.Generator) -> GridSpec:
    pixel = round(float(rng.uniform(1.0, 1.6)), 4)
    spacing = round(float(rng.uniform(3.0, 4.4)), 2)
    oblique = rng.random() < 0.4
    return GridSpec(
        rows=_even(rng.uniform(130, 220) / pixel, 96, 192),
        columns=_even(rng.uniform(100, 170) / pixel, 80, 144),
        slices=int(rng.integers(11, 17)),
        pixel_mm=pixel,
        slice_spacing_mm=spacing,
        slice_thickness_mm=round(spacing * float(rng.choice([0.9, 10 / 11])), 2),
        turn_degrees=round(float(rng.uniform(-6, 6)) if oblique else 0.0, 2),
        tilt_degrees=round(float(rng.uniform(-3.5, 3.5)) if oblique else 0.0, 2),
        left_to_right=bool(rng.random() < 0.5),
        isocentre_mm=(
            round(float(rng.uniform(-8, 8)), 2),
            round(float(rng.uniform(-30, 10)), 2),
            round(float(rng.uniform(-60, 60)), 2),
        ),
    )


def _even(value: float, low: int, high: int) -> int:
    return int(np.clip(2 * round(value / 2), low, high))


def _sample_anatomy(rng: np.random.Generator, region: Region, grid: GridSpec) -> AnatomySpec:
    drawn = {name: float(rng.uniform(low, high)) for name, (low, high) in _RANGES[region].items()}
    half_height = grid.rows * grid.pixel_mm / 2
    return AnatomySpec(
        region=region,
        **drawn,
        curve_apex_mm=float(rng.uniform(-0.25, 0.25) * half_height),
        canal_y_mm=float(rng.uniform(-8, 14)),
        scoliosis_mm=min(float(rng.gamma(1.2, 1.2)), 4.0),
        scoliosis_phase=float(rng.uniform(0, 2 * pi)),
        pitch_phase=float(rng.random()),
        conus_z_mm=float(rng.uniform(0.0, 0.35) * half_height) if region is Region.LUMBAR else -inf,
        muscle_fat=float(rng.beta(1.5, 4)),
        vein_share=float(rng.beta(2, 2)),
        texture_seed=int(rng.integers(2**31)),
    )


def _sample_acquisition(rng: np.random.Generator, maker: Maker) -> AcquisitionSpec:
    models = MAKERS[maker].models
    model, field_strength = models[int(rng.integers(len(models)))]
    philips = maker is Maker.PHILIPS
    return AcquisitionSpec(
        maker=maker,
        model=model,
        field_strength=field_strength,
        coil_strength=float(rng.uniform(0.2, 1.5)),
        coil_depth_mm=float(rng.uniform(35, 80)),
        coil_centre_mm=float(rng.uniform(-30, 30)),
        coil_length_mm=float(rng.uniform(90, 220)),
        snr=float(rng.uniform(28, 60) * (1.0 if field_strength < 2 else 1.3)),
        fat_suppressed=bool(rng.random() < 0.2),
        agent_recorded=bool(rng.random() < 0.75),
        rescale_slope=round(float(rng.uniform(0.6, 3.8)), 6) if philips else 1.0,
        rescale_intercept=round(float(rng.choice([0.0, 0.0, -12.5])), 1) if philips else 0.0,
        seed=int(rng.integers(2**31)),
    )
