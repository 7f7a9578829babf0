"""The canal as seen along its centre line: sac and cord, with what a tumor does to them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.cases import Compartment
from nnunet_spine.phantoms.fields import FloatArray
from nnunet_spine.phantoms.model import AnatomySpec, LesionSpec

_STEP_MM = 0.5
_REACH_MM = 160.0
_TAPER_MM = 22.0
_ROOM_MM = 1.2
"""Least clearance between a tumor or the cord and the dura."""
_THINNEST_CORD = 0.55
"""A compressed cord keeps at least this share of its thickness."""


@dataclass(frozen=True, eq=False)
class CanalProfile:
    """Sizes along the canal, tabulated over z of the body frame.

    Parameters
    ----------
    z_mm
        Positions, ascending.
    sac_lateral_mm, sac_ap_mm, cord_lateral_mm, cord_ap_mm
        Half axes; those of the cord are 0 below the conus.
    cord_u_mm, cord_v_mm
        Shift of the cord's centre from the sac's: lateral (left) and posterior.
    """

    z_mm: npt.NDArray[np.float64]
    sac_lateral_mm: npt.NDArray[np.float64]
    sac_ap_mm: npt.NDArray[np.float64]
    cord_lateral_mm: npt.NDArray[np.float64]
    cord_ap_mm: npt.NDArray[np.float64]
    cord_u_mm: npt.NDArray[np.float64]
    cord_v_mm: npt.NDArray[np.float64]

    def sac_radius(self, u: FloatArray, v: FloatArray, z: FloatArray) -> FloatArray:
        """Elliptic radius in the sac: 1 on the dura."""
        radius: FloatArray = np.hypot(u / self._at(self.sac_lateral_mm, z), v / self._at(self.sac_ap_mm, z))
        return radius

    def cord_radius(self, u: FloatArray, v: FloatArray, z: FloatArray) -> FloatArray:
        """Elliptic radius in the cord: 1 on its surface, very large below the conus."""
        lateral = np.maximum(self._at(self.cord_lateral_mm, z), 1e-3)
        ap = np.maximum(self._at(self.cord_ap_mm, z), 1e-3)
        radius: FloatArray = np.hypot(
            (u - self._at(self.cord_u_mm, z)) / lateral, (v - self._at(self.cord_v_mm, z)) / ap
        )
        return radius

    def sac_ap_at(self, z: FloatArray) -> FloatArray:
        """Half AP axis of the sac at `z`."""
        return self._at(self.sac_ap_mm, z)

    def sac_lateral_at(self, z: FloatArray) -> FloatArray:
        """Half lateral axis of the sac at `z`."""
        return self._at(self.sac_lateral_mm, z)

    def cord_centre_at(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Lateral and posterior shift of the cord's centre at `z`."""
        return self._at(self.cord_u_mm, z), self._at(self.cord_v_mm, z)

    def _at(self, table: npt.NDArray[np.float64], z: FloatArray) -> FloatArray:
        return np.interp(z, self.z_mm, table).astype(np.float32)


