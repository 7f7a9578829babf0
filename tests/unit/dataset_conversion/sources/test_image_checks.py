"""Checks of an image: each finding with its value, on real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.dataset_conversion.case_conversion import Job, Outcome, convert_case
from nnunet_spine.dataset_conversion.image_checks import check_volume_geometry, series_notes, value_notes
from nnunet_spine.dataset_conversion.problems import Severity, Unusable
from nnunet_spine.dataset_conversion.sources import Details, Identity, SourceCase
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

AFFINE = np.array([[0.0, 0.0, 3.0, -5.0], [0.8, 0.0, 0.0, 7.0], [0.0, 0.8, 0.0, 9.0], [0.0, 0.0, 0.0, 1.0]])


def nifti(path: Path, *, sform: int = 1, qform: int = 1, other: np.ndarray | None = None, units: str = "mm") -> Path:
    image = nibabel.Nifti1Image(np.arange(480, dtype=np.int16).reshape(10, 8, 6), AFFINE)
    image.set_qform(AFFINE if other is None else other, code=qform)
    image.set_sform(AFFINE, code=sform)
    image.header.set_xyzt_units(units)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (1, 0), (0, 1), (2, 1)])
def test_one_form_is_enough(tmp_path: Path, sform: int, qform: int) -> None:
    assert check_volume_geometry(nifti(tmp_path / "i.nii.gz", sform=sform, qform=qform)) == ()


def test_no_form_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="does not say where its axes point"):
        check_volume_geometry(nifti(tmp_path / "i.nii", sform=0, qform=0))


NRRD = (
    "NRRD0004\ntype: short\ndimension: 3\n{}\nsizes: 10 8 6\nspace directions: (0,0.8,0) (0,0,0.8) (3,0,0)\n"
    "space origin: (1,2,3)\nkinds: domain domain domain\nendian: little\nencoding: raw\n\n"
)
MHA = "ObjectType = Image\nNDims = 3\nDimSize = 10 8 6\n{}ElementSpacing = 0.8 0.8 3\nElementType = MET_SHORT\n"
MATRIX = "TransformMatrix = 0 1 0 0 0 1 1 0 0\nOffset = 1 2 3\n"


@pytest.mark.parametrize(
    ("name", "header", "stated"),
    [
        ("a.nrrd", NRRD.format("space: left-posterior-superior"), True),
        ("a.nrrd", NRRD.format("space: RAS"), True),
        ("a.nrrd", NRRD.format("space: scanner-xyz"), False),
        ("a.nrrd", NRRD.format("space: 3D-right-handed"), False),
        ("a.nrrd", NRRD.format("space dimension: 3"), False),
        ("a.mha", f"{MHA.format(MATRIX)}ElementDataFile = LOCAL\n", True),
        ("a.mha", f"{MHA.format('')}ElementDataFile = LOCAL\n", False),
    ],
)
def test_other_formats_say_where_their_axes_point_or_are_refused(
    tmp_path: Path, name: str, header: str, stated: bool
) -> None:
    path = tmp_path / name
    path.write_bytes(header.encode() + np.arange(480, dtype="<i2").tobytes())
    if stated:
        assert check_volume_geometry(path) == ()
    else:
        with pytest.raises(Unusable, match="does not say where its axes point"):
            check_volume_geometry(path)


def test_a_header_of_analyze_is_refused(tmp_path: Path) -> None:
    path = nifti(tmp_path / "i.nii")
    content = bytearray(path.read_bytes())
    content[344:348] = bytes(4)  # the magic; in ANALYZE 7.5, the codes before it are parts of its history
    path.write_bytes(content)
    with pytest.raises(Unusable, match="does not say where its axes point"):
        check_volume_geometry(path)


def test_two_forms_that_differ_are_refused(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += (3.0, 4.0, 0.0)
    with pytest.raises(Unusable, match=r"place voxels up to 5\.0 mm apart"):
        check_volume_geometry(nifti(tmp_path / "i.nii.gz", other=moved))


def test_unit_spacing_without_a_unit_is_told(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), np.diag([1.0, 1.0, 1.0, 1.0]) + AFFINE * [0, 0, 0, 1])
    image.header.set_xyzt_units(0)
    nibabel.save(image, tmp_path / "i.nii.gz")
    (note,) = check_volume_geometry(tmp_path / "i.nii.gz")
    assert note.startswith("spacing of 1 x 1 x 1 without unit")
    image.header.set_xyzt_units("mm")
    nibabel.save(image, tmp_path / "mm.nii.gz")
    assert check_volume_geometry(tmp_path / "mm.nii.gz") == ()


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_geometry_that_nobody_set_is_refused(tmp_path: Path, suffix: str) -> None:
    image = sitk.GetImageFromArray(np.arange(210, dtype=np.int16).reshape(5, 6, 7))
    sitk.WriteImage(image, str(tmp_path / f"i{suffix}"))
    with pytest.raises(Unusable, match="whose geometry was never set"):
        check_volume_geometry(tmp_path / f"i{suffix}")
    image.SetOrigin((1.0, 2.0, 3.0))
    sitk.WriteImage(image, str(tmp_path / f"j{suffix}"))
    assert check_volume_geometry(tmp_path / f"j{suffix}") == ()


def volume(array: np.ndarray) -> Volume:
    z, y, x = array.shape
    return Volume(array, Geometry((x, y, z), (0.8, 0.8, 3.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1)))


def test_values_of_ct_are_told() -> None:
    array = np.zeros((4, 5, 6))
    array[1], array[2, 1, 1] = np.linspace(-1024, 0, 30).reshape(5, 6), 1200
    assert value_notes(volume(array))[0] == "values from -1024 to 1200 are those of CT rather than of MR"


def test_constant_slices_are_counted() -> None:
    array = np.random.default_rng(0).normal(size=(5, 6, 7))
    assert value_notes(volume(array)) == ()
    array[0], array[4] = 0, 3
    assert value_notes(volume(array)) == ("2 of 5 slices are constant",)


def test_philips_private_scale_is_told_where_it_differs(make: Any, tmp_path: Path) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric(), rescale=(2.0, 0.0)))
    for dataset in datasets:
        block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
        block.add_new(0x0E, "FL", 0.5)
    assert series_notes(make.write_datasets(tmp_path / "same", datasets)) == ()
    for number, dataset in enumerate(datasets):
        dataset.private_block(0x2005, "Philips MR Imaging DD 001")[0x0E].value = 0.5 + 0.1 * (number // 3)
    (note,) = series_notes(make.write_datasets(tmp_path / "other", datasets))
    assert note == "Philips's private scale differs between slices (2 values); displayed values were kept"


def outcome_of(folder: Path, image: np.ndarray, mask: np.ndarray) -> Outcome:
    for name, array in (("i", image), ("m", mask)):
        written = sitk.GetImageFromArray(array)
        written.SetSpacing((0.8, 0.8, 3.0))
        sitk.WriteImage(written, str(folder / f"{name}.nii.gz"))
    source = SourceCase("row 2", (folder / "i.nii.gz",), folder / "m.nii.gz", Details(), Identity("p"))
    return convert_case(Job(source, folder / "image.nii.gz", folder / "label.nii.gz"))


def test_too_few_slices_are_refused(make: Any, tmp_path: Path) -> None:
    outcome = outcome_of(tmp_path, make.asymmetric((2, 10, 8)).astype(np.int16), make.blob()[1:3])
    (problem,) = outcome.problems
    assert (outcome.volume_ml, problem.severity, problem.found) == (None, Severity.ERROR, "an image of 2 slices")


def test_a_note_goes_with_the_case(make: Any, tmp_path: Path) -> None:
    image = make.asymmetric().astype(np.int16)
    image[0] = 0
    outcome = outcome_of(tmp_path, image, make.blob())
    assert outcome.volume_ml is not None
    assert [problem.found for problem in outcome.problems] == ["1 of 6 slices are constant"]
