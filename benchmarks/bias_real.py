"""Real volumes: does a known field come back, and does the contrast of a lesion to the cord survive it.

Usage: bias_real.py FOLDER   (of *.nii.gz; NAME_cord.nii.gz beside NAME.nii.gz is its cord mask)

Each volume is multiplied by known fields. The estimate with the field over the one without should be the field.

Where there is a cord mask, a stretch of the cord is brightened by a known factor, as a lesion. Its ratio to the rest of
the cord, over the same ratio without the lesion, should be that factor: else the correction takes the lesion for a
field. The cord itself should become more even: its variation is that of the means of its cross-sections.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from bias_volumes import Array, Field, field_error, make_field

from nnunet_spine.preprocessing.foreground import sample
from nnunet_spine.preprocessing.van_leemput import estimate_field

LESION_OVER_CORD = 1.64
SEEDS = (51, 52, 53, 54, 55)
Mask = npt.NDArray[np.bool_]


def lesion_and_cord(cord: Mask) -> tuple[Mask, Mask]:
    """The middle fifth of the cord along its longest axis, and the rest."""
    axis = int(np.argmax([np.ptp(i) for i in np.nonzero(cord)]))
    place = np.indices(cord.shape)[axis]
    low, high = np.quantile(place[cord], (0.4, 0.6))
    middle = (place >= low) & (place <= high)
    return cord & middle, cord & ~middle


def ratio(image: Array, lesion: Mask, rest: Mask) -> float:
    """Mean of the lesion over that of the rest of the cord."""
    return float(image[lesion].mean() / image[rest].mean())


def variation(image: Array, cord: Mask) -> float:
    """SD over mean of the cord's cross-sections along its longest axis."""
    axis = int(np.argmax([np.ptp(i) for i in np.nonzero(cord)]))
    slices = zip(np.moveaxis(image, axis, 0), np.moveaxis(cord, axis, 0), strict=True)
    means = np.array([values[inside].mean() for values, inside in slices if inside.any()])
    return float(means.std() / means.mean())


def corrected(image: Array, spacing_mm: tuple[float, float, float]) -> Array:
    """The image without its estimated field."""
    return image / estimate_field(image, spacing_mm).field


def extra_field(image: Array, extra: Array, spacing_mm: tuple[float, float, float], tissue: Mask) -> list[float]:
    """Error of doing nothing, error and correlation of the recovered extra field."""
    gained = estimate_field(image * extra, spacing_mm).field / estimate_field(image, spacing_mm).field
    correlation = np.corrcoef(np.log(gained[tissue]), np.log(extra[tissue]))[0, 1] if np.ptp(gained) else 0.0
    return [field_error(np.ones_like(extra), extra, tissue), field_error(gained, extra, tissue), float(correlation)]


def lesion_in_cord(image: Array, extra: Array, spacing_mm: tuple[float, float, float], cord: Mask) -> list[float]:
    """Factor of an implanted lesion after correction, and the cord's variation before and after."""
    lesion, rest = lesion_and_cord(cord)
    with_lesion = np.where(lesion, LESION_OVER_CORD * image, image)
    after = corrected(image * extra, spacing_mm)
    factor = ratio(corrected(with_lesion * extra, spacing_mm), lesion, rest) / ratio(after, lesion, rest)
    return [factor, variation(image * extra, cord), variation(after, cord)]


def read(path: Path) -> tuple[Array, tuple[float, float, float], Mask | None]:
    """Volume, spacing (z, y, x) in mm, and cord mask where there is one."""
    full = sitk.ReadImage(str(path))
    x, y, z = full.GetSpacing()
    beside = path.with_name(path.name.replace(".nii.gz", "_cord.nii.gz"))
    cord = sitk.GetArrayFromImage(sitk.ReadImage(str(beside))) > 0 if beside.exists() else None
    return sitk.GetArrayFromImage(full).astype(np.float32), (z, y, x), cord


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    paths = [p for p in sorted(parser.parse_args().folder.glob("*.nii.gz")) if not p.name.endswith("_cord.nii.gz")]
    print(
        "| volume, extra field | nothing | error | share left | correlation | lesion factor (1.64) | cord varies "
        "| corrected |\n|" + "---|" * 8
    )
    every = []
    for path in paths:
        image, spacing_mm, cord = read(path)
        tissue = image > sample(image, spacing_mm).threshold
        for kind in Field:
            rows = []
            for seed in SEEDS if kind is not Field.NONE else SEEDS[:1]:
                extra = make_field(kind, image.shape, np.random.default_rng(seed))
                nothing, error, correlation = (
                    extra_field(image, extra, spacing_mm, tissue) if kind is not Field.NONE else [np.nan] * 3
                )
                cord_figures = [np.nan] * 3 if cord is None else lesion_in_cord(image, extra, spacing_mm, cord)
                rows.append([nothing, error, error / nothing, correlation, *cord_figures])
            every += rows
            figures = " | ".join("" if np.isnan(f) else f"{f:.3f}" for f in np.median(rows, axis=0))
            print(f"| {path.name.removesuffix('.nii.gz')}, {kind.value} | {figures} |", flush=True)
    share, correlation, factor = np.nanmedian(np.array(every)[:, [2, 3, 4]], axis=0)
    print(f"\nMedian: share of the error left {share:.2f}, correlation {correlation:.3f}, lesion factor {factor:.3f}.")


if __name__ == "__main__":
    main()
