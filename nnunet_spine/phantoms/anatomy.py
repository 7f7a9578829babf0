"""Which tissue fills which point: an analytic spine in physical space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnunet_spine.cases import Region
from nnunet_spine.phantoms.canal import CanalProfile
from nnunet_spine.phantoms.fields import FloatArray, float32, level_noise, smooth_noise
from nnunet_spine.phantoms.model import AnatomySpec
from nnunet_spine.phantoms.tissues import Tissue

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

CORTEX_MM = 0.9
DURA_MM = 0.55
SKIN_MM = 1.8
_SCOLIOSIS_LENGTH_MM = 190.0


@dataclass(frozen=True, eq=False)
class CanalPoints:
    """Points in coordinates that follow the canal, all arrays of one shape, in mm.

    Parameters
    ----------
    u, v
        To the left and to posterior of the sac's centre.
    z
        z of the body frame.
    along
        Position along the canal, perpendicular to its course.
    level, phase
        Number of the vertebra, and the place in its unit (0 to 1, the disc at its end).
    """

    u: FloatArray
    v: FloatArray
    z: FloatArray
    along: FloatArray
    level: FloatArray
    phase: FloatArray


def canal_points(anatomy: AnatomySpec, x: FloatArray, y: FloatArray, z: FloatArray) -> CanalPoints:
    """Coordinates that follow the canal, for points of the body frame."""
    from_apex = z - np.float32(anatomy.curve_apex_mm)
    bend = np.float32(0.5 / anatomy.curve_radius_mm)
    wave = z * np.float32(2 * np.pi / _SCOLIOSIS_LENGTH_MM) + np.float32(anatomy.scoliosis_phase)
    lateral = float32(anatomy.scoliosis_mm * np.sin(wave))
    v = y - (np.float32(anatomy.canal_y_mm) + bend * from_apex * from_apex)
    along = z + v * (2 * bend * from_apex)
    unit = along / np.float32(anatomy.pitch_mm) + np.float32(anatomy.pitch_phase)
    level = np.floor(unit)
    return CanalPoints(float32(x - lateral), float32(v), z, along, level, unit - level)


def tissue_labels(anatomy: AnatomySpec, profile: CanalProfile, points: CanalPoints, y: FloatArray) -> Labels:
    """Tissue at each point, without the tumor.

    Parameters
    ----------
    anatomy, profile
        The patient, and the canal with what the tumor does to it.
    points, y
        The points, and their y in the body frame.

    Returns
    -------
    Values of `Tissue`, of the points' shape.
    """
    labels = np.full(points.u.shape, Tissue.MUSCLE, np.uint8)
    _front(anatomy, points, labels)
    sac_ap = profile.sac_ap_at(points.z)
    sac_lateral = profile.sac_lateral_at(points.z)
    _vertebrae(anatomy, points, sac_ap, labels)
    _arches(anatomy, points, sac_ap, sac_lateral, labels)
    _canal(anatomy, profile, points, labels)
    _surface(anatomy, points, y, labels)
    return labels


def _front(anatomy: AnatomySpec, points: CanalPoints, labels: Labels) -> None:
    """What lies before the spine: airway and neck, aorta and lungs, or vessels and bowel."""
    depth = -points.v - np.float32(anatomy.sac_half_ap_mm + anatomy.body_depth_mm + 2.0)
    before = depth > 0
    u, z = points.u, points.z
    noise = np.zeros_like(u)
    noise[before] = smooth_noise(
        u[before], points.v[before], z[before], seed=anatomy.texture_seed, stream=1, scale_mm=(11, 9, 13)
    )
    if anatomy.region is Region.CERVICAL:
        labels[before & (depth > 7)] = Tissue.ORGAN
        labels[before & (depth > 7) & (noise > 0.75)] = Tissue.FAT
        airway = np.hypot(u / 9, (depth - 16 - 0.02 * z) / 7) < 1
        labels[airway] = Tissue.AIR
        labels[np.hypot((np.abs(u) - 22) / 3.5, (depth - 10) / 3.5) < 1] = Tissue.FLOW
        return
    fat = before & (depth < 8 + 3 * noise)
    labels[before] = Tissue.ORGAN
    if anatomy.region is Region.THORACIC:
        labels[before & (depth > 6) & (np.abs(u - 6) > 22 + 6 * noise)] = Tissue.AIR
        labels[before & (noise > 1.1)] = Tissue.AIR
    else:
        labels[before & (noise > 0.55)] = Tissue.FAT
        labels[before & (noise < -1.35) & (depth > 18)] = Tissue.AIR
    labels[fat] = Tissue.FAT
    labels[np.hypot((u - 10) / 9, (depth - 11) / 9) < 1] = Tissue.FLOW


def _vertebrae(anatomy: AnatomySpec, points: CanalPoints, sac_ap: FloatArray, labels: Labels) -> None:
    """Bodies with a dark cortex and a basivertebral vein, and the discs between."""
    depth = -points.v - sac_ap - np.float32(2.2)
    near = (depth > -2) & (depth < anatomy.body_depth_mm + 3) & (np.abs(points.u) < anatomy.body_half_width_mm + 3)
    depth, u, phase = depth[near], points.u[near], points.phase[near]
    half_depth = anatomy.body_depth_mm / 2
    waist = 1 - 0.07 * np.cos((phase - anatomy.disc_share / 2) * np.float32(2 * np.pi))
    ring = np.hypot((depth - half_depth) / half_depth, u / np.float32(anatomy.body_half_width_mm))
    square = np.maximum(np.abs(depth - half_depth) / half_depth, np.abs(u) / np.float32(anatomy.body_half_width_mm))
    edge = 0.5 * ring + 0.5 * square
    body_half = np.float32(anatomy.pitch_mm * (1 - anatomy.disc_share) / 2)
    height = np.abs(phase - np.float32((1 - anatomy.disc_share) / 2))
    height = np.minimum(height, 1 - height) * np.float32(anatomy.pitch_mm)
    plate = body_half - 1.3 * np.clip(1 - ring * ring, 0, 1)
    local = labels[near]
    in_disc = (height >= plate) & (edge < 1.02)
    local[in_disc] = Tissue.DISC
    local[in_disc & (edge > 0.9)] = Tissue.LIGAMENT
    inside = (height < plate) & (edge < waist)
    cortex = np.float32(CORTEX_MM)
    local[inside] = Tissue.CORTEX
    marrow = inside & (height < plate - cortex) & (edge < waist - cortex / half_depth)
    local[marrow] = Tissue.MARROW
    filled = np.clip(
        anatomy.vein_share + 0.35 * level_noise(points.level[near], seed=anatomy.texture_seed, stream=10), 0, 1
    )
    to_front = np.clip(1 - depth / (half_depth * (0.2 + 1.1 * filled)), 0, 1)
    vein = (np.hypot(height / (0.3 + 1.3 * to_front), u / 3.5) < 1) & (to_front > 0) & (filled > 0.15) & inside
    local[vein] = Tissue.VEIN
    local[(depth > -0.8) & (depth < 0.3) & (edge < 1.3) & (height > plate - 2) & (local != Tissue.DISC)] = (
        Tissue.LIGAMENT
    )
    labels[near] = local


def _arches(
    anatomy: AnatomySpec, points: CanalPoints, sac_ap: FloatArray, sac_lateral: FloatArray, labels: Labels
) -> None:
    """Laminae, spinous processes with the ligaments between, pedicles, and foramina with fat."""
    behind = points.v - sac_ap
    near = (
        (behind > -2 * anatomy.sac_half_ap_mm - 6)
        & (behind < 1.2 * anatomy.spinous_length_mm + 2)
        & (np.abs(points.u) < 28)
    )
    behind, aside = behind[near], np.abs(points.u[near])
    lateral = aside - sac_lateral[near]
    local = labels[near]
    pitch = np.float32(anatomy.pitch_mm)
    descent = np.clip(behind, 0, None) * np.float32(anatomy.spinous_tilt)
    lowered = (points.along[near] + descent) / pitch + np.float32(anatomy.pitch_phase)
    level = np.floor(lowered)
    offset = np.abs(lowered - level - np.float32(0.3)) * pitch
    offset = np.minimum(offset, pitch - offset)
    _laminae(behind, aside, (behind > -1) & (lateral < 8), offset, 0.3 * anatomy.pitch_mm, local)
    own = level_noise(level, seed=anatomy.texture_seed, stream=11)
    _spinous_processes(anatomy, behind, aside, offset, own, local)
    side = (lateral > 0.6) & (lateral < 9) & (behind < 3) & (behind > -2 * anatomy.sac_half_ap_mm - 3)
    local[side & (lateral < 7)] = Tissue.FAT
    from_pedicle = np.abs(points.phase[near] - np.float32(0.55)) * pitch
    _bone(local, side & (from_pedicle < 0.2 * pitch), from_pedicle < 0.2 * pitch - CORTEX_MM)
    labels[near] = local


def _laminae(
    behind: FloatArray, aside: FloatArray, over_sac: Mask, offset: FloatArray, half_mm: float, local: Labels
) -> None:
    """Roof of the canal: posterior epidural fat, laminae, and the yellow ligament between them."""
    roof = behind + np.float32(0.25) * aside
    over_sac = over_sac & (roof > 0.4)
    local[over_sac & (roof < 3.2)] = Tissue.FAT
    lamina = over_sac & (roof > 2.6) & (roof < 8.5) & (offset < half_mm) & (aside < 16)
    _bone(local, lamina, (offset < half_mm - CORTEX_MM) & (roof > 3.6) & (roof < 7.5))
    local[over_sac & (roof > 2.4) & (roof < 4.6) & ~lamina & (aside > 0.8)] = Tissue.LIGAMENT


def _spinous_processes(
    anatomy: AnatomySpec, behind: FloatArray, aside: FloatArray, offset: FloatArray, own: FloatArray, local: Labels
) -> None:
    """Processes of varying length and height with round ends, and ligaments and fat between; `own` varies by level."""
    length = np.float32(anatomy.spinous_length_mm) * (1 + np.float32(0.13) * np.clip(own, -2, 1))
    outward = np.clip(behind / length, 0, 1)
    round_end = np.sqrt(np.clip(1 - np.clip((outward - 0.75) / 0.25, 0, 1) ** 2, 0.05, 1))
    half = (0.2 + 0.02 * own + 0.1 * outward * outward) * round_end * np.float32(anatomy.pitch_mm)
    width = 2.4 + 1.6 * outward
    middle = (behind > 4) & (behind < length) & (aside < width)
    local[middle & (offset >= half) & (aside < 1.6)] = Tissue.LIGAMENT
    local[middle & (offset >= half + 2) & (aside < 1.2)] = Tissue.FAT
    core = (offset < half - CORTEX_MM) & (aside < width - CORTEX_MM) & (behind < length - CORTEX_MM)
    _bone(local, middle & (offset < half), core)


def _bone(local: Labels, whole: Mask, core: Mask) -> None:
    local[whole] = Tissue.CORTEX
    local[whole & core] = Tissue.MARROW


def _canal(anatomy: AnatomySpec, profile: CanalProfile, points: CanalPoints, labels: Labels) -> None:
    """Epidural veins and fat, dura, CSF, cord with the vessels on it, and the roots below."""
    widest = float(profile.sac_lateral_mm.max()) + 4
    tallest = float(profile.sac_ap_mm.max()) + 4
    near = (np.abs(points.u) < widest) & (np.abs(points.v) < tallest)
    u, v, z, along = points.u[near], points.v[near], points.z[near], points.along[near]
    local = labels[near]
    sac = profile.sac_radius(u, v, z)
    ap = profile.sac_ap_at(z)
    outside = (sac - 1) * ap
    noise = smooth_noise(u, v, along, seed=anatomy.texture_seed, stream=2, scale_mm=(3, 3, 9))
    epidural = (outside > 0) & (outside < 2.4) & (v < 0.45 * ap)
    local[epidural] = Tissue.FAT
    veins = epidural & (outside < 1.9) & (np.abs(u) > 1.5) & (noise > 1.1 - 1.9 * anatomy.vein_share)
    local[veins] = Tissue.VEIN
    local[epidural & (outside > 1.3) & (np.abs(u) < 4) & (v < 0) & ~veins] = Tissue.LIGAMENT
    local[sac < 1] = Tissue.CSF
    local[(outside < 0) & (outside > -DURA_MM)] = Tissue.DURA
    cord = profile.cord_radius(u, v, z)
    _roots(anatomy, u, v, z, (sac < 0.9) & (z < anatomy.conus_z_mm + 25), local)
    _cord_vessels(anatomy, profile, u, v, z, local)
    local[(cord < 1) & (sac < 0.97)] = Tissue.CORD
    labels[near] = local


def _cord_vessels(
    anatomy: AnatomySpec, profile: CanalProfile, u: FloatArray, v: FloatArray, z: FloatArray, local: Labels
) -> None:
    """Two or three thin winding veins on the back and front of the cord."""
    rng = np.random.default_rng([anatomy.texture_seed, 7])
    cord_u, cord_v = profile.cord_centre_at(z)
    cord_ap = np.interp(z, profile.z_mm, profile.cord_ap_mm).astype(np.float32)
    present = (z > anatomy.conus_z_mm + 4) & (np.interp(z, profile.z_mm, profile.sac_ap_mm) - cord_ap > 0.9)
    for side in (1.0, 1.0, -1.0):
        swing, length, phase, radius, start = rng.uniform((0.5, 18, 0, 0.35, -60), (2.5, 45, 6.28, 0.85, 60))
        path_u = cord_u + np.float32(swing) * np.sin(z / np.float32(length / 6.28) + np.float32(phase))
        path_v = cord_v + np.float32(side) * (cord_ap + np.float32(0.6))
        vessel = (np.hypot(u - path_u, v - path_v) < radius) & (np.abs(z - start) < 65) & present
        local[vessel & (local == Tissue.CSF)] = Tissue.VEIN


def _roots(anatomy: AnatomySpec, u: FloatArray, v: FloatArray, z: FloatArray, where: Mask, local: Labels) -> None:
    """Roots of the cauda equina: thin strands that lie posteriorly in the sac."""
    if not where.any():
        return
    u, v, z = u[where], v[where], z[where]
    rng = np.random.default_rng([anatomy.texture_seed, 8])
    root = np.zeros(u.shape, bool)
    below = np.clip((np.float32(anatomy.conus_z_mm) - z) / 60, 0, 1)
    for _ in range(16):
        start_u, start_v, end_u, end_v, radius = rng.uniform((-3, -2, -7, 0, 0.5), (3, 3, 7, 4.5, 0.85))
        place_u = np.float32(start_u) + np.float32(end_u - start_u) * below
        place_v = np.float32(start_v) + np.float32(end_v - start_v) * below
        root |= np.hypot(u - place_u, v - place_v) < radius
    found = local[where]
    found[root] = Tissue.ROOT
    local[where] = found


def _surface(anatomy: AnatomySpec, points: CanalPoints, y: FloatArray, labels: Labels) -> None:
    """Subcutaneous fat, skin and the air behind (and, in the neck, before) the body."""
    follow = y - points.v - np.float32(anatomy.canal_y_mm)
    behind = np.float32(anatomy.back_depth_mm) - (points.v + 0.5 * follow)
    behind = behind - points.u * points.u * np.float32(0.003)
    labels[behind < anatomy.subcutaneous_mm] = Tissue.FAT
    front = points.v + np.float32(anatomy.front_depth_mm)
    labels[(front < 7) & (front > 0)] = Tissue.FAT
    nearest = np.minimum(behind, front)
    labels[nearest < SKIN_MM] = Tissue.SKIN
    labels[nearest < 0] = Tissue.AIR
