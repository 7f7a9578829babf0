"""Whole-process time and peak memory of `nnunet-spine evaluate`, all metrics on, against nnUNetv2_evaluate_folder.

    python benchmarks/evaluate.py    # 58 cases of two sizes, three alternated runs each; then 58 against 580
    python benchmarks/evaluate.py --runs 5

Both judge the same files; what the figures are, `measuring.Cost` tells. nnU-Net runs with its default number of worker
processes and with one for each CPU; the ratio is to the faster of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from measuring import BESIDE, Cost, in_turn

SIZES = {"16 x 512 x 512": (16, 512, 512), "phantoms' 16 x 160 x 160": (16, 160, 160)}
SPACING_ZYX_MM = (4.0, 0.5, 0.5)
Mask = npt.NDArray[np.bool_]


def ellipsoid(shape: tuple[int, int, int], centre_mm: Sequence[float], radii_mm: Sequence[float]) -> Mask:
    """Voxels (z, y, x) of an ellipsoid."""
    axes = [np.arange(n) * spacing for n, spacing in zip(shape, SPACING_ZYX_MM, strict=True)]
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre_mm, radii_mm, strict=True)]
    return parts[0][:, None, None] + parts[1][None, :, None] + parts[2][None, None, :] <= 1


def make_case(seed: int, shape: tuple[int, int, int]) -> tuple[Mask, Mask]:
    """Reference and prediction: moved and resized, every fifth missed, every third with a false positive."""
    random = np.random.default_rng(seed)
    extent = np.multiply(shape, SPACING_ZYX_MM)
    centre = extent * random.uniform(0.35, 0.65, 3)
    radii = np.array((8.0, 6.0, 6.0)) * random.uniform(0.6, 2.0)
    reference = ellipsoid(shape, centre, radii)
    prediction = ellipsoid(shape, centre + random.normal(0, 2, 3), radii * random.uniform(0.7, 1.2, 3))
    if seed % 5 == 4:
        prediction = ellipsoid(shape, extent * 0.15, radii)
    if seed % 3 == 2:
        prediction |= ellipsoid(shape, extent * 0.85, (4.0, 3.0, 3.0))
    return reference, prediction


def write_cohort(root: Path, cases: int, shape: tuple[int, int, int]) -> Path:
    """References, predictions, and what either program wants to know of them."""
    for folder in ("labelsTr", "predictions"):
        (root / folder).mkdir(parents=True)
    names = [f"case_{number:04d}" for number in range(cases)]
    for number, name in enumerate(names):
        for folder, mask in zip(("labelsTr", "predictions"), make_case(number, shape), strict=True):
            image = sitk.GetImageFromArray(mask.astype(np.uint8))
            image.SetSpacing(SPACING_ZYX_MM[::-1])
            sitk.WriteImage(image, str(root / folder / f"{name}.nii.gz"), useCompression=True)
    folds = [{"train": [n for n in names if n not in names[k::4]], "val": names[k::4]} for k in range(4)]
    dataset = {"file_ending": ".nii.gz", "labels": {"background": 0, "tumor": 1}, "channel_names": {"0": "T1"}}
    dataset["overwrite_image_reader_writer"] = "SimpleITKIO"
    for file, content in {"splits.json": folds, "dataset.json": dataset, "plans.json": {"plans_name": "x"}}.items():
        (root / file).write_text(json.dumps(content), encoding="utf-8")
    return root


def ours(root: Path) -> list[str]:
    """Our command."""
    files = ["--reference", root / "labelsTr", "--predictions", root / "predictions", "--splits", root / "splits.json"]
    return [sys.executable, "-m", "nnunet_spine", "evaluate", *map(str, files), "--output", str(root / "out")]


def theirs(root: Path, processes: int | None) -> list[str]:
    """nnU-Net's command."""
    command = [str(BESIDE / "nnUNetv2_evaluate_folder"), str(root / "labelsTr")]
    command += [str(root / "predictions"), "-djfile", str(root / "dataset.json"), "-pfile", str(root / "plans.json")]
    command += ["-o", str(root / "summary.json")]
    return command if processes is None else [*command, "-np", str(processes)]


def medians(commands: Mapping[str, Sequence[str]], runs: int) -> dict[str, Cost]:
    """Median cost of each command over alternated runs."""
    os.environ.pop("nnUNet_def_n_proc", None)
    folders = {"nnUNet_raw": ".", "nnUNet_preprocessed": ".", "nnUNet_results": "."}
    return {name: found.median for name, found in in_turn(commands, runs, environment=lambda _: folders).items()}


def show(title: str, costs: Mapping[str, Cost]) -> None:
    """Print a small table."""
    print(f"\n{title}")
    for name, cost in costs.items():
        print(
            f"  {name:40} {cost.seconds:7.2f} s {cost.cpu_seconds:7.2f} s of CPU {cost.peak_mib:7.0f} MiB", flush=True
        )


def against_nnunet(root: Path, label: str, cases: int, runs: int) -> None:
    """58 cases by either program."""
    cohort = write_cohort(root / f"{cases}-{SIZES[label][1]}", cases, SIZES[label])
    cpus = len(os.sched_getaffinity(0))
    commands = {"nnunet-spine evaluate": ours(cohort), "nnUNetv2_evaluate_folder": theirs(cohort, None)}
    commands[f"nnUNetv2_evaluate_folder -np {cpus}"] = theirs(cohort, cpus)
    costs = medians(commands, runs)
    show(f"{cases} cases of {label}, medians of {runs} alternated runs", costs)
    mine, *others = costs.values()
    print(f"  ratio of time {min(c.seconds for c in others) / mine.seconds:.1f}", end=", ")
    print(f"of CPU {min(c.cpu_seconds for c in others) / mine.cpu_seconds:.1f}", end=", ")
    print(f"of memory {min(c.peak_mib for c in others) / mine.peak_mib:.1f}", flush=True)


def many(root: Path, cases: int, runs: int) -> None:
    """Ten times as many cases: what one case more takes, start-up not counted, and memory."""
    label = next(iter(SIZES))
    cohorts = {n: root / f"{n}-{SIZES[label][1]}" for n in (4, cases, 10 * cases)}
    for number, folder in cohorts.items():
        if not folder.exists():
            write_cohort(folder, number, SIZES[label])
    costs = medians({f"{n} cases": ours(folder) for n, folder in cohorts.items()}, runs)
    show(f"ours, cases of {label}", costs)
    start, few, lots = costs.values()
    for name in ("seconds", "cpu_seconds"):
        least, middle, most = (getattr(cost, name) for cost in (start, few, lots))
        early, late = (middle - least) / (cases - 4), (most - middle) / (9 * cases)
        print(f"  {name} for one case more: {early:.4f}, and {late:.4f} ({late / early - 1:+.0%})")
    print(f"  memory {lots.peak_mib / few.peak_mib:.2f} times", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cases", type=int, default=58)
    parser.add_argument("--skip-many", action="store_true")
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="evaluate."))
    try:
        for label in SIZES:
            against_nnunet(root, label, arguments.cases, arguments.runs)
        if not arguments.skip_many:
            many(root, arguments.cases, arguments.runs)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
