"""What tests of several layers share."""

import csv
import ctypes
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

SOURCE_DECK_DICE = Path(__file__).parent / "data" / "source_deck_dice.csv"


class Cohort:
    """Small mask pairs of chosen Dice on disk, written without the package.

    Each reference has 100 voxels, and so has each prediction: with an overlap of n voxels, Dice is n / 100.
    """

    shape_zyx = (2, 20, 20)
    spacing_xyz_mm = (1.0, 2.0, 5.0)

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reference = root / "labelsTr"
        self.predictions = root / "predictions"
        self.images = root / "imagesTr"
        self.splits = root / "splits_final.json"
        self.folds: dict[int, list[str]] = {}
        for folder in (self.reference, self.predictions, self.images):
            folder.mkdir(parents=True)

    def write_mask(self, path: Path, *blocks: slice, value: int = 1, dtype: type = np.uint8) -> None:
        flat = np.zeros(np.prod(self.shape_zyx), dtype=dtype)
        for block in blocks:
            flat[block] = value
        image = sitk.GetImageFromArray(flat.reshape(self.shape_zyx))
        image.SetSpacing(self.spacing_xyz_mm)
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(image, str(path))

    def add(self, case: str, fold: int, hundredths: int | None, predictions: Path | None = None) -> None:
        """Write a case; None writes no prediction."""
        self.folds.setdefault(fold, []).append(case)
        self.write_mask(self.reference / f"{case}.nii.gz", slice(100, 200))
        if hundredths is not None:
            self.predict(case, hundredths, predictions)
        everything = [c for cases in self.folds.values() for c in cases]
        folds = [self.folds.get(k, []) for k in range(max(self.folds) + 1)]
        content = [{"train": [c for c in everything if c not in test], "val": test} for test in folds]
        self.splits.write_text(json.dumps(content), encoding="utf-8")

    def predict(self, case: str, hundredths: int, predictions: Path | None = None) -> None:
        path = (predictions or self.predictions) / f"{case}.nii.gz"
        self.write_mask(path, slice(200 - hundredths, 300 - hundredths))

    def add_image(self, case: str) -> None:
        values = np.random.default_rng(0).integers(0, 500, self.shape_zyx).astype(np.int16)
        image = sitk.GetImageFromArray(values)
        image.SetSpacing(self.spacing_xyz_mm)
        sitk.WriteImage(image, str(self.images / f"{case}_0000.nii.gz"))


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort(tmp_path / "cohort")


@pytest.fixture
def source_deck_cohort(cohort: Cohort) -> Cohort:
    """58 cases whose figures per fold are those of the source deck's table."""
    with SOURCE_DECK_DICE.open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            cohort.add(row["case"], int(row["fold"]), int(row["dice_hundredths"]))
    return cohort


class _Capabilities(ctypes.Structure):
    """A thread's capabilities as Linux's capset(2) takes them: two of these for 64 bits."""

    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_CAPABILITIES_VERSION_3 = 0x20080522
_DAC_OVERRIDE_AND_READ_SEARCH = 0b110


@pytest.fixture
def bound_by_permissions() -> Iterator[None]:
    """Permissions of files hold for the test, whoever runs it; those of root's rights that lift them are set aside."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, given = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION_3, 0), (_Capabilities * 2)()
    assert libc.capget(header, given) == 0
    kept = given[0].effective
    given[0].effective = kept & ~_DAC_OVERRIDE_AND_READ_SEARCH
    assert libc.capset(header, given) == 0
    try:
        yield
    finally:
        given[0].effective = kept
        assert libc.capset(header, given) == 0
