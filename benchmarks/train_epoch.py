"""Training step with the faster layers against plain MONAI, and an epoch against the sum of its steps.

    python benchmarks/train_epoch.py --threads 1
    python benchmarks/train_epoch.py --threads 2 --runs 7 --json

Row compute: forward, backward and step of this package's trainer, over the same with PyTorch's plain layers and Adam.
Row epoch: wall time of nnU-Net's training loop over drawn cases in memory, loader included, without the test pass and
the checkpoint, over that sum. Both kinds run in turn in one process, the order alternated; medians are told.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from nnunet_spine.networks.fast_layers import speed_up
from nnunet_spine.networks.unet import SpineUNet, architecture_arguments
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.training.loader import CaseStore, EpochLoader
from nnunet_spine.training.loss import SpineDiceLoss
from nnunet_spine.training.trainer import SpineTrainer

CASES = 4


class DrawnCases:
    """Noise and a block of label, in the form of nnU-Net's data set."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        self.identifiers = [f"case_{i}" for i in range(CASES)]
        self._grid = grid

    def load_case(self, identifier: str) -> tuple[np.ndarray, np.ndarray, None, dict[str, object]]:
        """Image, label, nothing, and no properties."""
        generator = np.random.default_rng(int(identifier[-1]))
        label = np.zeros((1, *self._grid), np.int16)
        label[:, 4:8, 20:40, 20:40] = 1
        return generator.standard_normal(label.shape, np.float32) + label, label, None, {}


class Training:
    """One network, optimiser and loader, stepped by nnU-Net's own `train_step`."""

    def __init__(self, grid: tuple[int, ...], batch_size: int, *, fast: bool) -> None:
        torch.manual_seed(0)
        network = SpineUNet(1, PROTOCOL.output_channels, **architecture_arguments())
        if fast:
            speed_up(network)
        rate, decay = PROTOCOL.initial_learning_rate, PROTOCOL.weight_decay
        optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay, foreach=fast)
        self.network: nn.Module = network
        self._trainer = SimpleNamespace(
            network=network,
            optimizer=optimizer,
            loss=SpineDiceLoss(PROTOCOL),
            device=torch.device("cpu"),
            grad_scaler=None,
        )
        store = CaseStore(DrawnCases(grid), grid, 0.0)
        self.loader = EpochLoader(store, batch_size, seed=0, shuffled=True)

    def batches(self, epoch: int) -> list[dict[str, object]]:
        """The epoch's batches, in memory."""
        self.loader.start_epoch(epoch)
        return [next(self.loader) for _ in range(len(self.loader))]

    def steps(self, batches: list[dict[str, object]]) -> float:
        """Seconds of forward, backward and step over batches in memory."""
        parts = self._trainer
        start = time.perf_counter()
        for batch in batches:
            parts.optimizer.zero_grad(set_to_none=True)
            loss = parts.loss(parts.network(batch["data"]), batch["target"])
            loss.backward()
            nn.utils.clip_grad_norm_(parts.network.parameters(), 12)
            parts.optimizer.step()
        return time.perf_counter() - start

    def epoch(self, number: int) -> float:
        """Seconds of the training part of an epoch as nnU-Net's loop runs it."""
        start = time.perf_counter()
        self.loader.start_epoch(number)
        for _ in range(len(self.loader)):
            SpineTrainer.train_step(self._trainer, next(self.loader))
        return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--grid", type=int, nargs=3, default=(16, 128, 112))
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    grid = tuple(options.grid)
    fast, plain = (Training(grid, options.batch_size, fast=kind) for kind in (True, False))
    times: dict[str, list[float]] = {"fast": [], "plain": [], "epoch": []}
    for run in range(options.runs + 1):
        batches = fast.batches(run)
        jobs = {
            "fast": lambda: fast.steps(batches),  # noqa: B023 - run within this turn
            "epoch": lambda: fast.epoch(run),  # noqa: B023
            "plain": lambda: plain.steps(batches),  # noqa: B023
        }
        for name in sorted(jobs, reverse=bool(run % 2)):
            times[name].append(jobs[name]())
    seconds = {name: statistics.median(values[1:]) for name, values in times.items()}
    detail = {"seconds": seconds, "threads": options.threads, "runs": options.runs, "grid": list(grid), "cases": CASES}
    rows = [
        {"row": "epoch", "ratio": seconds["epoch"] / seconds["fast"], "target": "≤ 1.05", "detail": detail},
        {"row": "compute", "ratio": seconds["fast"] / seconds["plain"], "target": "≤ 0.75", "detail": detail},
    ]
    for row in rows:
        text = f"| {row['row']} | {row['ratio']:.3f} | {row['target']} | {options.threads} threads, grid {grid} |"
        print(json.dumps(row, ensure_ascii=False) if options.json else text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