def canal_profile(anatomy: AnatomySpec, lesion: LesionSpec) -> CanalProfile:
    """Sac and cord of one case.

    The cord tapers to the conus, swells around an intramedullary tumor, and gives way to an extramedullary one; the
    sac widens where either would not fit.
    """
    z = np.arange(-_REACH_MM, _REACH_MM + _STEP_MM, _STEP_MM)
    present = np.clip((z - anatomy.conus_z_mm) / _TAPER_MM, 0.0, 1.0) ** 0.6
    enlargement = 1 + 0.12 * np.exp(-(((z - anatomy.curve_apex_mm) / 40) ** 2))
    cord_lateral = anatomy.cord_half_lateral_mm * present * enlargement
    cord_ap = anatomy.cord_half_ap_mm * present
    sac_lateral = np.full_like(z, anatomy.sac_half_lateral_mm)
    sac_ap = np.full_like(z, anatomy.sac_half_ap_mm)
    bulge = _bulge(z, lesion)
    if lesion.compartment is Compartment.INTRAMEDULLARY:
        cord_lateral = np.maximum(cord_lateral, (lesion.half_axes_mm[0] * 1.12 + 0.8) * bulge)
        cord_ap = np.maximum(cord_ap, (lesion.half_axes_mm[1] * 1.12 + 0.8) * bulge)
        shift_u = shift_v = np.zeros_like(z)
    else:
        radius = _radius_towards(lesion) * bulge
        sac_lateral = np.maximum(sac_lateral, lesion.half_axes_mm[0] * bulge + _ROOM_MM)
        sac_ap = np.maximum(sac_ap, lesion.half_axes_mm[1] * bulge + _ROOM_MM)
        sac_towards = _ellipse_radius(sac_lateral, sac_ap, lesion.angle)
        cord_towards = _ellipse_radius(cord_lateral, cord_ap, lesion.angle)
        free = 2 * sac_towards - 2 * radius - 0.6
        squeeze = np.clip(free / np.maximum(2 * cord_towards, 1e-3), _THINNEST_CORD, 1.0)
        cord_lateral, cord_ap = _squeezed(cord_lateral, cord_ap, squeeze, lesion.angle)
        cord_towards = cord_towards * squeeze
        needed = np.clip(radius * 2 + cord_towards - sac_towards + 0.4, 0.0, None)
        shift = np.minimum(needed, np.clip(sac_towards - cord_towards - 0.4, 0.0, None))
        shift_u, shift_v = -shift * np.cos(lesion.angle), -shift * np.sin(lesion.angle)
    sac_lateral = np.maximum(sac_lateral, cord_lateral + _ROOM_MM)
    sac_ap = np.maximum(sac_ap, cord_ap + _ROOM_MM)
    return CanalProfile(z, sac_lateral, sac_ap, cord_lateral, cord_ap, shift_u, shift_v)


def lesion_centre(profile: CanalProfile, lesion: LesionSpec) -> tuple[float, float]:
    """Lateral and posterior place of a tumor's centre: in the cord, or against the dura on its side."""
    if lesion.compartment is Compartment.INTRAMEDULLARY:
        return 0.0, 0.0
    middle = int(np.argmin(np.abs(profile.z_mm - lesion.along_mm)))
    sac = _ellipse_radius(profile.sac_lateral_mm[middle], profile.sac_ap_mm[middle], lesion.angle)
    distance = max(float(sac) - _radius_towards(lesion), 0.0)
    return distance * float(np.cos(lesion.angle)), distance * float(np.sin(lesion.angle))


def _bulge(z: npt.NDArray[np.float64], lesion: LesionSpec) -> npt.NDArray[np.float64]:
    """Profile of an ellipsoid along the canal, 1 at the tumor's centre, with a soft end."""
    along = (z - lesion.along_mm) / (lesion.half_axes_mm[2] * 1.15 + 2.0)
    return np.sqrt(np.clip(1 - along**2, 0.0, None))


def _radius_towards(lesion: LesionSpec) -> float:
    return float(_ellipse_radius(lesion.half_axes_mm[0], lesion.half_axes_mm[1], lesion.angle))


def _ellipse_radius(lateral: Any, ap: Any, angle: float) -> Any:
    return 1 / np.sqrt((np.cos(angle) / np.maximum(lateral, 1e-3)) ** 2 + (np.sin(angle) / np.maximum(ap, 1e-3)) ** 2)


def _squeezed(
    lateral: npt.NDArray[np.float64], ap: npt.NDArray[np.float64], squeeze: npt.NDArray[np.float64], angle: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Half axes flattened along `angle`, the area kept in part by growing across."""
    lateral_share, ap_share = np.cos(angle) ** 2, np.sin(angle) ** 2
    grow = squeeze**-0.3
    return lateral * squeeze**lateral_share * grow**ap_share, ap * squeeze**ap_share * grow**lateral_share
