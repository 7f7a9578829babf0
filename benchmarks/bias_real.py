"""Real volumes: does a known field come back, and does the contrast of a lesion to the cord survive it.

Usage: bias_real.py FOLDER   (of *.nii.gz; NAME_cord.nii.gz beside NAME.nii.gz is its cord mask)

Each volume is multiplied by known fields. The estimate with the field over the one without should be the field. Where
there is a cord mask, a stretch of the cord is brightened as a lesion, and its ratio to the rest of the cord compared
before and after.
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
SEEDS = (1, 2, 3, 4, 5)
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    paths = [p for p in sorted(parser.parse_args().folder.glob("*.nii.gz")) if not p.name.endswith("_cord.nii.gz")]
    print("| volume, extra field | nothing | error | correlation | lesion/cord true | corrected | with extra field |")
    print("|" + "---|" * 7)
    for path in paths:
        full = sitk.ReadImage(str(path))
        image = sitk.GetArrayFromImage(full).astype(np.float32)
        x, y, z = full.GetSpacing()
        cord_path = path.with_name(path.name.replace(".nii.gz", "_cord.nii.gz"))
        cord = sitk.GetArrayFromImage(sitk.ReadImage(str(cord_path))) > 0 if cord_path.exists() else None
        if cord is not None:
            lesion, rest = lesion_and_cord(cord)
            image[lesion] *= LESION_OVER_CORD
        samples = sample(image, (z, y, x))
        tissue = image > samples.values[samples.tissue].min()
        alone = estimate_field(image, (z, y, x)).field
        for kind in (Field.WEAK, Field.STRONG, Field.COIL):
            rows = []
            for seed in SEEDS:
                extra = make_field(kind, image.shape, np.random.default_rng(seed))
                both = estimate_field(image * extra, (z, y, x)).field
                gained = both / alone
                correlation = np.corrcoef(np.log(gained[tissue]), np.log(extra[tissue]))[0, 1] if np.ptp(gained) else 0
                errors = [field_error(f, extra, tissue) for f in (np.ones_like(extra), gained)]
                ratios = [np.nan] * 3
                if cord is not None:
                    versions = (image, image / alone, image * extra / both)
                    ratios = [ratio(version, lesion, rest) for version in versions]
                rows.append([*errors, correlation, *ratios])
            figures = " | ".join(f"{figure:.3f}" for figure in np.median(rows, axis=0))
            print(f"| {path.name.removesuffix('.nii.gz')}, {kind.value} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
