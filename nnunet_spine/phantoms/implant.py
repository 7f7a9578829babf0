"""A tumor in a real volume: real anatomy, noise and coil field under a lesion of known shape.

Each case sees its volume anew: a part of it, mirrored or not, a little larger or smaller, and smoothly warped.
Around the tumor the tissue is pushed aside as in the analytic canal. The tumor's signal follows the signal around
it, so that the coil's field stays; no noise and no field are added.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import inf

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.phantoms.backgrounds import Background
from nnunet_spine.phantoms.canal import CanalProfile, canal_profile
from nnunet_spine.phantoms.fields import FloatArray, float32, smooth_noise
from nnunet_spine.phantoms.grids import SeriesGrid, SlicePoints, axial_grid, sagittal_grid, slice_points
from nnunet_spine.phantoms.lesion_sampling import refit_lesion
from nnunet_spine.phantoms.lesions import LesionBody, lesion_body
from nnunet_spine.phantoms.model import CaseSpec, GridSpec, Series

WARP_MM = 1.5
"""Largest displacement of the smooth warp along each axis."""

_WARP_SCALE_MM = (16.0, 16.0, 22.0)
_SCALES = (0.94, 1.06)
_MARGIN_MM = WARP_MM + 0.5
_CORD_T1 = 0.46
_LEVEL_SIGMA_MM = 7.0
_PUSH_RADIUS = 2.5
_PUSH_SIGMA_MM = 3.5
_SERIES_GAIN = {Series.T1_PRE: (0.96, 0.75), Series.T2: (1.35, 1.6)}
"""Signal of solid part and core over the tissue around, where contrast does not decide."""


@dataclass(frozen=True)
class Placement:
    """How a case's frame lies in its background's frame.

    Parameters
    ----------
    mirrored
        Whether left and right change sides.
    scale
        Size in the background for a size in the case.
    offset_mm
        The case's origin in the background, along x, y, z.
    seed
        Seed of the warp.
    """

    mirrored: bool
    scale: float
    offset_mm: tuple[float, float, float]
    seed: int

    def to_background(self, x: FloatArray, y: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Points of the background's frame for points of the case's frame, in mm."""
        side = -1.0 if self.mirrored else 1.0
        moved = []
        for axis, (p, sign) in enumerate(((x, side), (y, 1.0), (z, 1.0))):
            noise = smooth_noise(x, y, z, seed=self.seed, stream=30 + axis, scale_mm=_WARP_SCALE_MM)
            bent = p + np.clip(0.5 * WARP_MM * noise, -WARP_MM, WARP_MM)
            moved.append((np.float32(sign * self.scale) * bent + np.float32(self.offset_mm[axis])).astype(np.float32))
        return moved[0], moved[1], moved[2]


def placed_case(case: CaseSpec, background: Background) -> tuple[CaseSpec, Placement]:
    """A case whose grid is within what the background covers, with its tumor refitted, and how it lies there.

    Parameters
    ----------
    case
        As drawn for an analytic anatomy.
    background
        The volume to use.
    """
    rng = np.random.default_rng([case.anatomy.texture_seed, 60])
    scale = float(rng.uniform(*_SCALES))
    mirrored = bool(rng.random() < 0.5)
    usable = [max(extent - 2 * _MARGIN_MM, 20.0) / scale for extent in background.extent_mm]
    grid = _covered_grid(case.grid, usable)
    line = background.centreline
    size = (grid.slices * grid.slice_spacing_mm, grid.columns * grid.pixel_mm, grid.rows * grid.pixel_mm)
    middle_z = _shifted(rng, 0.0, size[2], usable[2], scale, 40.0)
    wanted = (float(np.interp(middle_z, line.z_mm, line.x_mm)), float(np.interp(middle_z, line.z_mm, line.y_mm)))
    offset = (
        _shifted(rng, wanted[0], size[0], usable[0], scale, 2.0),
        _shifted(rng, wanted[1], size[1], usable[1], scale, 12.0),
        middle_z,
    )
    anatomy = replace(
        case.anatomy,
        region=background.region,
        cord_half_lateral_mm=line.cord_half_mm[0] / scale,
        cord_half_ap_mm=line.cord_half_mm[1] / scale,
        sac_half_lateral_mm=line.sac_half_mm[0] / scale,
        sac_half_ap_mm=line.sac_half_mm[1] / scale,
        conus_z_mm=-inf,
        canal_y_mm=(wanted[1] - offset[1]) / scale,
    )
    lesion = refit_lesion(case.lesion, rng, anatomy=anatomy, before=case.grid, grid=grid)
    placement = Placement(mirrored, scale, offset, case.anatomy.texture_seed)
    return replace(case, anatomy=anatomy, grid=grid, lesion=lesion), placement


