"""Batches of whole cases, padded to the grid and kept in memory.

The order of an epoch, and whatever is random in it, depends on the seed and
the epoch alone. A training that is continued therefore sees the same batches
as one that was never interrupted.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from nnunet_spine.preprocessing.geometry import pad_to_grid
from nnunet_spine.training.augmentation import Transform

DEFAULT_BUDGET_MIB = 4096
"""Memory for kept cases; cases beyond it are read again each time."""


class MemoryBudget:
    """Memory that several stores of cases share.

    Parameters
    ----------
    mebibytes
        What all of them may keep together.
    """

    def __init__(self, mebibytes: int = DEFAULT_BUDGET_MIB) -> None:
        self.mebibytes = mebibytes
        self._free_bytes = mebibytes * 2**20

    def take(self, size: int) -> bool:
        """Take so many bytes, or nothing where fewer are left."""
        if size > self._free_bytes:
            return False
        self._free_bytes -= size
        return True


@dataclass(frozen=True, eq=False)
class TrainingCase:
    """One preprocessed case on the grid.

    Parameters
    ----------
    image
        float32, shape (1, slice, y, x).
    label
        int16, the same shape; 0 outside the body.
    """

    image: torch.Tensor
    label: torch.Tensor


class CaseStore:
    """Preprocessed cases by identifier, padded to the grid.

    Parameters
    ----------
    dataset
        nnU-Net's data set of preprocessed cases.
    grid
        Voxels (slice, y, x).
    padding_value
        Intensity of the padding.
    budget
        Memory for kept cases, which other stores may take from too.
    """

    def __init__(
        self, dataset: Any, grid: Sequence[int], padding_value: float, budget: MemoryBudget | None = None
    ) -> None:
        self.identifiers: tuple[str, ...] = tuple(sorted(dataset.identifiers))
        self._dataset = dataset
        self._grid = tuple(grid)
        self._padding_value = padding_value
        self._budget = budget or MemoryBudget()
        self._kept: dict[str, TrainingCase] = {}

    def __getitem__(self, identifier: str) -> TrainingCase:
        if identifier not in self._kept:
            case = self._read(identifier)
            if not self._budget.take(case.image.nbytes + case.label.nbytes):
                return case
            self._kept[identifier] = case
        return self._kept[identifier]

    def _read(self, identifier: str) -> TrainingCase:
        image, label, _, _ = self._dataset.load_case(identifier)
        padded_image = pad_to_grid(np.asarray(image[:], np.float32), self._grid, self._padding_value)
        padded_label = pad_to_grid(np.maximum(np.asarray(label[:], np.int16), 0), self._grid)
        return TrainingCase(torch.from_numpy(padded_image), torch.from_numpy(padded_label))


class EpochLoader:
    """Iterator over the batches of an epoch, as nnU-Net's loop draws them with `next`.

    Parameters
    ----------
    store
        The cases.
    batch_size
        Cases per batch; the last batch of a pass may be smaller.
    seed
        Seed of this training.
    shuffled
        Whether each epoch has its own order.
    iterations
        Batches per epoch, drawn with replacement; None for one pass.
    transform
        Augmentation of a case.
    pinned
        Whether batches go into page-locked memory, for a GPU.
    """

    def __init__(
        self,
        store: CaseStore,
        batch_size: int,
        *,
        seed: int,
        shuffled: bool,
        iterations: int | None = None,
        transform: Transform | None = None,
        pinned: bool = False,
    ) -> None:
        self._store = store
        self._batch_size = batch_size
        self._seed = seed
        self._shuffled = shuffled
        self._iterations = iterations
        self._transform = transform
        self._pinned = pinned
        self._batches: Iterator[list[str]] = iter(())

    def __len__(self) -> int:
        """Batches per epoch."""
        return self._iterations or -(-len(self._store.identifiers) // self._batch_size)

    def start_epoch(self, epoch: int) -> None:
        """Draw the order of an epoch, and seed what is random in it."""
        generator = np.random.default_rng([self._seed, epoch])
        self._batches = iter(self._order(generator))
        if self._transform is not None:
            # The libraries' transforms draw from these three global states.
            state = int(generator.integers(2**31))
            random.seed(state)
            np.random.seed(state)
            torch.manual_seed(state)

    def _order(self, generator: np.random.Generator) -> list[list[str]]:
        cases = np.array(self._store.identifiers)
        if self._iterations is not None:
            cases = generator.choice(cases, self._iterations * self._batch_size)
        elif self._shuffled:
            cases = generator.permutation(cases)
        return [list(cases[i : i + self._batch_size]) for i in range(0, len(cases), self._batch_size)]

    def __iter__(self) -> EpochLoader:
        return self

    def __next__(self) -> dict[str, Any]:
        """Next batch: `data` (case, 1, z, y, x), `target` of the same shape, and `keys`."""
        keys = next(self._batches)
        pairs = [self._pair(self._store[key]) for key in keys]
        data = torch.stack([image for image, _ in pairs])
        target = torch.stack([label for _, label in pairs])
        if self._pinned:
            data, target = data.pin_memory(), target.pin_memory()
        return {"data": data, "target": target, "keys": keys}

    def _pair(self, case: TrainingCase) -> tuple[torch.Tensor, torch.Tensor]:
        if self._transform is None:
            return case.image, case.label
        return self._transform(case.image.clone(), case.label.clone())
