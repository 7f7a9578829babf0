"""Error and time of bias-field correction: nothing, the cited method, N4 in its quick setting.

Usage: bias_accuracy.py [--seeds 300 301 ...]

Prints a Markdown table: medians over the seeds of a class. Even seeds have no air in view, odd ones have. One thread.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from bias_volumes import Array, BiasVolume, Field, field_error, make_volume

from nnunet_spine.preprocessing.van_leemput import estimate_field


def van_leemput(volume: BiasVolume) -> Array:
    """The field by the cited method."""
    return estimate_field(volume.image, volume.spacing_mm).field


def n4(volume: BiasVolume) -> Array:
    """The field by N4 as SimpleITK's example runs it: shrunken by 4, inside Otsu's mask, one thread."""
    image = sitk.GetImageFromArray(volume.image)
    image.SetSpacing([float(s) for s in reversed(volume.spacing_mm)])
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    shrink = [min(4, max(1, n // 4)) for n in image.GetSize()]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.Execute(sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink))
    return np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image))).astype(np.float32)


def timed(method: Callable[[BiasVolume], Array], volume: BiasVolume) -> tuple[float, float]:
    """Error of a method's field, and its seconds."""
    started = time.perf_counter()
    field = method(volume)
    seconds = time.perf_counter() - started
    return field_error(field, volume.field, volume.tissue), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(300, 306)))
    seeds = parser.parse_args().seeds
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print("| anatomy, field | nothing | Van Leemput | N4 | better than N4 | seconds | N4 seconds | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for hard in (False, True):
        for kind in Field:
            volumes = [make_volume(seed, kind=kind, hard=hard, air=bool(seed % 2)) for seed in seeds]
            nothing = [field_error(np.ones_like(v.field), v.field, v.tissue) for v in volumes]
            ours, theirs = np.array([[timed(m, v) for v in volumes] for m in (van_leemput, n4)])
            (error, seconds), (n4_error, n4_seconds) = np.median(ours, axis=0), np.median(theirs, axis=0)
            better = int((ours[:, 0] < theirs[:, 0]).sum())
            anatomy = "hard" if hard else "easy"
            print(
                f"| {anatomy}, {kind.value} | {np.median(nothing):.3f} | {error:.3f} | {n4_error:.3f} | "
                f"{better}/{len(seeds)} | {seconds:.3f} | {n4_seconds:.2f} | {n4_seconds / seconds:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
