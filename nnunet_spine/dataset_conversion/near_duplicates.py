"""Images of different patients that are one image: rescaled, cropped, resampled or noisy copies among them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_spine.cases import Case
from nnunet_spine.dataset_conversion.coarse_likeness import maybe_alike
from nnunet_spine.dataset_conversion.problems import Problem, warning
from nnunet_spine.images import Volume, read_volume

LATTICE_MM = 4.0
SMOOTHING_MM = 1.6
"""SD of the smoothing before the lattice is read: what is finer than the lattice must not decide."""

ALIKE = 0.95
"""Correlation from which two images are taken for one.

Measured at 4 mm. Copies of phantoms and of three real volumes (rescaled, gamma 0.7, noise of half the image's SD,
cropped to 56 % of a slice with and without the origin, resampled by 0.7): at least 0.969. Different patients of a
phantom cohort: at most 0.84; of the real volumes: 0.26. A copy with another bias field (twofold across the slice) falls
to 0.81 and is missed.
"""

FEWEST_POINTS = 100
FEWEST_FOR_BLOCKS = 20
"""Of so many cases on, not every pair is compared closely."""

LEAST_OVERLAP = 0.5
"""Share of the smaller image that must lie on the other."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Values at whole multiples of `LATTICE_MM`, (z, y, x) in LPS, NaN off the image, from the index `first` on.

    They are scaled to at most 1, in half precision: those of all cases are kept at a time.
    """

    values: npt.NDArray[np.float16]
    first: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Descriptor:
    """An image, small: counted from the origin of the scanner, and from its own centre, as an origin gets lost."""

    from_origin: Lattice
    from_centre: Lattice
    voxels_sha256: str


def describe_image(path: Path) -> Descriptor:
    """Descriptor of a stored image."""
    return describe(read_volume(path))


def describe(volume: Volume) -> Descriptor:
    """Descriptor of an image, its voxels being of the type that is stored."""
    image = sitk.Cast(volume.image(), sitk.sitkFloat32)
    corners = _corners(image)
    if min(image.GetSize()) >= 4:  # fewer voxels than the recursive filter takes
        image = sitk.SmoothingRecursiveGaussian(image, [SMOOTHING_MM] * 3)
    return Descriptor(
        _lattice(image, corners, np.zeros(3)), _lattice(image, corners, corners.mean(axis=0)), _digest(volume)
    )


def _digest(volume: Volume) -> str:
    return hashlib.sha256(np.ascontiguousarray(volume.array).tobytes()).hexdigest()


def _corners(image: Any) -> npt.NDArray[np.float64]:
    ends = product(*[(-0.5, n - 0.5) for n in image.GetSize()])
    return np.array([image.TransformContinuousIndexToPhysicalPoint(end) for end in ends])


def _lattice(image: Any, corners: npt.NDArray[np.float64], anchor: npt.NDArray[np.float64]) -> Lattice:
    first = np.ceil((corners.min(axis=0) - anchor) / LATTICE_MM).astype(np.int64)
    last = np.floor((corners.max(axis=0) - anchor) / LATTICE_MM).astype(np.int64)
    values = sitk.Resample(
        image,
        [int(n) for n in np.maximum(last - first + 1, 1)],
        sitk.Transform(),
        sitk.sitkLinear,
        [float(v) for v in anchor + first * LATTICE_MM],
        [LATTICE_MM] * 3,
        np.eye(3).ravel().tolist(),
        float("nan"),
    )
    array = sitk.GetArrayFromImage(values)
    largest = float(np.nanmax(np.abs(array), initial=0.0))
    return Lattice((array / (largest or 1.0)).astype(np.float16), first[::-1])


def correlation(one: Lattice, other: Lattice) -> float:
    """Pearson's correlation where both have values; 0 where that is too little."""
    first = np.maximum(one.first, other.first)
    last = np.minimum(one.first + one.values.shape, other.first + other.values.shape)
    if (last <= first).any():
        return 0.0
    a, b = (lat.values[tuple(map(slice, first - lat.first, last - lat.first))] for lat in (one, other))
    both = np.isfinite(a) & np.isfinite(b)
    smaller = min(np.isfinite(lattice.values).sum() for lattice in (one, other))
    if both.sum() < max(FEWEST_POINTS, LEAST_OVERLAP * smaller):
        return 0.0
    x, y = (values[both].astype(np.float64) for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    power = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / power if power > 0 else 0.0


def likeness(one: Descriptor, other: Descriptor) -> float:
    """1 for equal voxels, else the higher correlation of the two lattices."""
    if one.voxels_sha256 == other.voxels_sha256:
        return 1.0
    by_place, by_centre = (
        correlation(one.from_origin, other.from_origin),
        correlation(one.from_centre, other.from_centre),
    )
    return max(by_place, by_centre)


def near_duplicates(
    cases: Sequence[Case], descriptors: Mapping[str, Descriptor], new: Collection[str]
) -> list[Problem]:
    """Warnings of images that two patients share: a fold would be tested on what it was trained on.

    Parameters
    ----------
    cases
        All cases of the data set.
    descriptors
        By case.
    new
        Cases that are looked at: at least one of a pair is one of them.
    """
    pairs = [
        (a, b) for a, b in _maybe(cases, descriptors) if a.patient != b.patient and (a.case in new or b.case in new)
    ]
    found = []
    for a, b in pairs:
        alike = likeness(descriptors[a.case], descriptors[b.case])
        if alike >= ALIKE:
            found.append(_warning(a, b, alike, equal=_equal(descriptors[a.case], descriptors[b.case])))
    return found


def _maybe(cases: Sequence[Case], descriptors: Mapping[str, Descriptor]) -> list[tuple[Case, Case]]:
    """Pairs that are worth a close look; of a few cases, all."""
    described = [descriptors[case.case] for case in cases]
    if len(cases) < FEWEST_FOR_BLOCKS:
        return list(combinations(cases, 2))
    by_place, by_centre = (
        maybe_alike([(lattice.values, lattice.first) for lattice in lattices])
        for lattices in ([one.from_origin for one in described], [one.from_centre for one in described])
    )
    pairs = combinations(range(len(cases)), 2)
    equal = [one.voxels_sha256 for one in described]
    return [(cases[i], cases[j]) for i, j in pairs if by_place[i, j] or by_centre[i, j] or equal[i] == equal[j]]


def _equal(one: Descriptor, other: Descriptor) -> bool:
    return one.voxels_sha256 == other.voxels_sha256


def _warning(one: Case, other: Case, alike: float, *, equal: bool) -> Problem:
    found = "the same image" if equal else f"nearly the same image (correlation {alike:.3f})"
    return warning(
        f"{one.case}, {other.case}",
        f"{found} under different patients",
        f"a correlation below {ALIKE}, or one patient, since folds would leak",
        "See the private mapping, and list the cases in a cases.csv with one patient or without the copy",
    )
