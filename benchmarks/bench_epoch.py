"""Rows epoch and compute: an epoch of the trainer over the sum of its steps, and that sum over plain MONAI's.

    python benchmarks/bench_epoch.py ROOT DATASET PLANS --runs 5    # in this process; prints seconds as JSON

An epoch is all that nnU-Net's loop does in one: drawing batches, training and test cases, logs, checkpoint. The sum is
of forward, backward, clipping and step over the same batches in memory, and of forward and loss over the test batches.
Plain is the same with PyTorch's own layers and optimiser as MONAI's tutorials use them. All run in turn in one process,
the order alternated, after one turn that does not count; ratios are of the same turn.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from convert_exports import Size
from measuring import Row, median_ratio
from prepared import NO_BIAS, Prepared, Study

THREADS = (1, 2)


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure in processes of one and of two threads."""
    study = prepared.study(Size(58)).preprocessed_cases()
    found = []
    for threads in THREADS:
        seconds = measured(study, threads, runs)
        steps = [sum(parts) for parts in zip(seconds["train"], seconds["test"], strict=True)]
        told = f"{threads} thread{'s' if threads > 1 else ''}"
        name = f"an epoch of 43 + 15 cases / its forward, backward and step on the same batches: {told}"
        found.append(_row("epoch", name, seconds["epoch"], steps, "≤ 1.05"))
        name = f"forward, backward and step / the same with plain eager float32 MONAI: {told}"
        found.append(_row("compute", name, seconds["train"], seconds["plain"], "≤ 0.75"))
        name = f"the same in `--precision bfloat16` / with plain eager float32 MONAI: {told}"
        found.append(_row("compute", name, seconds["bfloat16"], seconds["plain"], "≤ 0.75"))
    return found


def _row(name: str, what: str, one: list[float], other: list[float], target: str) -> Row:
    figures = f"{statistics.median(one):.2f} s / {statistics.median(other):.2f} s"
    return Row(name, what, figures, median_ratio(one, other), target)


def measured(study: Study, threads: int, runs: int) -> dict[str, list[float]]:
    """Seconds of each kind by turn, from a process of so many threads."""
    command = [sys.executable, __file__, str(study.root), study.dataset, NO_BIAS]
    environment = {**os.environ, **study.environment, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*command, "--runs", str(runs)], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench_epoch ended with {done.returncode}: {done.stderr[-3000:]}")
    seconds: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return seconds


def epoch(trainer: Any) -> None:
    """What nnU-Net's `run_training` does in an epoch."""
    import torch

    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    steps = range(trainer.num_iterations_per_epoch)
    trainer.on_train_epoch_end([trainer.train_step(next(trainer.dataloader_train)) for _ in steps])
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        steps = range(trainer.num_val_iterations_per_epoch)
        trainer.on_validation_epoch_end([trainer.validation_step(next(trainer.dataloader_val)) for _ in steps])
    trainer.on_epoch_end()


def train_steps(trainer: Any, batches: list[dict[str, Any]]) -> None:
    """The trainer's steps alone: forward, backward, clipping and step."""
    trainer.network.train()
    for batch in batches:
        trainer.train_step(batch)


def plain_steps(network: Any, optimizer: Any, loss: Any, batches: list[dict[str, Any]]) -> None:
    """The same as MONAI's tutorials write it."""
    import torch

    network.train()
    for batch in batches:
        optimizer.zero_grad(set_to_none=True)
        loss(network(batch["data"]), batch["target"]).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 12)
        optimizer.step()


def test_steps(network: Any, loss: Any, batches: list[dict[str, Any]]) -> None:
    """Forward and loss."""
    import torch

    network.eval()
    with torch.no_grad():
        for batch in batches:
            loss(network(batch["data"]), batch["target"])


def main() -> None:
    """Measure in this process and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("plans")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    results = tempfile.mkdtemp(prefix="bench_epoch.")
    os.environ["nnUNet_results"] = results
    try:
        print(json.dumps(by_turn(given.root / "nnUNet_preprocessed" / given.dataset, given.plans, given.runs)))
    finally:
        shutil.rmtree(results)


def by_turn(folder: Path, plans_name: str, runs: int) -> dict[str, list[float]]:
    """Seconds of an epoch, of its steps over training and test cases, of plain steps and of those in bfloat16."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    from nnunet_spine.networks.unet import SpineUNet, architecture_arguments
    from nnunet_spine.training.variants import nnUNetTrainerSpine

    plans, dataset = (json.loads((folder / name).read_text()) for name in (f"{plans_name}.json", "dataset.json"))

    def make_trainer(precision: str) -> nnUNetTrainerSpine:
        os.environ["NNUNET_SPINE_PRECISION"] = precision
        once = {**plans, "continue_training": False}  # nnU-Net takes it out
        return nnUNetTrainerSpine(once, "3d_fullres", 0, dataset, torch.device("cpu"))

    trainer, steps_alone, reduced = (make_trainer(precision) for precision in ("float32", "float32", "bfloat16"))
    trainer.on_train_start()
    steps_alone.initialize()
    reduced.initialize()
    loss = trainer.loss
    plain = SpineUNet(1, 2, **architecture_arguments())
    plain_optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)

    def drawn(loader: Any, number: int) -> list[dict[str, Any]]:
        loader.start_epoch(number)
        return [next(loader) for _ in range(len(loader))]

    times: dict[str, list[float]] = {"epoch": [], "train": [], "test": [], "plain": [], "bfloat16": []}
    for run in range(runs + 1):
        batches, tests = drawn(trainer.dataloader_train, run), drawn(trainer.dataloader_val, run)
        jobs = {
            "epoch": lambda: epoch(trainer),
            "train": lambda: train_steps(steps_alone, batches),  # noqa: B023
            "test": lambda: test_steps(steps_alone.network, loss, tests),  # noqa: B023
            "plain": lambda: plain_steps(plain, plain_optimizer, loss, batches),  # noqa: B023
            "bfloat16": lambda: train_steps(reduced, batches),  # noqa: B023
        }
        for name in list(jobs)[:: -1 if run % 2 else 1]:
            started = time.perf_counter()
            jobs[name]()
            times[name].append(time.perf_counter() - started)
    return {name: found[1:] for name, found in times.items()}


if __name__ == "__main__":
    main()
