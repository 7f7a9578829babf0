"""From an analytic patient to the signal in each voxel, before the scanner's field and noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nnunet_spine.phantoms.anatomy import CanalPoints, canal_points, tissue_labels
from nnunet_spine.phantoms.canal import CanalProfile, canal_profile
from nnunet_spine.phantoms.fields import FloatArray, float32, level_noise, smooth_noise
from nnunet_spine.phantoms.grids import SeriesGrid, SlicePoints, axial_grid, sagittal_grid, slice_points
from nnunet_spine.phantoms.lesions import LesionBody, lesion_body, lesion_radius
from nnunet_spine.phantoms.model import CaseSpec, Series
from nnunet_spine.phantoms.tissues import LESION_TISSUES, Tissue, signal_table

_TAIL_RADIUS = 1.9
_EDEMA_RADIUS = 1.9
_SYRINX_CORD_SHARE = 0.45


@dataclass(frozen=True, eq=False)
class Content:
    """What the voxels of one grid hold.

    Parameters
    ----------
    shares
        Share of each tissue, shape (tissues, z, y, x).
    textures
        Relative variation at voxel centres by name, each (z, y, x).
    """

    shares: FloatArray
    textures: dict[str, FloatArray]

    @property
    def lesion_share(self) -> FloatArray:
        """Share of each voxel that is tumor, its core included, (z, y, x)."""
        return float32(self.shares[list(LESION_TISSUES)].sum(axis=0))


class AnalyticScene:
    """The analytic anatomy of one case with its tumor.

    Parameters
    ----------
    case
        What to show.
    """

    adds_scanner = True
    """Whether coil field and noise are still to be added."""

    def __init__(self, case: CaseSpec) -> None:
        self.case = case
        self.profile: CanalProfile = canal_profile(case.anatomy, case.lesion)
        self.body: LesionBody = lesion_body(case.lesion, self.profile)

    def grid(self, series: Series) -> SeriesGrid:
        """Grid of a series."""
        if series is Series.AXIAL_T1:
            return axial_grid(
                self.case.grid, along_mm=self.case.lesion.along_mm, canal_y_mm=self.case.anatomy.canal_y_mm
            )
        return sagittal_grid(self.case.grid)

    def signal(self, series: Series) -> FloatArray:
        """Signal of a series without field and noise, (z, y, x), in units of fat on T1."""
        content = self._axial if series is Series.AXIAL_T1 else self.sagittal_content
        rng = np.random.default_rng([self.case.anatomy.texture_seed, 20])
        fat_suppressed = self.case.acquisition.fat_suppressed and series is Series.T1_POST
        table = signal_table(series, self.case.lesion, fat_suppressed=fat_suppressed, rng=rng)
        return tissue_signal(content, table, self.case.anatomy.muscle_fat)

    def lesion_share(self) -> FloatArray:
        """Share of tumor in each voxel of the sagittal grid, (z, y, x)."""
        return self.sagittal_content.lesion_share

    @cached_property
    def sagittal_content(self) -> Content:
        """What each voxel of the sagittal grid holds."""
        return self._content(self.grid(Series.T1_POST))

    @cached_property
    def _axial(self) -> Content:
        return self._content(self.grid(Series.AXIAL_T1))

    def _content(self, grid: SeriesGrid) -> Content:
        origin = self.case.grid.isocentre_mm
        shares = np.empty((len(Tissue), *grid.geometry.shape_zyx), np.float32)
        for k, points in enumerate(slice_points(grid, origin)):
            labels = self._labels(points)
            for tissue in Tissue:
                shares[tissue, k] = points.average(labels == tissue)
        centres = [self._textures(points) for points in slice_points(grid, origin, subsamples_zyx=(1, 1, 1))]
        return Content(shares, {name: np.stack([slice_[name] for slice_ in centres]) for name in centres[0]})

    def _labels(self, points: SlicePoints) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        anatomy = self.case.anatomy
        where = canal_points(anatomy, points.x, points.y, points.z)
        labels = tissue_labels(anatomy, self.profile, where, points.y)
        self._add_lesion(where, labels)
        return labels

    def _add_lesion(self, where: CanalPoints, labels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
        lesion = self.case.lesion
        reach = self.body.reach_mm() + (25 if lesion.syrinx else 0)
        widest = float(self.profile.sac_lateral_mm.max()) + 3
        tallest = float(self.profile.sac_ap_mm.max()) + 3
        near = (
            (np.abs(where.z - np.float32(lesion.along_mm)) < reach)
            & (np.abs(where.u) < widest)
            & (np.abs(where.v) < tallest)
        )
        if not near.any():
            return
        u, v, z, local = where.u[near], where.v[near], where.z[near], labels[near]
        radius = lesion_radius(lesion, self.profile, u, v, z)
        if lesion.syrinx:
            beyond = np.abs(z - np.float32(lesion.along_mm)) < lesion.half_axes_mm[2] + 22
            local[(self.profile.cord_radius(u, v, z) < _SYRINX_CORD_SHARE) & beyond & (local == Tissue.CORD)] = (
                Tissue.CSF
            )
        if lesion.edema:
            local[(radius < self.body.level * _EDEMA_RADIUS) & (local == Tissue.CORD)] = Tissue.EDEMA
        if lesion.dural_tail:
            smooth = np.abs(z - np.float32(lesion.along_mm)) < lesion.half_axes_mm[2] * _TAIL_RADIUS
            same_side = u * np.cos(lesion.angle) + v * np.sin(lesion.angle) > 0.5 * self.profile.sac_ap_at(z)
            local[smooth & same_side & (local == Tissue.DURA)] = Tissue.DURAL_TAIL
        tumor = radius < self.body.level
        local[tumor] = Tissue.TUMOR
        if lesion.core_share:
            local[radius < self.body.level * lesion.core_share] = Tissue.NECROSIS
        labels[near] = local

    def _textures(self, points: SlicePoints) -> dict[str, FloatArray]:
        seed = self.case.anatomy.texture_seed
        x, y, z = points.x, points.y, points.z
        shape = (points.rows, points.columns)
        where = canal_points(self.case.anatomy, x, y, z)
        level = level_noise(where.level, seed=seed, stream=9)
        fine = smooth_noise(x, y, z, seed=seed, stream=3, scale_mm=(2.5, 1.6, 1.6))
        broad = smooth_noise(x, y, z, seed=seed, stream=4, scale_mm=(9, 8, 10))
        streaks = smooth_noise(x, y + 0.3 * z, z, seed=seed, stream=5, scale_mm=(3, 2.2, 16))
        return {
            "fine": fine.reshape(shape),
            "broad": broad.reshape(shape),
            "streaks": streaks.reshape(shape),
            "level": level.reshape(shape),
        }


def tissue_signal(content: Content, table: FloatArray, muscle_fat: float) -> FloatArray:
    """Signal of each voxel from its tissue shares, with texture in muscle, marrow, fat, organs, CSF and tumor.

    Parameters
    ----------
    content
        Shares and textures.
    table
        Signal by tissue number.
    muscle_fat
        Share of fat in muscle.

    Returns
    -------
    Array (z, y, x).
    """
    fine, broad, streaks, level = (content.textures[name] for name in ("fine", "broad", "streaks", "level"))
    fat_in_muscle = np.clip((streaks + 0.6 * broad - 1.0 + 2.6 * muscle_fat) * 0.5, 0, 0.9)
    muscle = (
        table[Tissue.MUSCLE] * (1 + 0.1 * fine + 0.06 * broad) * (1 - fat_in_muscle) + table[Tissue.FAT] * fat_in_muscle
    )
    varied = {
        Tissue.MUSCLE: muscle,
        Tissue.MARROW: table[Tissue.MARROW] * np.clip(1 + 0.08 * level + 0.07 * fine + 0.08 * broad, 0.3, 2),
        Tissue.FAT: table[Tissue.FAT] * (1 + 0.04 * fine + 0.06 * broad - 0.25 * np.clip(streaks - 1.2, 0, 1)),
        Tissue.ORGAN: table[Tissue.ORGAN] * (1 + 0.15 * fine + 0.2 * broad),
        Tissue.CSF: table[Tissue.CSF] * (1 + 0.12 * broad),
        Tissue.CORD: table[Tissue.CORD] * (1 + 0.03 * fine),
        Tissue.TUMOR: table[Tissue.TUMOR] * (1 + 0.12 * fine + 0.06 * broad),
        Tissue.NECROSIS: table[Tissue.NECROSIS] * (1 + 0.12 * fine),
    }
    signal = np.zeros(content.shares.shape[1:], np.float32)
    for tissue in Tissue:
        signal += content.shares[tissue] * varied.get(tissue, table[tissue])
    return float32(np.clip(signal, 0, None))
