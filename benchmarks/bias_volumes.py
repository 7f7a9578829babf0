"""Synthetic volumes with a known bias field: easy and hard anatomy, with and without air in view.

Both are phantom cases of the package, rendered without the scanner's field. The easy anatomy has homogeneous tissues.
The hard one has texture, marrow that varies, fat streaks in muscle, and a real gradient along the muscles, which is
no field. Most are 16 x 256 x 256 at 4 x 1 x 1 mm; every third is 12 x 160 x 160.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.phantoms.acquisition import rician
from nnunet_spine.phantoms.model import Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene, Content, tissue_signal
from nnunet_spine.phantoms.tissues import Tissue, signal_table

Array = npt.NDArray[np.float32]
SNR = 25.0
MUSCLE_GRADIENT = 0.12
AIR_IN_COLUMN = 0.02


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
    side, slices, pixel_mm = (80, 12, 1.5) if seed % 3 == 0 else (128, 16, 1.0)
    case = sample_cohort(24, seed)[seed % 24]
    grid = replace(
        case.grid, rows=side, columns=side, slices=slices, pixel_mm=2 * pixel_mm, slice_spacing_mm=4.0,
        slice_thickness_mm=3.5,
    )  # fmt: skip
    signal, tissue = _anatomy(AnalyticScene(replace(case, grid=grid)), hard=hard, rng=rng)
    if not air:
        rows = slice(signal.shape[1] // 5, -signal.shape[1] // 5)
        signal, tissue = signal[:, rows], tissue[:, rows]
        # The back's skin is the end: columns behind it hold air. Gas in the bowel stays, as in a patient.
        back = int(np.flatnonzero((~tissue).mean(axis=(0, 1)) < AIR_IN_COLUMN)[-1]) + 1
        signal, tissue = signal[:, :, :back], tissue[:, :, :back]
    field = make_field(kind, signal.shape, rng)
    image = 1000 * rician((signal * field).astype(np.float32), 1 / SNR, rng)
    return BiasVolume(image.astype(np.float32), field, tissue & (signal > 0.08), (4.0, pixel_mm, pixel_mm))


def _anatomy(scene: AnalyticScene, *, hard: bool, rng: np.random.Generator) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Signal without field and noise, doubled in the plane, and where the body is."""
    grid = scene.grid(Series.T1_POST)
    content = scene.sagittal_content
    case = scene.case
    table = signal_table(
        Series.T1_POST, case.lesion, fat_suppressed=case.acquisition.fat_suppressed,
        rng=np.random.default_rng([case.anatomy.texture_seed, 20]),
    )  # fmt: skip
    if not hard:
        content = Content(content.shares, {name: np.zeros_like(t) for name, t in content.textures.items()})
    signal = tissue_signal(content, table, case.anatomy.muscle_fat)
    if hard:
        along = np.linspace(-1, 1, grid.geometry.shape_zyx[1])[:, None]
        gradient = MUSCLE_GRADIENT * np.sin(2.0 * along + rng.uniform(0, 6)) * content.shares[Tissue.MUSCLE]
        signal = signal * (1 + gradient)
    signal = ndimage.zoom(signal, (1, 2, 2), order=1).astype(np.float32)
    body = ndimage.zoom(content.shares[Tissue.AIR], (1, 2, 2), order=1) < 0.5
    return signal, body


def make_field(kind: Field, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """A smooth field of about the named strength; `coil` falls off from the back as a surface coil does."""
    zz, yy, xx = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
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
