"""Drawing a tumor that fits its compartment, its region and the field of view."""

from __future__ import annotations

from dataclasses import replace
from math import pi

import numpy as np

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.phantoms.model import AnatomySpec, GridSpec, LesionSpec, Look, Nodule

SMALLEST_ML = 0.17
LARGEST_ML = 14.0
"""Volumes are log-uniform between these; rasterised references then lie within 0.1 and 15 ml."""

_LOOKS = ((Look.HOMOGENEOUS, 0.4), (Look.RIM, 0.65), (Look.FAINT, 0.85), (Look.MULTINODULAR, 1.0))

_TYPES: dict[Compartment, dict[Look, tuple[str, ...]]] = {
    Compartment.INTRAMEDULLARY: {
        Look.HOMOGENEOUS: ("ependymoma", "hemangioblastoma"),
        Look.RIM: ("ependymoma", "astrocytoma", "metastasis"),
        Look.FAINT: ("astrocytoma", "ganglioglioma"),
        Look.MULTINODULAR: ("hemangioblastoma", "astrocytoma"),
    },
    Compartment.EXTRAMEDULLARY: {
        Look.HOMOGENEOUS: ("meningioma", "schwannoma"),
        Look.RIM: ("schwannoma",),
        Look.FAINT: ("neurofibroma", "meningioma"),
        Look.MULTINODULAR: ("neurofibroma", "schwannoma"),
    },
}
_CAUDAL_TYPE = "myxopapillary ependymoma"

_ENHANCEMENT = {
    Look.HOMOGENEOUS: (0.62, 0.95),
    Look.RIM: (0.6, 0.9),
    Look.FAINT: (0.5, 0.6),
    Look.MULTINODULAR: (0.55, 0.9),
}
"""Signal after contrast by look; cord is 0.46, muscle 0.42, marrow 0.4 to 0.75, fat 1."""

_WIDEST_MM = {Compartment.INTRAMEDULLARY: 7.0, Compartment.EXTRAMEDULLARY: 9.5}
_ELONGATION = {Compartment.INTRAMEDULLARY: (1.6, 4.0), Compartment.EXTRAMEDULLARY: (1.0, 2.2)}
_EDGE_MM = 8.0


def sample_lesion(
    rng: np.random.Generator,
    *,
    compartment: Compartment,
    look_quantile: float,
    volume_quantile: float,
    anatomy: AnatomySpec,
    grid: GridSpec,
) -> LesionSpec:
    """Draw a tumor.

    Parameters
    ----------
    rng
        Source of what is not given.
    compartment
        Where it lies.
    look_quantile, volume_quantile
        Between 0 and 1; choose the look, and the volume on a logarithmic scale.
    anatomy, grid
        What it has to fit.
    """
    look = next(look for look, upto in _LOOKS if look_quantile < upto)
    half_height = _half_height_mm(grid)
    volume_ml = SMALLEST_ML * (LARGEST_ML / SMALLEST_ML) ** volume_quantile
    room = 0.42 * half_height if anatomy.region is Region.LUMBAR else 0.65 * half_height
    half_axes, volume_ml = _half_axes(rng, compartment, volume_ml, room)
    along = float(rng.uniform(*_span(compartment, anatomy, half_height - half_axes[2] - _EDGE_MM)))
    intramedullary = compartment is Compartment.INTRAMEDULLARY
    return LesionSpec(
        compartment=compartment,
        tumor_type=_tumor_type(rng, compartment, look, caudal=along < anatomy.conus_z_mm),
        look=look,
        volume_ml=round(volume_ml, 3),
        half_axes_mm=half_axes,
        along_mm=along,
        angle=float(rng.uniform(0, 2 * pi)),
        nodules=_nodules(rng, look, compartment),
        roughness=float(rng.uniform(0.08, 0.3)),
        enhancement=float(rng.uniform(*_ENHANCEMENT[look])),
        core_signal=float(rng.uniform(0.25, 0.42)),
        core_share=float(rng.uniform(0.6, 0.85)) if look is Look.RIM else 0.0,
        edema=intramedullary and rng.random() < 0.45,
        syrinx=intramedullary and rng.random() < 0.35,
        dural_tail=not intramedullary and rng.random() < 0.4,
        seed=int(rng.integers(2**31)),
    )


def refit_lesion(
    lesion: LesionSpec, rng: np.random.Generator, *, anatomy: AnatomySpec, before: GridSpec, grid: GridSpec
) -> LesionSpec:
    """The same tumor, cut to size for another field of view, at the same share of its height.

    Parameters
    ----------
    lesion
        What to fit.
    rng
        Source of its new proportions.
    anatomy, grid
        What it has to fit.
    before
        Grid that it was drawn for.
    """
    half_height = _half_height_mm(grid)
    half_axes, volume_ml = _half_axes(rng, lesion.compartment, lesion.volume_ml, 0.5 * half_height)
    lowest, highest = _span(lesion.compartment, anatomy, half_height - half_axes[2] - _EDGE_MM)
    along = float(np.clip(lesion.along_mm * half_height / _half_height_mm(before), lowest, highest))
    return replace(lesion, half_axes_mm=half_axes, volume_ml=round(volume_ml, 3), along_mm=along)


def _half_height_mm(grid: GridSpec) -> float:
    return grid.rows * grid.pixel_mm / 2


def _half_axes(
    rng: np.random.Generator, compartment: Compartment, volume_ml: float, room_mm: float
) -> tuple[tuple[float, float, float], float]:
    """Half axes of an ellipsoid that is not wider than the compartment allows, nor longer than `room_mm`."""
    elongation = rng.uniform(*_ELONGATION[compartment])
    radius = (volume_ml * 1000 * 3 / (4 * pi)) ** (1 / 3)
    across = min(radius * elongation ** (-1 / 3), _WIDEST_MM[compartment])
    along = min(volume_ml * 1000 * 3 / (4 * pi * across**2), room_mm)
    flatness = rng.uniform(1.0, 1.3)
    volume_ml = min(volume_ml, 4 / 3 * pi * across**2 * along / 1000)
    return (float(across * flatness**0.5), float(across / flatness**0.5), float(along)), volume_ml


def _span(compartment: Compartment, anatomy: AnatomySpec, reach_mm: float) -> tuple[float, float]:
    """Where a tumor may lie along the canal: anywhere in view, but within the cord for an intramedullary one."""
    highest = max(reach_mm, 0.0)
    if compartment is Compartment.INTRAMEDULLARY:
        return min(max(anatomy.conus_z_mm + 12.0, -highest), highest), highest
    return -highest, highest


def _tumor_type(rng: np.random.Generator, compartment: Compartment, look: Look, *, caudal: bool) -> str:
    if caudal and compartment is Compartment.EXTRAMEDULLARY and rng.random() < 0.4:
        return _CAUDAL_TYPE
    return str(rng.choice(_TYPES[compartment][look]))


def _nodules(rng: np.random.Generator, look: Look, compartment: Compartment) -> tuple[Nodule, ...]:
    if look is not Look.MULTINODULAR:
        return (Nodule((0.0, 0.0, 0.0), 1.0),)
    spread = 0.25 if compartment is Compartment.INTRAMEDULLARY else 0.5
    places = np.linspace(-0.6, 0.6, int(rng.integers(2, 5)))
    return tuple(
        Nodule(
            (float(rng.normal(0, spread)), float(rng.normal(0, spread)), float(place)), float(rng.uniform(0.4, 0.65))
        )
        for place in places
    )
