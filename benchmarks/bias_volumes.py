"""Synthetic volumes with a known bias field: easy and hard anatomy, with and without air in view.

The hard anatomy is a phantom case of the package, doubled in the plane: texture, marrow that varies, fat streaks in
muscle, and a gradient in muscle and what looks like it. (A gradient that all tissues share would be a field.) The easy
one keeps a few levels of it. Shape about 13 x 256 x 200 at 3.5 x 0.7 x 0.7 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.phantoms.acquisition import rician
from nnunet_spine.phantoms.model import Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene

Array = npt.NDArray[np.float32]
SNR = 25.0
MUSCLE = 0.42
"""Signal of muscle, in units of fat."""

MUSCLE_WIDTH = 0.1
MUSCLE_GRADIENT = 0.12
EASY_LEVELS = np.array([0.0, 0.12, 0.3, 0.45, 0.7, 1.0], np.float32)


class Field(StrEnum):
    """Kind of field."""

    NONE = "none"
    WEAK = "±20 %"
    STRONG = "±40 %"
    COIL = "coil"


@dataclass(frozen=True)
class BiasVolume:
    """An image, the field in it, where tissue is, and the spacing (z, y, x) in mm."""

    image: Array
    field: Array
    tissue: npt.NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]


def make_volume(seed: int, *, kind: Field, hard: bool, air: bool) -> BiasVolume:
    """One volume; the seed picks anatomy, field and noise."""
    rng = np.random.default_rng([seed, 58])
    signal, spacing_mm = _anatomy(seed)
    if not hard:
        nearest = np.abs(signal[..., None] - EASY_LEVELS).argmin(axis=-1)
        signal = ndimage.gaussian_filter(EASY_LEVELS[nearest], (0, 0.7, 0.7))
    if hard:
        y = np.linspace(-1, 1, signal.shape[1], dtype=np.float32)
        like_muscle = np.exp(-0.5 * ((signal - MUSCLE) / MUSCLE_WIDTH) ** 2)
        wave = np.sin(2.0 * y[:, None] + rng.uniform(0, 6))
        signal = (signal * (1 + MUSCLE_GRADIENT * like_muscle * wave)).astype(np.float32)
    margin = signal.shape[2] // 6
    if air:
        signal = signal.copy()
        signal[:, :, -margin:] = 0.0
    else:
        signal = np.maximum(signal, 0.15)
    tissue = signal > 0.08
    field = make_field(kind, signal.shape, rng)
    image = rician((signal * field).astype(np.float32), 1 / SNR, rng)
    return BiasVolume((1000 * image).astype(np.float32), field, tissue, spacing_mm)


@lru_cache(maxsize=8)
def _anatomy(seed: int) -> tuple[Array, tuple[float, float, float]]:
    """Signal without field and noise, and its spacing (z, y, x) in mm."""
    scene = AnalyticScene(sample_cohort(24, seed)[seed % 24])
    signal = ndimage.zoom(scene.signal(Series.T1_POST), (1, 2, 2), order=1).astype(np.float32)
    x, y, z = scene.grid(Series.T1_POST).geometry.spacing_xyz_mm
    return signal, (float(z), float(y) / 2, float(x) / 2)


def make_field(kind: Field, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """A smooth field (z, y, x) of about the named strength; `coil` falls off from the back as a surface coil does."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
    if kind is Field.NONE:
        return np.ones_like(zz)
    if kind is Field.COIL:
        distance = np.sqrt((xx - 1.3) ** 2 + (0.5 * yy - rng.uniform(-0.2, 0.2)) ** 2 + 0.3 * zz**2)
        return (1 / (0.35 + distance**1.5)).astype(np.float32)
    waves = sum(
        rng.normal() * np.cos(rng.uniform(0.5, 1.6) * axis * np.pi / 2 + rng.uniform(0, 6.3))
        for axis in (zz, yy, xx, yy + xx)
    )
    waves = waves - waves.mean()
    low, high = np.percentile(waves, (2, 98))
    amplitude = 0.2 if kind is Field.WEAK else 0.4
    return (1 + amplitude * (2 * (waves - low) / (high - low) - 1).clip(-1.2, 1.2)).astype(np.float32)


def field_error(estimate: Array, truth: Array, tissue: npt.NDArray[np.bool_]) -> float:
    """Relative RMS error of a field inside tissue, the free scale chosen best."""
    e, t = estimate[tissue].astype(np.float64), truth[tissue].astype(np.float64)
    scale = (e * t).sum() / (e * e).sum()
    return float(np.sqrt(np.mean((scale * e / t - 1) ** 2)))
