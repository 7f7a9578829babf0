"""The body of a tumor in space: which points it holds, and which of them are its core."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nnunet_spine.cases import Compartment
from nnunet_spine.phantoms.canal import CanalProfile, lesion_centre
from nnunet_spine.phantoms.fields import FloatArray, smooth_noise
from nnunet_spine.phantoms.model import LesionSpec

_OUTSIDE = np.float32(1e3)
_SAC_LIMIT = 0.99
_LARGEST_LEVEL = 2.5
_CALIBRATION_POINTS = 56


@dataclass(frozen=True, eq=False)
class LesionBody:
    """A tumor as a level set over canal coordinates (u to the left, v to posterior, z to superior).

    Parameters
    ----------
    spec, profile
        The tumor, and the canal that confines it.
    level
        The tumor is where `radius` is below this; chosen so that it holds the specified volume.
    volume_ml
        Volume enclosed: below the specified one where the compartment does not hold it.
    """

    spec: LesionSpec
    profile: CanalProfile
    level: float
    volume_ml: float = field(default=0.0)

    def reach_mm(self) -> float:
        """Half length along the canal beyond which there is surely no tumor."""
        return self.spec.half_axes_mm[2] * _LARGEST_LEVEL + 2.0

    def inside(self, u: FloatArray, v: FloatArray, z: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether points belong to the tumor."""
        return lesion_radius(self.spec, self.profile, u, v, z) < self.level

    def core(self, u: FloatArray, v: FloatArray, z: FloatArray) -> npt.NDArray[np.bool_]:
        """Whether points of the tumor belong to its necrotic core."""
        if not self.spec.core_share:
            return np.zeros(u.shape, bool)
        return lesion_radius(self.spec, self.profile, u, v, z) < self.level * self.spec.core_share


def lesion_radius(spec: LesionSpec, profile: CanalProfile, u: FloatArray, v: FloatArray, z: FloatArray) -> FloatArray:
    """Distance from the tumor's middle in half axes, with surface noise; very large outside its compartment.

    Parameters
    ----------
    spec, profile
        The tumor and its canal.
    u, v, z
        Canal coordinates in mm, of one shape.
    """
    centre_u, centre_v = lesion_centre(profile, spec)
    a_u, a_v, a_z = spec.half_axes_mm
    p, q, r = (u - centre_u) / a_u, (v - centre_v) / a_v, (z - spec.along_mm) / a_z
    distances = [
        np.sqrt((p - n.centre[0]) ** 2 + (q - n.centre[1]) ** 2 + (r - n.centre[2]) ** 2) / n.size for n in spec.nodules
    ]
    radius = np.minimum.reduce(distances) if len(distances) > 1 else distances[0]
    scale = tuple(max(0.45 * a, 1.2) for a in spec.half_axes_mm)
    noise = smooth_noise(u, v, z, seed=spec.seed, stream=0, scale_mm=(scale[0], scale[1], scale[2]))
    radius = radius + np.float32(spec.roughness) * np.clip(noise, -2.5, 2.5)
    cord = profile.cord_radius(u, v, z)
    if spec.compartment is Compartment.INTRAMEDULLARY:
        allowed = cord < 1
    else:
        allowed = (profile.sac_radius(u, v, z) < _SAC_LIMIT) & (cord > 1)
    return np.where(allowed, radius, _OUTSIDE).astype(np.float32)


def lesion_body(spec: LesionSpec, profile: CanalProfile) -> LesionBody:
    """Tumor whose level is set so that it encloses `spec.volume_ml`, or as much of it as its compartment holds."""
    axes = [np.linspace(-1, 1, _CALIBRATION_POINTS, dtype=np.float32) * (a * 1.7 + 2) for a in spec.half_axes_mm]
    centre = (*lesion_centre(profile, spec), spec.along_mm)
    u, v, z = np.meshgrid(*[axis + np.float32(c) for axis, c in zip(axes, centre, strict=True)], indexing="ij")
    cell_ml = float(np.prod([axis[1] - axis[0] for axis in axes])) / 1000
    ordered = np.sort(lesion_radius(spec, profile, u.ravel(), v.ravel(), z.ravel()))
    wanted = max(round(spec.volume_ml / cell_ml), 1)
    level = float(min(ordered[min(wanted, ordered.size - 1)], _LARGEST_LEVEL))
    return LesionBody(spec, profile, level, volume_ml=float((ordered < level).sum()) * cell_ml)
