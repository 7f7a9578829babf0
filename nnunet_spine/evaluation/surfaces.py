"""Distances between the surfaces of two masks, by DeepMind's surface-distance: see docs/metrics.md for why by it.

Its tables of surface elements, its percentile and its surface Dice are used as they are. The distance from each
element to the other surface comes from a k-d tree of the elements instead of its distance map of every voxel, since a
stray component far away makes that map as large as the image. The values are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata

import numpy as np
import numpy.typing as npt
import surface_distance
from scipy.spatial import KDTree
from surface_distance import lookup_tables

from nnunet_spine.evaluation.metrics import Mask, Spacing, check_pair

TOOL = "surface-distance"
HD_PERCENT = 95
_ALL_EIGHT = 0b11111111
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
    (points, areas), (others, other_areas) = (_elements(mask, spacing_mm) for mask in (reference, prediction))
    to_prediction, to_reference = _nearest_mm(points, others), _nearest_mm(others, points)
    order, other_order = np.argsort(to_prediction), np.argsort(to_reference)
    distances = {
        "distances_gt_to_pred": to_prediction[order],
        "surfel_areas_gt": areas[order],
        "distances_pred_to_gt": to_reference[other_order],
        "surfel_areas_pred": other_areas[other_order],
    }

    def nsd(tolerance_mm: float) -> float:
        """Surface Dice within a tolerance."""
        return float(surface_distance.compute_surface_dice_at_tolerance(distances, tolerance_mm + ROUNDING_MM))

    return SurfaceMeasures(float(surface_distance.compute_robust_hausdorff(distances, HD_PERCENT)), nsd(1.0), nsd(2.0))


def _elements(mask: Mask, spacing_mm: Spacing) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Surface elements of a mask: their places, shape (n, 3), z, y, x in mm, and areas, shape (n,), in mm2.

    There is one at each corner of voxels around which the mask has 1 to 7 of 8 voxels.
    """
    codes = np.zeros(np.add(mask.shape, 1), np.uint8)
    padded = np.pad(mask, 1).view(np.uint8)
    for offset, weight in np.ndenumerate(lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL):
        codes += padded[tuple(slice(o, o + n) for o, n in zip(offset, codes.shape, strict=True))] * np.uint8(weight)
    corners = np.nonzero((codes != 0) & (codes != _ALL_EIGHT))
    return np.stack(corners, axis=1) * np.array(spacing_mm), _areas(spacing_mm)[codes[corners]]


def _nearest_mm(points: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Distance from each point to the nearest of the others."""
    return np.asarray(KDTree(others).query(points)[0])


@lru_cache
def _areas(spacing_mm: Spacing) -> npt.NDArray[np.float64]:
    """Area in mm2 of the surface between eight voxels, by their code."""
    return np.asarray(lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm))


def tool_with_version() -> str:
    """Name and version of what measures HD95 and NSD; other tools differ, by over 100 mm in HD95."""
    return f"{TOOL} {metadata.version(TOOL)}"
