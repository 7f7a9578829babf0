"""Dice and time of training in float32 and in bfloat16: three seeds each, the demo's cohort in two folds.

    python benchmarks/precision.py WORK [--cases 24] [--epochs 40]

Runs a study of six models (`nnunet-spine run`) and prints, as Markdown, the mean Dice over all cases of each training,
the median seconds of its epochs, and the largest difference within a precision and between the two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
from itertools import combinations
from pathlib import Path

from convert_exports import Size
from measuring import median_ratio
from prepared import SPINE, Prepared

from nnunet_spine.training.epoch_log import read_epochs

PRECISIONS = ("float32", "bfloat16")
SEEDS = (0, 1, 2)
HEAD = """\
source: {export}
output: {output}
folds: 2
threads: 1
device: cpu
models:
"""


def main() -> None:
    """Run the study, going on from what is there, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--cases", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=40)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    work = given.work.resolve()
    output, file = work / "precision", work / "precision.yaml"
    head = HEAD.format(export=Prepared(work).export(Size(given.cases)), output=output)
    options = f"epochs: {given.epochs}, bias: none"
    models = [f"  {p}-{s}: {{{options}, precision: {p}, seed: {s}}}\n" for s in SEEDS for p in PRECISIONS]
    file.write_text(head + "".join(models), encoding="utf-8")
    subprocess.run([*SPINE, "run", str(file)], check=True)
    dice = {
        (p, s): mean_dice(output / "evaluation" / f"{p}-{s}" / "evaluation.json") for s in SEEDS for p in PRECISIONS
    }
    seconds = {(p, s): epoch_seconds(output / "models" / f"{p}-{s}") for s in SEEDS for p in PRECISIONS}
    print(f"{given.cases} phantoms, 2 folds, {given.epochs} epochs, one thread.\n")
    print("| seed | Dice, float32 | Dice, bfloat16 | an epoch, float32 | an epoch, bfloat16 |\n|---|---|---|---|---|")
    for seed in SEEDS:
        cells = [f"{dice[p, seed]:.3f}" for p in PRECISIONS] + [f"{seconds[p, seed]:.2f} s" for p in PRECISIONS]
        print(f"| {seed} | {' | '.join(cells)} |")
    within = max(abs(dice["float32", a] - dice["float32", b]) for a, b in combinations(SEEDS, 2))
    between = [dice["bfloat16", seed] - dice["float32", seed] for seed in SEEDS]
    ratio = median_ratio(*([seconds[precision, seed] for seed in SEEDS] for precision in ("bfloat16", "float32")))
    print(f"\nSeeds of float32 differ by up to {within:.3f}; bfloat16 minus float32 of one seed: ", end="")
    print(", ".join(f"{d:+.3f}" for d in between), end=f"; time {ratio:.2f} times.\n")


def mean_dice(evaluation: Path) -> float:
    """Mean over the cases."""
    cases = json.loads(evaluation.read_text(encoding="utf-8"))["cases"]
    return statistics.mean(case["dice"] for case in cases)


def epoch_seconds(model: Path) -> float:
    """Median over the epochs of all folds."""
    logs = model.rglob("training_progress.jsonl")
    return statistics.median(epoch.seconds for log in logs for epoch in read_epochs(log))


if __name__ == "__main__":
    main()
