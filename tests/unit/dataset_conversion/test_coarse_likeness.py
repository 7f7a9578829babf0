"""No pair of images that are alike is passed over, and most others are."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter

from nnunet_spine.dataset_conversion.coarse_likeness import Lattice, maybe_alike
from nnunet_spine.dataset_conversion.near_duplicates import ALIKE, correlation
from nnunet_spine.dataset_conversion.near_duplicates import Lattice as Fine


def anatomy(seed: int, first: tuple[int, int, int] = (-4, 2, 7)) -> Lattice:
    noise = np.random.default_rng(seed).normal(size=(30, 28, 14))
    return gaussian_filter(noise, 2).astype(np.float32), np.array(first)


def test_copies_may_be_alike_and_others_are_not() -> None:
    values, first = anatomy(0)
    noise = np.random.default_rng(9).normal(scale=0.25 * values.std(), size=values.shape)
    outside = values.copy()
    outside[:5] = np.nan
    cropped = values[4:25, 3:, 1:-2], first + np.array([4, 3, 1])
    copies = [(3 * values + 40, first), (values + noise, first), (outside, first), cropped]
    others = [anatomy(seed) for seed in (1, 2, 3)]
    alike = maybe_alike([(values, first), *copies, *others])
    assert alike[:5, :5].all()
    assert not alike[:5, 5:].any()
    assert not np.triu(alike[5:, 5:], 1).any()


def test_every_pair_that_correlates_is_kept() -> None:
    rng = np.random.default_rng(4)
    base = anatomy(0)[0]
    lattices = [
        (base * rng.uniform(0.5, 2) + share * anatomy(seed)[0], np.array([1, 2, -3]))
        for seed, share in enumerate(np.linspace(0, 1, 25), start=1)
    ]
    alike = maybe_alike(lattices)
    fine = [Fine(values.astype(np.float16), first) for values, first in lattices]
    pairs = [(i, j) for i in range(25) for j in range(i) if correlation(fine[i], fine[j]) >= ALIKE]
    assert len(pairs) > 10
    assert all(alike[pair] for pair in pairs)


def test_images_that_share_little_or_lie_far_apart_are_left_to_the_close_look() -> None:
    values, first = anatomy(0)
    assert maybe_alike([(values, first), (values, first + np.array([28, 26, 0]))]).all()
    assert maybe_alike([(values, first), (anatomy(1)[0], first + 3_000_000)]).all()
