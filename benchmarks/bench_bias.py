"""Row bias: N4 in SimpleITK's quick setting over the cited method, at no larger error of the field; one thread."""

from __future__ import annotations

import statistics

import SimpleITK as sitk
from bias_accuracy import Result, measured, n4_otsu, n4_same_mask, van_leemput
from bias_volumes import Field, make_volume
from measuring import Row, median_ratio
from prepared import Prepared

FIRST_SEED = 1800


def rows(_prepared: Prepared, runs: int) -> list[Row]:
    """Measure on volumes of every class of field, easy and hard, as many of each as there are runs."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    methods = {"ours": van_leemput, "Otsu's mask": n4_otsu, "the same mask": n4_same_mask}
    found: dict[str, list[Result]] = {name: [] for name in methods}
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        for hard in (False, True):
            for kind in Field:
                volume = make_volume(seed, kind=kind, hard=hard, air=bool(seed % 2))
                for name in list(methods)[:: -1 if seed % 2 else 1]:
                    found[name].append(measured(methods[name], volume))
    ours = found.pop("ours")
    return [
        row(mask, results, ours, f"≥ {target}") for (mask, results), target in zip(found.items(), (20, 50), strict=True)
    ]


def row(mask: str, theirs: list[Result], ours: list[Result], target: str) -> Row:
    """One setting of N4 against the cited method."""
    by_volume = [[r.seconds for r in results] for results in (theirs, ours)]
    ratio, seconds = median_ratio(*by_volume), [statistics.median(found) for found in by_volume]
    errors = [statistics.median(r.error for r in results) for results in (theirs, ours)]
    wrong = f"median error of the field {errors[0]:.3f} / {errors[1]:.3f}"
    figures = f"{seconds[0]:.2f} s / {seconds[1]:.3f} s of CPU; {wrong}"
    name = f"SimpleITK's N4, shrunken by 4, {mask} / Van Leemput: {len(ours)} volumes, median of their ratios"
    return Row("bias", name, figures, ratio, target)
