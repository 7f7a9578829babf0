"""Error and time of bias-field correction: nothing, the cited method, N4 in its quick setting.

Usage: bias_accuracy.py [--seeds 1800 1801 1802 1803] [--anatomy easy hard] [--same-mask]

Prints a Markdown table: medians over the seeds of a class. Even seeds have no air in view, odd ones have. Everything
runs in one thread, and seconds are those of the processor, so that other work on the machine does not count. The
seeds 100 to 111 and 1100 to 1703 served to choose the settings and must not be reported.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import SimpleITK as sitk
from bias_volumes import Array, BiasVolume, Field, field_error, make_volume

from nnunet_spine.preprocessing.foreground import sample
from nnunet_spine.preprocessing.van_leemput import estimate_field

SHRINK = 4


@dataclass(frozen=True)
class Result:
    """Error of a field and the processor's seconds for it."""

    error: float
    seconds: float


def van_leemput(volume: BiasVolume) -> Array:
    """The field by the cited method."""
    return estimate_field(volume.image, volume.spacing_mm).field


def n4_otsu(volume: BiasVolume) -> Array:
    """The field by N4 as SimpleITK's example runs it: shrunken by 4, inside Otsu's mask."""
    image = _itk(volume)
    return _n4(image, sitk.OtsuThreshold(image, 0, 1, 200))


def n4_same_mask(volume: BiasVolume) -> Array:
    """The same, inside the foreground that the cited method finds."""
    threshold = sample(volume.image, volume.spacing_mm).threshold
    image = _itk(volume)
    return _n4(image, sitk.BinaryThreshold(image, lowerThreshold=threshold, upperThreshold=1e30))


def _itk(volume: BiasVolume) -> sitk.Image:
    image = sitk.GetImageFromArray(volume.image)
    image.SetSpacing([float(s) for s in reversed(volume.spacing_mm)])
    return image


def _n4(image: sitk.Image, mask: sitk.Image) -> Array:
    shrink = [min(SHRINK, max(1, n // 4)) for n in image.GetSize()]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfThreads(1)
    corrector.Execute(sitk.Shrink(image, shrink), sitk.Shrink(mask, shrink))
    return np.exp(sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image))).astype(np.float32)


def measured(method: Callable[[BiasVolume], Array], volume: BiasVolume) -> Result:
    """Run a method, its division included."""
    started = time.process_time()
    field = method(volume)
    np.divide(volume.image, field)
    seconds = time.process_time() - started
    return Result(field_error(field, volume.field, volume.tissue), seconds)


def row(volumes: list[BiasVolume], *, same_mask: bool) -> str:
    """Cells of one class."""
    nothing = np.median([field_error(np.ones_like(v.field), v.field, v.tissue) for v in volumes])
    ours = [measured(van_leemput, v) for v in volumes]
    cells = [f"{nothing:.3f}", f"{np.median([r.error for r in ours]):.3f}"]
    for method in (n4_otsu, n4_same_mask)[: 1 + same_mask]:
        theirs = [measured(method, v) for v in volumes]
        better = sum(a.error < b.error for a, b in zip(ours, theirs, strict=True))
        ratios = [b.seconds / a.seconds for a, b in zip(ours, theirs, strict=True)]
        cells += [f"{np.median([r.error for r in theirs]):.3f}", f"{better}/{len(volumes)}"]
        cells += [f"{np.median([r.seconds for r in theirs]):.2f}", f"{np.median(ratios):.0f} ({min(ratios):.0f})"]
    return " | ".join([*cells, f"{np.median([r.seconds for r in ours]):.3f}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1800, 1801, 1802, 1803])
    parser.add_argument("--anatomy", choices=("easy", "hard"), nargs="+", default=["easy", "hard"])
    parser.add_argument("--same-mask", action="store_true", help="also N4 inside the same foreground")
    arguments = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    columns = ["anatomy, field", "nothing", "Van Leemput"]
    for name in ("N4", "N4, same mask")[: 1 + arguments.same_mask]:
        columns += [name, "better", "seconds", "ratio (least)"]
    columns.append("Van Leemput, seconds")
    print("|", " | ".join(columns), "|\n" + "|---" * len(columns) + "|")
    for anatomy in arguments.anatomy:
        for kind in Field:
            volumes = [
                make_volume(seed, kind=kind, hard=anatomy == "hard", air=bool(seed % 2)) for seed in arguments.seeds
            ]
            print(f"| {anatomy}, {kind.value} | {row(volumes, same_mask=arguments.same_mask)} |", flush=True)


if __name__ == "__main__":
    main()
