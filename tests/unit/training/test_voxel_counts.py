"""Voxel counts are those of nnU-Net's own test step."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nnunetv2.training.loss.dice import get_tp_fp_fn_tn

from nnunet_spine.training.voxel_counts import voxel_counts


def test_by_hand() -> None:
    scores = torch.tensor([[[0.0, 2.0, 1.0, 0.0]], [[1.0, 1.0, 1.0, 3.0]]])[None, ..., None, None].reshape(
        1, 2, 4, 1, 1
    )
    reference = torch.tensor([1, 1, 1, 0]).reshape(1, 1, 4, 1, 1)
    # Predicted 1, 0, 0 (equal scores: the first class), 1; the reference is 1, 1, 1, 0.
    assert [int(count[0]) for count in voxel_counts(scores, reference)] == [1, 1, 2]


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_as_nnunets(classes: int) -> None:
    generator = torch.Generator().manual_seed(classes)
    shape = (2, classes, 3, 11, 13)
    scores = torch.randint(-4, 5, shape, generator=generator).float()  # many are equal
    reference = torch.randint(0, classes, (2, 1, *shape[2:]), generator=generator, dtype=torch.int16)
    onehot = torch.zeros(shape, dtype=torch.float16).scatter_(1, scores.argmax(1)[:, None], 1)
    theirs = get_tp_fp_fn_tn(onehot, reference, axes=[0, 2, 3, 4])[:3]
    for ours, expected in zip(voxel_counts(scores, reference), theirs, strict=True):
        np.testing.assert_array_equal(ours, expected.numpy()[1:], strict=True)  # types too
