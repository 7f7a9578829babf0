"""Voxels of the test cases that a network gets right and wrong, counted as nnU-Net's pseudo Dice wants them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

Counts = npt.NDArray[np.float32]


def voxel_counts(scores: torch.Tensor, reference: torch.Tensor) -> tuple[Counts, Counts, Counts]:
    """True positive, false positive and false negative voxels of each class but the background, over a batch.

    Parameters
    ----------
    scores
        Network output, shape (case, class, z, y, x); the class of the largest score is predicted, of equal ones the
        first.
    reference
        Labels, integers, shape (case, 1, z, y, x).

    Returns
    -------
    true_positive, false_positive, false_negative
        float32 as nnU-Net's, shape (class - 1,).
    """
    predicted = scores[:, 1] > scores[:, 0] if scores.shape[1] == 2 else scores.max(1).indices
    labels = reference[:, 0]
    counts = []
    for label in range(1, scores.shape[1]):
        ours, theirs = predicted == label, labels == label
        both = int(torch.count_nonzero(ours & theirs))
        counts.append((both, int(torch.count_nonzero(ours)) - both, int(torch.count_nonzero(theirs)) - both))
    true_positive, false_positive, false_negative = np.array(counts, np.float32).T
    return true_positive, false_positive, false_negative
