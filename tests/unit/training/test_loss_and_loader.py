from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nnunet_spine.protocol import PROTOCOL, Augmentation
from nnunet_spine.training.augmentation import make_transform
from nnunet_spine.training.loader import CaseStore, EpochLoader, MemoryBudget
from nnunet_spine.training.loss import SpineDiceLoss

GRID = (4, 6, 6)


class Dataset:
    """Cases of one value each, as nnU-Net's data set gives them; counts how often each is read."""

    def __init__(self, count: int) -> None:
        self.identifiers = [f"c{n}" for n in range(count)]
        self.reads: list[str] = []

    def load_case(self, identifier: str):
        self.reads.append(identifier)
        value = int(identifier[1:]) + 1
        label = np.zeros((1, 2, 4, 6), np.int16)
        label[0, 0, 0, 0] = -1
        label[0, 1, 2, 3] = 1
        return np.full((1, 2, 4, 6), value, np.float32), label, None, {}


def loader(count: int = 5, **options) -> EpochLoader:
    options = {"batch_size": 2, "seed": 1, "shuffled": True, **options}
    return EpochLoader(CaseStore(Dataset(count), GRID, 0.0), options.pop("batch_size"), **options)


def keys(batches: EpochLoader, epoch: int) -> list[list[str]]:
    batches.start_epoch(epoch)
    return [batch["keys"] for batch in batches]


@pytest.mark.parametrize("background", [True, False])
def test_dice_loss_by_hand(background: bool) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2, 2, 2, 2, 2))
    target = rng.integers(0, 2, size=(2, 1, 2, 2, 2))
    probability = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    losses = []
    for case in range(2):
        for channel in (0, 1) if background else (1,):
            p, t = probability[case, channel], target[case, 0] == channel
            losses.append(1 - (2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5))
    loss = SpineDiceLoss(replace(PROTOCOL, loss_include_background=background))
    got = loss(torch.tensor(logits, dtype=torch.float32), torch.tensor(target, dtype=torch.int16))
    assert got.item() == pytest.approx(np.mean(losses), abs=1e-5)


def test_the_loss_counts_in_float32() -> None:
    # A sum over 64^3 voxels is beyond the largest number of half precision, 65504.
    output = torch.zeros(1, 2, 64, 64, 64, dtype=torch.float16)
    loss = SpineDiceLoss(PROTOCOL)(output, torch.zeros(1, 1, 64, 64, 64, dtype=torch.int16))
    assert loss.dtype == torch.float32
    assert torch.isfinite(loss)


def test_a_pass_has_each_case_once_the_last_batch_smaller() -> None:
    batches = loader(5)
    assert len(batches) == 3
    epoch = keys(batches, 0)
    assert [len(batch) for batch in epoch] == [2, 2, 1]
    assert sorted(key for batch in epoch for key in batch) == ["c0", "c1", "c2", "c3", "c4"]


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    one, other = loader(9), loader(9)
    first = [keys(one, epoch) for epoch in range(4)]
    assert keys(other, 3) == first[3]  # as after an interruption: epochs 0 to 2 were never drawn here
    assert first[0] != first[1]
    assert keys(loader(9, seed=2), 0) != first[0]


def test_test_cases_are_not_shuffled() -> None:
    assert keys(loader(3, shuffled=False), 7) == [["c0", "c1"], ["c2"]]


def test_a_number_of_iterations_is_kept() -> None:
    batches = loader(3, iterations=7)
    assert len(batches) == 7
    epoch = keys(batches, 0)
    assert [len(batch) for batch in epoch] == [2] * 7


def test_batches_are_padded_to_the_grid_and_outside_is_background() -> None:
    batches = loader(1, batch_size=1)
    batches.start_epoch(0)
    batch = next(batches)
    assert batch["data"].shape == batch["target"].shape == (1, 1, *GRID)
    assert batch["data"].dtype == torch.float32
    assert batch["data"].sum() == 2 * 4 * 6
    assert batch["data"][0, 0, 0].sum() == 0  # one slice of padding on each side
    assert batch["target"].min() == 0
    assert torch.nonzero(batch["target"][0, 0]).tolist() == [[2, 3, 3]]


def test_cases_are_read_once_and_again_beyond_the_budget() -> None:
    grid, budget = (4, 64, 256), MemoryBudget(1)  # a case takes 4 + 2 bytes a voxel: 0.375 MiB, so two are kept
    training, testing = Dataset(2), Dataset(2)
    stores = [CaseStore(dataset, grid, 0.0, budget) for dataset in (training, testing)]
    for _ in range(3):
        for store in stores:
            for identifier in store.identifiers:
                assert store[identifier].image.max() == int(identifier[1:]) + 1
    assert sorted(training.reads) == ["c0", "c1"]
    assert sorted(testing.reads) == ["c0", "c0", "c0", "c1", "c1", "c1"]


def test_no_augmentation_is_no_transform() -> None:
    assert make_transform(Augmentation.NONE, GRID) is None


def drawn(kind: Augmentation, epoch: int, grid=(16, 32, 32)) -> list[torch.Tensor]:
    class Varied(Dataset):
        def load_case(self, identifier: str):
            rng = np.random.default_rng(int(identifier[1:]))
            label = np.zeros((1, *grid), np.int16)
            label[0, 4:8, 8:20, 8:20] = 1
            return rng.random((1, *grid), np.float32) + 0.1, label, None, {}

    batches = EpochLoader(
        CaseStore(Varied(6), grid, 0.0), 3, seed=1, shuffled=True, transform=make_transform(kind, grid)
    )
    batches.start_epoch(epoch)
    return [tensor for batch in batches for tensor in (batch["data"], batch["target"])]


@pytest.mark.parametrize("kind", [Augmentation.NNUNET, Augmentation.RAND_BIAS_FIELD])
def test_augmentation_keeps_shapes_and_repeats_with_its_epoch(kind: Augmentation) -> None:
    first, again, other = drawn(kind, 2), drawn(kind, 2), drawn(kind, 3)
    assert {t.shape for t in first} == {(3, 1, 16, 32, 32)}
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    labels = first[1::2]
    assert {int(v) for label in labels for v in label.unique()} == {0, 1}


def test_rand_bias_field_changes_intensities_and_no_label() -> None:
    plain, changed = drawn(Augmentation.NONE, 2), drawn(Augmentation.RAND_BIAS_FIELD, 2)
    assert all(torch.equal(a, b) for a, b in zip(plain[1::2], changed[1::2], strict=True))
    ratios = torch.cat([(b / a).flatten(1) for a, b in zip(plain[::2], changed[::2], strict=True)])
    touched = [bool((row - 1).abs().max() > 1e-4) for row in ratios]
    assert any(touched)
    assert not all(touched)
