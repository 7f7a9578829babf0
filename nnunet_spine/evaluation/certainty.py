"""How sure a prediction is of itself, and how its probabilities compare with the reference: one case at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.boxes import box_around
from nnunet_spine.evaluation.metrics import Mask
from nnunet_spine.evaluation.reliability import Reliability, reliability_of_voxels

REGION_MM = 10.0
"""Voxels are judged within this distance, along each axis, of the reference or the prediction.

In the whole image, the background that nobody doubts would hide every error.
"""

BELONGS = 0.5
"""Least share of predicted voxels with a probability of one half or more; below it, the files are not of one run."""

Probability = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Certainty:
    """What a prediction says of itself, without the reference.

    Parameters
    ----------
    detection
        Confidence that there is a tumor where one is predicted: mean probability of the predicted voxels, or, where
        none is predicted, the highest probability in the image.
    expected_dice
        Dice that the probabilities promise; see `expected_dice`. None without any probability.
    entropy_bits
        Mean binary entropy of the predicted voxels, 0 to 1 bit; None where none is predicted.
    """

    detection: float
    expected_dice: float | None
    entropy_bits: float | None


def certainty_of(probability: Probability, prediction: Mask) -> Certainty:
    """Certainty of a prediction from its probabilities.

    Parameters
    ----------
    probability, prediction
        Arrays (z, y, x) of one shape.

    Raises
    ------
    BadInput
        Where the probabilities deny most of the predicted voxels.
    """
    inside = probability[prediction].astype(np.float64)
    if inside.size and np.mean(inside >= 0.5) < BELONGS:
        raise BadInput(
            f"Only {100 * np.mean(inside >= 0.5):.0f} % of the predicted voxels have a probability of 0.5 or more: the "
            "probabilities are not of this prediction. Predict again with --save-probabilities."
        )
    return Certainty(
        detection=float(inside.mean()) if inside.size else float(probability.max()),
        expected_dice=expected_dice(probability, prediction),
        entropy_bits=float(entropy_bits(inside).mean()) if inside.size else None,
    )


def expected_dice(probability: Probability, prediction: Mask) -> float | None:
    """Dice of a prediction with its own probabilities in the place of the reference; None where both are 0.

    2 * sum of p over predicted voxels / (predicted voxels + sum of p over the image): the ratio of the expectations, if
    voxels of probability p are tumor with that frequency.
    """
    total = int(np.count_nonzero(prediction)) + float(probability.sum(dtype=np.float64))
    return 2 * float(probability[prediction].sum(dtype=np.float64)) / total if total else None


def entropy_bits(probability: Probability) -> npt.NDArray[np.float64]:
    """Binary entropy of each probability, in bits; 0 at 0 and 1."""
    p = probability.astype(np.float64)
    terms = [q * np.log2(q, out=np.zeros_like(q), where=q > 0) for q in (p, 1 - p)]
    entropy: npt.NDArray[np.float64] = -np.add(*terms)
    return entropy


def voxel_reliability(
    probability: Probability, reference: Mask, prediction: Mask, spacing_mm: tuple[float, float, float]
) -> Reliability:
    """Reliability of the voxels around reference and prediction; see `REGION_MM`.

    Parameters
    ----------
    probability, reference, prediction
        Arrays (z, y, x) of one shape.
    spacing_mm
        Spacing (z, y, x), in mm.
    """
    near = _region(reference | prediction, spacing_mm)
    return reliability_of_voxels(probability[near], reference[near])


def _region(mask: Mask, spacing_mm: tuple[float, float, float]) -> Mask:
    """A mask grown by `REGION_MM` along each axis, as a box grows."""
    from scipy import ndimage

    margins = [int(REGION_MM / spacing) for spacing in spacing_mm]
    grown = np.zeros_like(mask)
    if mask.any():
        box = box_around(mask, spacing_mm, REGION_MM)
        size = [2 * margin + 1 for margin in margins]
        # As constant 0 beyond the array, so that nothing grows in from outside.
        grown[box] = ndimage.maximum_filter(mask[box].view(np.uint8), size=size, mode="constant") > 0
    return grown
