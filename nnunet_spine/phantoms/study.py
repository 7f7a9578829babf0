"""One study: its scene taken by its scanner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from nnunet_spine.phantoms.acquisition import StoredArray, coil_field, rician, stored_values
from nnunet_spine.phantoms.fields import FloatArray
from nnunet_spine.phantoms.grids import SeriesGrid, slice_points
from nnunet_spine.phantoms.makers import MAKERS
from nnunet_spine.phantoms.model import CaseSpec, Series

FEWEST_VOXELS = 8
"""A reference has at least so many voxels: where fewer are half filled, those with most tumor are taken."""


class Scene(Protocol):
    """What can be imaged: an analytic anatomy, or a real volume with a tumor in it."""

    @property
    def case(self) -> CaseSpec:
        """The case shown."""

    @property
    def adds_scanner(self) -> bool:
        """Whether coil field and noise are still to be added."""

    def grid(self, series: Series) -> SeriesGrid:
        """Grid of a series."""

    def signal(self, series: Series) -> FloatArray:
        """Signal of a series, (z, y, x), in units of fat on T1."""

    def lesion_share(self) -> FloatArray:
        """Share of tumor in each voxel of the sagittal grid, (z, y, x)."""


@dataclass(frozen=True, eq=False)
class Acquired:
    """A series as stored: integers (z, y, x) in the order of instance numbers, and their grid."""

    series: Series
    grid: SeriesGrid
    stored: StoredArray


def acquire(scene: Scene, series: Series) -> Acquired:
    """Take a series: field and noise where the scene has none of its own, then stored integers."""
    case, grid, signal = scene.case, scene.grid(series), scene.signal(series)
    acquisition = case.acquisition
    if scene.adds_scanner:
        signal = signal * _field(case, grid)
        rng = np.random.default_rng([acquisition.seed, list(Series).index(series)])
        signal = rician(signal, 1 / acquisition.snr, rng)
    style = MAKERS[acquisition.maker]
    stored = stored_values(signal, full_scale=style.full_scale, bits_stored=style.bits_stored, signed=style.signed)
    return Acquired(series, grid, stored)


def reference_mask(lesion_share: FloatArray) -> npt.NDArray[np.bool_]:
    """Voxels that are at least half tumor, or the `FEWEST_VOXELS` with most tumor where those are fewer.

    Parameters
    ----------
    lesion_share
        Share of tumor in each voxel, (z, y, x).
    """
    mask = lesion_share >= 0.5
    if mask.sum() < FEWEST_VOXELS:
        best = np.argsort(-lesion_share, axis=None, kind="stable")[:FEWEST_VOXELS]
        mask = np.zeros(lesion_share.shape, bool)
        mask.ravel()[best] = lesion_share.ravel()[best] > 0
    return mask


def _field(case: CaseSpec, grid: SeriesGrid) -> FloatArray:
    acquisition, anatomy = case.acquisition, case.anatomy
    shape = grid.geometry.shape_zyx
    slices = slice_points(grid, case.grid.isocentre_mm, subsamples_zyx=(1, 1, 1))
    y, z = (np.stack(axis).reshape(shape) for axis in zip(*[(p.y, p.z) for p in slices], strict=True))
    return coil_field(
        np.float32(anatomy.canal_y_mm + anatomy.back_depth_mm) - y,
        z,
        strength=acquisition.coil_strength,
        falloff_mm=acquisition.coil_depth_mm,
        centre_mm=acquisition.coil_centre_mm,
        length_mm=acquisition.coil_length_mm,
    )