def _covered_grid(grid: GridSpec, usable_mm: list[float]) -> GridSpec:
    """Grid of no more than `usable_mm` along x, y, z; slices as thick as asked for unless fewer than 11 would fit."""
    spacing = round(float(np.clip(usable_mm[0] / 11, 3.0, grid.slice_spacing_mm)), 2)
    return replace(
        grid,
        slices=min(grid.slices, int(usable_mm[0] / spacing)),
        slice_spacing_mm=spacing,
        slice_thickness_mm=round(0.9 * spacing, 2),
        columns=min(grid.columns, int(usable_mm[1] / grid.pixel_mm)),
        rows=min(grid.rows, int(usable_mm[2] / grid.pixel_mm)),
        turn_degrees=0.0,
        tilt_degrees=0.0,
    )


def _shifted(
    rng: np.random.Generator, wanted: float, size_mm: float, usable_mm: float, scale: float, spread_mm: float
) -> float:
    """Middle of the field of view in the background: near `wanted`, and so that it is covered."""
    room = max((usable_mm - size_mm) / 2, 0.0) * scale
    return float(np.clip(wanted + rng.uniform(-spread_mm, spread_mm), -room, room))


class ImplantedScene:
    """A real volume with a tumor in it.

    Parameters
    ----------
    case
        As drawn for an analytic anatomy; refitted to the background.
    background
        The volume.
    """

    adds_scanner = False
    """Field and noise are the background's own."""

    def __init__(self, case: CaseSpec, background: Background) -> None:
        self.case, self.placement = placed_case(case, background)
        self.background = background
        self.profile: CanalProfile = canal_profile(self.case.anatomy, self.case.lesion)
        self.body: LesionBody = lesion_body(self.case.lesion, self.profile)

    def grid(self, series: Series) -> SeriesGrid:
        """Grid of a series."""
        if series is not Series.AXIAL_T1:
            return sagittal_grid(self.case.grid)
        grid = self.case.grid
        return axial_grid(
            grid,
            along_mm=self.case.lesion.along_mm,
            canal_y_mm=0.0,
            width_mm=grid.slices * grid.slice_spacing_mm,
            height_mm=grid.columns * grid.pixel_mm,
        )

    def signal(self, series: Series) -> FloatArray:
        """Signal of a series, (z, y, x); the background's 99th percentile is 1."""
        tissue, share, core = self._axial if series is Series.AXIAL_T1 else self._sagittal
        lesion = self.case.lesion
        contrast = (lesion.enhancement / _CORD_T1, lesion.core_signal / _CORD_T1)
        solid_gain, core_gain = _SERIES_GAIN.get(series, contrast)
        spacing = self.grid(series).geometry.spacing_zyx_mm
        level = _level_around(tissue, share, spacing)
        grain = tissue - ndimage.gaussian_filter(tissue, [0.6 * spacing[2] * 2 / s for s in spacing])
        rng = np.random.default_rng([lesion.seed, 31])
        texture = 1 + 0.1 * ndimage.gaussian_filter(rng.standard_normal(tissue.shape), 1.0)
        inside = level * (solid_gain * (share - core) + core_gain * core) * texture + share * grain
        return float32(np.clip((1 - share) * tissue + inside, 0, None))

    def lesion_share(self) -> FloatArray:
        """Share of tumor in each voxel of the sagittal grid, (z, y, x)."""
        return self._sagittal[1]

    @cached_property
    def _sagittal(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self._content(self.grid(Series.T1_POST))

    @cached_property
    def _axial(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        return self._content(self.grid(Series.AXIAL_T1))

    def _content(self, grid: SeriesGrid) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Tissue pushed aside, share of the tumor and share of its core, each (z, y, x)."""
        slices = [self._slice(points) for points in slice_points(grid, self.case.grid.isocentre_mm)]
        tissue, share, core = (np.stack(part) for part in zip(*slices, strict=True))
        return tissue, share, core

    def _slice(self, points: SlicePoints) -> tuple[FloatArray, FloatArray, FloatArray]:
        centre_x, centre_y = self._centre(points.z)
        u, v, z = points.x - centre_x, points.y - centre_y, points.z
        scaled_u, scaled_v = self._pushed(u, v, z)
        x, y, z_background = self.placement.to_background(centre_x + scaled_u, centre_y + scaled_v, z)
        tissue = points.average(self.background.sample(x, y, z_background))
        near = (np.abs(z - np.float32(self.case.lesion.along_mm)) < self.body.reach_mm()) & (np.hypot(u, v) < 30)
        inside, core = np.zeros(u.shape, bool), np.zeros(u.shape, bool)
        if near.any():
            inside[near] = self.body.inside(u[near], v[near], z[near])
            core[near] = self.body.core(u[near], v[near], z[near])
        return tissue, points.average(inside), points.average(core)

    def _centre(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        z_case, x_case, y_case = self._centreline
        return np.interp(z, z_case, x_case).astype(np.float32), np.interp(z, z_case, y_case).astype(np.float32)

    @cached_property
    def _centreline(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Course of the canal in the case's frame, ascending in z: the placement undone, its warp by iteration."""
        line, placement = self.background.centreline, self.placement
        target = np.stack([line.x_mm, line.y_mm, line.z_mm]).astype(np.float32)
        step = np.array([[-1.0 if placement.mirrored else 1.0], [1.0], [1.0]], np.float32) / np.float32(placement.scale)
        point = (target - np.array(placement.offset_mm, np.float32)[:, None]) * step
        for _ in range(8):
            point = point + (target - np.stack(placement.to_background(*point))) * step
        point = point[:, np.argsort(point[2], kind="stable")]
        return point[2], point[0], point[1]

    def _pushed(self, u: FloatArray, v: FloatArray, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Where the tissue at canal coordinates comes from: nearer to the middle where cord or sac had to widen."""
        anatomy, profile = self.case.anatomy, self.profile
        radius = profile.sac_radius(u, v, z)
        fade = np.clip((radius - 1) / (_PUSH_RADIUS - 1), 0, 1)
        fade = fade * fade * (3 - 2 * fade)
        weight = np.clip(1.3 - radius, 0, 1)
        axes = (
            (u, profile.cord_u_mm, profile.sac_lateral_mm, anatomy.sac_half_lateral_mm, profile.cord_lateral_mm,
             anatomy.cord_half_lateral_mm),
            (v, profile.cord_v_mm, profile.sac_ap_mm, anatomy.sac_half_ap_mm, profile.cord_ap_mm,
             anatomy.cord_half_ap_mm),
        )  # fmt: skip
        moved = []
        for p, shift, sac_now, sac_before, cord_now, cord_before in axes:
            ratio = np.minimum(1.0, np.minimum(sac_before / sac_now, 1.15 * cord_before / cord_now))
            shrink, aside = (self._smooth_along(table, z) for table in (ratio, shift))
            moved.append((p - aside * weight) * (shrink + (1 - shrink) * fade))
        return moved[0], moved[1]

    def _smooth_along(self, table: npt.NDArray[np.float64], z: FloatArray) -> FloatArray:
        """A table over the profile's z, without its sudden ends, at `z`."""
        z_mm = self.profile.z_mm
        return float32(np.interp(z, z_mm, ndimage.gaussian_filter1d(table, _PUSH_SIGMA_MM / (z_mm[1] - z_mm[0]))))


def _level_around(tissue: FloatArray, share: FloatArray, spacing_zyx_mm: tuple[float, float, float]) -> FloatArray:
    """Smoothed signal of the tissue in and around the tumor's place."""
    near = ndimage.gaussian_filter(share, [3.0 / s for s in spacing_zyx_mm]) + np.float32(1e-4)
    sigma = [_LEVEL_SIGMA_MM / s for s in spacing_zyx_mm]
    return float32(ndimage.gaussian_filter(tissue * near, sigma) / ndimage.gaussian_filter(near, sigma))
