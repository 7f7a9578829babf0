"""Distances between the surfaces of two masks, by DeepMind's surface-distance: see docs/metrics.md for why by it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

import surface_distance

from nnunet_spine.evaluation.metrics import Mask, Spacing, check_pair

TOOL = "surface-distance"
HD_PERCENT = 95
ROUNDING_MM = 1e-6
"""Added to a tolerance: spacings are read from 32-bit headers, where five voxels of 0.4 mm exceed 2 mm by 3e-8 mm."""


@dataclass(frozen=True)
class SurfaceMeasures:
    """What is measured between two surfaces.

    Parameters
    ----------
    hd95_mm
        The larger of the two directions' 95th percentiles of distance, weighted by area, in mm.
    nsd_1mm, nsd_2mm
        Share of both surfaces that lies within 1 or 2 mm of the other one, by area.
    """

    hd95_mm: float
    nsd_1mm: float
    nsd_2mm: float


def surface_measures(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> SurfaceMeasures:
    """Measure the distances between the surfaces of two masks, neither of which is empty.

    Parameters
    ----------
    reference, prediction
        Boolean arrays (z, y, x) of one shape. What lies beyond the array counts as background: a mask that touches the
        border has a surface there.
    spacing_mm
        Spacing (z, y, x).

    Source
    ------
    Nikolov S et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet
    Res 23(7):e26151, 2021.
    """
    check_pair(reference, prediction)
    distances = surface_distance.compute_surface_distances(reference, prediction, spacing_mm)

    def nsd(tolerance_mm: float) -> float:
        """Surface Dice within a tolerance."""
        return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm + ROUNDING_MM))

    return SurfaceMeasures(float(surface_distance.compute_robust_hausdorff(distances, HD_PERCENT)), nsd(1.0), nsd(2.0))


def tool_with_version() -> str:
    """Name and version of what measures HD95 and NSD; other tools differ, by over 100 mm in HD95."""
    return f"{TOOL} {metadata.version(TOOL)}"
