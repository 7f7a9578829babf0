"""dcm2niix, which reads DICOM on its own, makes the same image at the same place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from nnunet_spine.dataset_conversion.dicom_grouping import group_files
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.series_parts import parts_of
from nnunet_spine.images import Volume, reorient

OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)


def doubly_oblique() -> tuple[float, ...]:
    row = np.array([-0.14, 0.98, 0.1412444689182])
    row /= np.linalg.norm(row)
    column = np.array([0.085, 0.154, -0.9844]) - row * np.dot(row, [0.085, 0.154, -0.9844])
    return (*row, *(column / np.linalg.norm(column)))


KINDS: dict[str, dict[str, Any]] = {
    "Siemens": {"tags": {"Manufacturer": "SIEMENS"}},
    "GE, signed": {"tags": {"Manufacturer": "GE MEDICAL SYSTEMS"}, "signed": True},
    "Philips, rescaled": {"tags": {"Manufacturer": "Philips Medical Systems"}, "rescale": (2.5, -10.0)},
    "Canon": {"tags": {"Manufacturer": "CANON_MEC"}},
    "oblique": {"cosines": OBLIQUE},
    "doubly oblique": {"cosines": doubly_oblique()},
    "descending": {"spacing": (-4.0, 0.8, 0.6)},
    "wide gap": {"spacing": (9.5, 0.8, 0.6)},
    "JPEG-LS": {"syntax": JPEGLSLossless},
    "JPEG 2000": {"syntax": JPEG2000Lossless},
    "RLE": {"syntax": RLELossless},
}


def assert_same(ours: Volume, theirs: Volume) -> None:
    ours = reorient(ours)
    assert ours.geometry.size_xyz == theirs.geometry.size_xyz
    assert np.abs(ours.geometry.affine_lps() - theirs.geometry.affine_lps()).max() < 1e-3
    assert ours.geometry.same_grid(theirs.geometry)
    assert np.allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_a_classic_series(make: Any, oracle: Any, tmp_path: Path, kind: str) -> None:
    options = dict(KINDS[kind])
    signed, syntax = options.pop("signed", False), options.pop("syntax", None)
    tags = {"RepetitionTime": 600.0, "EchoTime": 10.0, "PatientPosition": "HFS", **options.pop("tags", {})}
    plan = make.Plan(make.asymmetric((6, 64, 40)), tags=tags, **options)
    datasets = make.datasets_of(plan)
    for dataset, pixels in zip(datasets, plan.array.astype(np.int32), strict=True):
        if signed:
            dataset.PixelRepresentation, dataset.PixelData = 1, (pixels - 9000).astype("<i2").tobytes()
        if syntax:
            dataset.compress(syntax, generate_instance_uid=False)
    paths = make.write_datasets(tmp_path / "dicom", datasets, seed=7)
    assert_same(read_series(paths).volume, oracle(tmp_path / "dicom", tmp_path / "nifti"))


@pytest.mark.parametrize("cosines", [(0, 1, 0, 0, 0, -1), OBLIQUE], ids=["straight", "oblique"])
def test_an_enhanced_object(make: Any, enhanced: Any, oracle: Any, tmp_path: Path, cosines: tuple) -> None:
    plan = make.Plan(make.asymmetric((6, 32, 24)), cosines=cosines)
    folder = tmp_path / "dicom"
    folder.mkdir()
    frames = [{"slice": k, "slope": 2.0, "intercept": 5.0} for k in range(6)]
    enhanced(plan, frames=frames).save_as(folder / "IM1", enforce_file_format=True)
    (series,) = group_files(folder, folder.iterdir()).series
    (part,) = parts_of(series)
    assert_same(read_series(part.files, part.frames).volume, oracle(folder, tmp_path / "nifti"))
