"""Copies of phantoms are found, other phantoms are not; the threshold's own measurement stands beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.ndimage import gaussian_filter

from nnunet_spine.cases import Case
from nnunet_spine.dataset_conversion.near_duplicates import (
    ALIKE,
    Descriptor,
    describe_image,
    likeness,
    near_duplicates,
)
from nnunet_spine.images import SAGITTAL_ORIENTATION
from nnunet_spine.phantoms.model import Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import acquire

MRI = Path(__file__).parents[4] / "shared" / "data" / "mri"


def phantom(number: int) -> Any:
    acquired = acquire(AnalyticScene(sample_cohort(6, 0)[number]), Series.T1_POST)
    image = sitk.GetImageFromArray(acquired.stored.astype(np.float32))
    geometry = acquired.grid.geometry
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_xyz_mm)
    image.SetDirection(geometry.direction)
    return sitk.DICOMOrient(image, SAGITTAL_ORIENTATION)


def like(image: Any, array: np.ndarray) -> Any:
    changed = sitk.GetImageFromArray(array.astype(np.float32))
    changed.CopyInformation(image)
    return changed


def copies(image: Any) -> dict[str, Any]:
    """The same image as it comes back from elsewhere."""
    array = sitk.GetArrayFromImage(image).astype(np.float64)
    x, y, _ = image.GetSize()
    cropped = image[int(0.1 * x) : int(0.9 * x), int(0.15 * y) : int(0.85 * y), :]
    moved = sitk.Image(image)
    moved.SetOrigin((0.0, 0.0, 0.0))
    size = [max(2, round(0.7 * n)) for n in image.GetSize()]
    spacing = [s * n / m for s, n, m in zip(image.GetSpacing(), image.GetSize(), size, strict=True)]
    coarser = sitk.Resample(
        image, size, sitk.Transform(), sitk.sitkLinear, image.GetOrigin(), spacing, image.GetDirection()
    )
    noise = np.random.default_rng(0).normal(0, 0.5 * array.std(), array.shape)
    return {
        "rescaled": like(image, 2.3 * array + 40),
        "gamma": like(image, np.maximum(array, 0) ** 0.7),
        "noisy": like(image, array + noise),
        "cropped": cropped,
        "origin lost": moved,
        "resampled": coarser,
        "another orientation": sitk.DICOMOrient(image, "RAS"),
    }


def described(folder: Path, image: Any) -> Descriptor:
    sitk.WriteImage(image, str(folder / "image.nii.gz"))
    return describe_image(folder / "image.nii.gz")


def test_copies_are_found_and_other_patients_are_not(tmp_path: Path) -> None:
    images = [phantom(number) for number in range(4)]
    one, *others = (described(tmp_path, image) for image in images)
    for name, copy in copies(images[0]).items():
        assert likeness(one, described(tmp_path, copy)) > ALIKE, name
    assert max(likeness(one, other) for other in others) < ALIKE - 0.05


@pytest.mark.skipif(not MRI.is_dir(), reason="the real volumes are not here")
def test_real_volumes_and_their_copies(tmp_path: Path) -> None:
    images = [
        sitk.DICOMOrient(sitk.ReadImage(str(MRI / name)), SAGITTAL_ORIENTATION)
        for name in ("sct_t1w.nii.gz", "sct_t2w.nii.gz", "t2_lumbar.nii.gz")
    ]
    descriptors = [described(tmp_path, image) for image in images]
    assert max(likeness(a, b) for i, a in enumerate(descriptors) for b in descriptors[:i]) < 0.5
    for name, copy in copies(images[0]).items():
        assert likeness(descriptors[0], described(tmp_path, copy)) > ALIKE, name


def smooth(seed: int) -> Any:
    noise = np.random.default_rng(seed).normal(size=(10, 40, 40))
    image = sitk.GetImageFromArray(gaussian_filter(noise, 4).astype(np.float32))
    image.SetSpacing((2.0, 2.0, 4.0))
    return image


def test_only_pairs_of_two_patients_with_a_new_case_are_told(tmp_path: Path) -> None:
    noisy = like(smooth(0), sitk.GetArrayFromImage(smooth(0)) * 3 + 1e-4)
    images = [smooth(0), noisy, smooth(0), smooth(1)]
    cases = [Case(f"spine_{n}", patient) for n, patient in enumerate(["P1", "P1", "P2", "P3"])]
    descriptors = {case.case: described(tmp_path, image) for case, image in zip(cases, images, strict=True)}
    found = near_duplicates(cases, descriptors, {"spine_2"})
    assert [(problem.where, problem.found, problem.severity) for problem in found] == [
        ("spine_0, spine_2", "the same image under different patients", "warning"),
        ("spine_1, spine_2", "nearly the same image (correlation 1.000) under different patients", "warning"),
    ]
    assert near_duplicates(cases, descriptors, {"spine_3"}) == []


def test_images_of_a_few_voxels_are_compared_by_their_bytes(tmp_path: Path) -> None:
    small = sitk.GetImageFromArray(np.arange(27, dtype=np.float32).reshape(3, 3, 3))
    assert likeness(described(tmp_path, small), described(tmp_path, small)) == 1.0
    assert likeness(described(tmp_path, small), described(tmp_path, small * 2)) == 0.0
