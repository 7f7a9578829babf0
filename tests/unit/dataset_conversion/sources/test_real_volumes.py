"""The real volumes give the same data set from NIfTI and from DICOM that is written from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.images import read_volume, reorient

REAL = Path(__file__).parents[5] / "shared" / "data" / "mri"
NAMES = ("sct_t1w", "sct_t2w", "t2_lumbar", "axial_mts")


def dicom_of(make: Any, path: Path) -> Any:
    """A plan of sagittal slices with the voxels and the grid of a NIfTI file, by nibabel alone."""
    image = nibabel.as_closest_canonical(nibabel.load(path))  # axes to the right, anterior, superior
    values = np.asarray(image.dataobj)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    steps = [lps[:3, axis] for axis in range(3)]
    right, front, up = (step / np.linalg.norm(step) for step in steps)
    size = values.shape
    corner = (lps @ [0, size[1] - 1, size[2] - 1, 1])[
        :3
    ]  # the first row is the highest, the first column most anterior
    row, column = -front, -up
    gap = np.linalg.norm(steps[0]) * np.sign(np.dot(np.cross(row, column), right))
    array = values[:, ::-1, ::-1].transpose(0, 2, 1)
    return make.Plan(
        array.astype(np.uint16),
        cosines=tuple(float(round(v, 9)) + 0.0 for v in (*row, *column)),
        origin=tuple(corner),
        spacing=(float(gap), float(np.linalg.norm(steps[2])), float(np.linalg.norm(steps[1]))),
    )


def write_sources(make: Any, folder: Path) -> None:
    """A cases.csv of NIfTI and one of DICOM, both with the same small masks."""
    rows = {"nifti": ["patient,image,reference,compartment"], "dicom": ["patient,image,reference,compartment"]}
    for number, name in enumerate(NAMES):
        image = sitk.ReadImage(str(REAL / f"{name}.nii.gz"))
        mask = sitk.Image(image.GetSize(), sitk.sitkUInt8)
        mask.CopyInformation(image)
        middle = [n // 2 for n in image.GetSize()]
        mask[middle[0] - 2 : middle[0] + 2, middle[1] - 3 : middle[1] + 3, middle[2] - 2 : middle[2] + 3] = 1
        sitk.WriteImage(mask, str(folder / f"{name}_mask.nii.gz"))
        plan = dicom_of(make, REAL / f"{name}.nii.gz")
        plan.study, plan.patient = f"1.2.3.{number}", f"P{number}"
        make.write_datasets(folder / name, make.datasets_of(plan), seed=number)
        for kind, where in (("nifti", REAL / f"{name}.nii.gz"), ("dicom", name)):
            rows[kind].append(f"P{number},{where},{name}_mask.nii.gz,intramedullary")
    for kind, lines in rows.items():
        (folder / f"{kind}.csv").write_text("\n".join(lines) + "\n")


def contents(folder: Path) -> dict[str, tuple[Any, Any]]:
    """Image and label of each case, under the patient's name in the private mapping."""
    mapping = next((folder / "private").iterdir()).read_text().splitlines()
    header, *rows = [line.split(",") for line in mapping]
    patients = {row[header.index("case")]: row[header.index("patient_id")] for row in rows}
    data = next((folder / "nnUNet_raw").iterdir())
    return {
        patients[path.name.removesuffix(".nii.gz")]: (
            read_volume(data / "imagesTr" / path.name.replace(".nii.gz", "_0000.nii.gz")),
            read_volume(path),
        )
        for path in (data / "labelsTr").iterdir()
    }


@pytest.mark.shared
@pytest.mark.skipif(not REAL.is_dir(), reason="the real MRI volumes are not beside the project")
def test_real_volumes_are_the_same_case_from_nifti_and_from_dicom(make: Any, oracle: Any, tmp_path: Path) -> None:
    write_sources(make, tmp_path)
    made = {}
    for kind in ("nifti", "dicom"):
        root = tmp_path / kind
        convert(
            tmp_path / f"{kind}.csv",
            dataset=58,
            name="Real",
            raw=root / "nnUNet_raw",
            preprocessed=root / "nnUNet_preprocessed",
        )
        made[kind] = contents(root)
    assert sorted(made["nifti"]) == sorted(made["dicom"]) == [f"P{n}" for n in range(len(NAMES))]
    for patient, (image, label) in made["nifti"].items():
        other, other_label = made["dicom"][patient]
        assert np.array_equal(image.array, other.array)  # integers without rescale: nothing to round
        assert image.geometry.same_grid(other.geometry)
        assert np.abs(image.geometry.affine_lps() - other.geometry.affine_lps()).max() < 1e-3
        assert np.array_equal(label.array, other_label.array)
        assert label.array.sum() == 4 * 6 * 5
    theirs = oracle(tmp_path / NAMES[0], tmp_path / "oracle")
    assert np.array_equal(reorient(theirs).array, made["dicom"]["P0"][0].array)
    assert made["dicom"]["P0"][0].geometry.same_grid(theirs.geometry)
