"""Lesions within a case: what one is, which were detected, which predicted ones are false. Defined here alone.

A *lesion* is a connected component of a mask; voxels that share a face, an edge or a corner are connected (26
neighbours). Predictions and references are not matched one to one: a predicted component that covers two lesions
detects both, and two components in one lesion are one detection and no false positive.

A *false-positive component* is a predicted one without a voxel in the reference, whatever the criterion: what overlaps
a lesion too little is a miss, and not a false alarm besides.

======================  ===================================================  ==========================================
criterion               a lesion is detected when                            a case is detected when
======================  ===================================================  ==========================================
any overlap             a predicted voxel lies in it                         prediction and reference share a voxel
IoU >= 0.1, IoU >= 0.5  its IoU with one predicted component reaches that    the IoU of the whole masks reaches that
centroid inside         a predicted component's centroid lies in it          one of its lesions is
======================  ===================================================  ==========================================

A component's centroid is the mean of its voxels' centres. It lies in a lesion when it lies in one of the lesion's
voxels, their faces included: half-way between two voxels it is in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from nnunet_spine.evaluation.metrics import Mask, Overlap, check_pair
from nnunet_spine.protocol import Criterion

Labels = npt.NDArray[np.integer[Any]]
NEIGHBOURS = 26
IOU_AT_LEAST: Mapping[Criterion, float] = MappingProxyType({Criterion.IOU_01: 0.1, Criterion.IOU_05: 0.5})


@dataclass(frozen=True)
class LesionCounts:
    """Lesions of a case.

    Parameters
    ----------
    reference, detected
        Lesions of the reference, and those of them that were detected.
    predicted, false_positives
        Components of the prediction, and those of them without a voxel in the reference.
    false_positive_voxels
        Voxels of the latter.
    """

    reference: int
    detected: int
    predicted: int
    false_positives: int
    false_positive_voxels: int


def count_lesions(reference: Mask, prediction: Mask, criterion: Criterion) -> LesionCounts:
    """Count the lesions of a case, either mask of which may be empty.

    Parameters
    ----------
    reference, prediction
        Boolean arrays (z, y, x) of one shape.
    criterion
        When a lesion counts as detected.
    """
    check_pair(reference, prediction)
    lesions, number = cc3d.connected_components(reference, connectivity=NEIGHBOURS, return_N=True)
    components, predicted = cc3d.connected_components(prediction, connectivity=NEIGHBOURS, return_N=True)
    hit, component, common = _pairs(lesions, components, predicted)
    sizes = np.bincount(components[prediction], minlength=predicted + 1)
    if criterion is Criterion.CENTROID_INSIDE:
        detected = _holding_a_centroid(lesions, components)
    elif criterion in IOU_AT_LEAST:
        either = np.bincount(lesions[reference], minlength=number + 1)[hit] + sizes[component] - common
        detected = set(hit[common / either >= IOU_AT_LEAST[criterion]])
    else:
        detected = set(hit)
    false = np.setdiff1d(np.arange(1, predicted + 1), component)
    return LesionCounts(number, len(detected), predicted, len(false), int(sizes[false].sum()))


def is_detected(overlap: Overlap, lesions: LesionCounts, criterion: Criterion) -> bool:
    """Whether a case with a lesion is detected, by the table above; `lesions` counted by the same criterion."""
    if criterion in IOU_AT_LEAST:
        return overlap.iou >= IOU_AT_LEAST[criterion]
    return lesions.detected > 0


def _pairs(lesions: Labels, components: Labels, predicted: int) -> tuple[npt.NDArray[Any], ...]:
    """Lesions and components that overlap, and in how many voxels: three arrays of one length."""
    both = np.nonzero((lesions > 0) & (components > 0))
    codes = lesions[both].astype(np.int64) * (predicted + 1) + components[both]
    pairs, common = np.unique(codes, return_counts=True)
    return *np.divmod(pairs, predicted + 1), common


def _holding_a_centroid(lesions: Labels, components: Labels) -> set[Any]:
    """Lesions that hold the centroid of a component."""
    found: set[Any] = set()
    for centroid in cc3d.statistics(components)["centroids"][1:]:  # the first is the background's
        sides = [{int(np.ceil(c - 0.5)), int(np.floor(c + 0.5))} for c in centroid]
        found |= {int(lesions[voxel]) for voxel in product(*sides)}
    return found - {0}
