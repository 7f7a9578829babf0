"""Row bias: N4 in SimpleITK's quick setting over the cited method, at no larger error of the field; one thread."""

from __future__ import annotations

import statistics

import SimpleITK as sitk
from bias_accuracy import measured, n4_otsu, van_leemput
from bias_volumes import Field, make_volume
from measuring import Row
from prepared import Prepared

FIRST_SEED = 1800


def rows(_prepared: Prepared, runs: int) -> list[Row]:
    """Measure on volumes of every class of field, easy and hard, as many of each as there are runs."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    ours, theirs = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + runs):
        for hard in (False, True):
            for kind in Field:
                volume = make_volume(seed, kind=kind, hard=hard, air=bool(seed % 2))
                pair = [(ours, van_leemput), (theirs, n4_otsu)]
                for results, method in pair[:: -1 if seed % 2 else 1]:
                    results.append(measured(method, volume))
    ratio = statistics.median(b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True))
    seconds = [statistics.median(r.seconds for r in results) for results in (theirs, ours)]
    errors = [statistics.median(r.error for r in results) for results in (theirs, ours)]
    figures = (
        f"{seconds[0]:.2f} s / {seconds[1]:.3f} s of CPU; median error of the field {errors[0]:.3f} / {errors[1]:.3f}"
    )
    name = (
        f"SimpleITK's N4, shrunken by 4 inside Otsu's mask / Van Leemput: {len(ours)} volumes, median ratio of a volume"
    )
    return [Row("bias", name, figures, ratio, "≥ 50")]
