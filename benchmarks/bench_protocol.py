"""Row protocol: an epoch of nnU-Net as it configures itself over one of ours, the same fold of the same 58 cases.

    python benchmarks/bench_protocol.py ROOT DATASET --steps 5    # nnU-Net's part alone; prints seconds as JSON

An epoch of nnU-Net is 250 training and 50 test iterations, whatever the data. Its iterations are alike, so some are
timed, batches drawn from its loaders included, and the medians multiplied.
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

from bench_epoch import measured
from convert_exports import Size
from measuring import Row
from prepared import Prepared

TRAIN_STEPS, TEST_STEPS = 250, 50


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure both on two threads."""
    study = prepared.study(Size(58)).preprocessed_cases().preprocessed_by_nnunet()
    threads = int(study.environment["nnUNet_def_n_proc"])
    ours = statistics.median(measured(study, threads, runs)["epoch"])
    environment = {**os.environ, **study.environment, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, __file__, str(study.root), study.dataset, "--steps", str(runs)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench_protocol ended with {done.returncode}: {done.stderr[-3000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    theirs = TRAIN_STEPS * found["train"] + TEST_STEPS * found["test"]
    figures = f"{theirs:.0f} s / {ours:.2f} s (one of its iterations {found['train']:.1f} s)"
    name = (
        f"one epoch, nnU-Net auto-configured (patch {found['patch']}, batch {found['batch']}) / ours: {threads} threads"
    )
    return [Row("protocol", name, figures, theirs / ours, "≥ 35")]


def main() -> None:
    """Time nnU-Net's iterations in this process and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("dataset")
    parser.add_argument("--steps", type=int, default=5)
    given = parser.parse_args()
    results = tempfile.mkdtemp(prefix="bench_protocol.")
    os.environ["nnUNet_results"] = results
    try:
        found = seconds(given.root / "nnUNet_preprocessed" / given.dataset, given.steps)
        print(json.dumps(found), flush=True)
    finally:
        shutil.rmtree(results)
    os._exit(0)  # nnU-Net's loaders are still drawing batches


def seconds(folder: Path, steps: int) -> dict[str, Any]:
    """Median seconds of a training and of a test iteration, after one of each; patch and batch size."""
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    plans, dataset = (json.loads((folder / name).read_text()) for name in ("nnUNetPlans.json", "dataset.json"))
    plans["continue_training"] = False
    trainer = nnUNetTrainer(plans, "3d_fullres", 0, dataset, torch.device("cpu"))
    trainer.on_train_start()
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    train = [timed(lambda: trainer.train_step(next(trainer.dataloader_train))) for _ in range(steps + 1)]
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        test = [timed(lambda: trainer.validation_step(next(trainer.dataloader_val))) for _ in range(steps + 1)]
    return {
        "train": statistics.median(train[1:]),
        "test": statistics.median(test[1:]),
        "patch": "x".join(map(str, trainer.configuration_manager.patch_size)),
        "batch": trainer.configuration_manager.batch_size,
    }


def timed(work: Any) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
