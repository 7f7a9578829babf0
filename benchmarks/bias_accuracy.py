"""Error and time of bias-field correction: nothing, the cited method, N4 in its quick setting.

Usage: bias_accuracy.py [--seeds 800 801 ...]

Prints a Markdown table: medians over the seeds of a class. Even seeds have no air in view, odd ones have. One thread;
seconds are of the processor, so that other work on the machine counts little. Time is that of field and division. N4
also runs on the foreground of the cited method, for one volume of each class.
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

from nnunet_spine.preprocessing.foreground import sample
from nnunet_spine.preprocessing.van_leemput import estimate_field

Method = Callable[[BiasVolume], Array]


def van_leemput(volume: BiasVolume) -> Array:
    """The field by the cited method."""
    return estimate_field(volume.image, volume.spacing_mm).field


def n4(volume: BiasVolume, *, foreground: bool = False) -> Array:
    """The field by N4 as SimpleITK's example runs it: shrunken by 4, inside Otsu's mask or the given foreground."""
    image = sitk.GetImageFromArray(volume.image)
    image.SetSpacing([float(s) for s in reversed(volume.spacing_mm)])
    mask = sitk.OtsuThreshold(image, 0, 1, 200)
    if foreground:
        samples = sample(volume.image, volume.spacing_mm)
        mask = sitk.BinaryThreshold(image, float(samples.values[samples.tissue].min()), 1e38)
    shrink = [min(4, max(1, n // 4)) for n in image.GetSize()]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.Execute(sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink))
    return np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image))).astype(np.float32)


def n4_on_foreground(volume: BiasVolume) -> Array:
    """The field by N4 on the foreground that the cited method finds."""
    return n4(volume, foreground=True)


def timed(method: Method, volume: BiasVolume) -> tuple[float, float]:
    """Error of a method's field, and the seconds that it and the division took."""
    started = time.process_time()
    field = method(volume)
    volume.image / field
    seconds = time.process_time() - started
    return field_error(field, volume.field, volume.tissue), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(800, 806)))
    seeds = parser.parse_args().seeds
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    volumes: dict[tuple[bool, Field], list[BiasVolume]] = {(hard, kind): [] for hard in (False, True) for kind in Field}
    for seed in seeds:
        for hard, kind in volumes:
            volumes[hard, kind].append(make_volume(seed, kind=kind, hard=hard, air=bool(seed % 2)))
    print(
        "| anatomy, field | nothing | Van Leemput | worst | N4 | better than N4 | seconds | N4 seconds | ratio "
        "| N4 on the same foreground: error | seconds | ratio |\n|" + "---|" * 12
    )
    wins = 0
    for (hard, kind), members in volumes.items():
        nothing = [field_error(np.ones_like(v.field), v.field, v.tissue) for v in members]
        ours, theirs = np.array([[timed(m, v) for v in members] for m in (van_leemput, n4)])
        (error, seconds), (n4_error, n4_seconds) = np.median(ours, axis=0), np.median(theirs, axis=0)
        same_error, same_seconds = timed(n4_on_foreground, members[0])
        better = int((ours[:, 0] < theirs[:, 0]).sum())
        wins += better
        print(
            f"| {'hard' if hard else 'easy'}, {kind.value} | {np.median(nothing):.3f} | {error:.3f} "
            f"| {ours[:, 0].max():.3f} | {n4_error:.3f} | {better}/{len(members)} | {seconds:.3f} | {n4_seconds:.2f} "
            f"| {n4_seconds / seconds:.0f} | {same_error:.3f} | {same_seconds:.2f} | {same_seconds / ours[0, 1]:.0f} |",
            flush=True,
        )
    print(f"\nBetter than N4 in {wins} of {len(seeds) * len(volumes)} volumes.")


if __name__ == "__main__":
    main()
