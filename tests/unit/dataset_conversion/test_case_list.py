from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Compartment, Region, Split
from nnunet_spine.dataset_conversion.case_list import read_case_list
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.references import read_reference
from nnunet_spine.errors import BadInput, NotFound

HEADER = "patient,image,reference,compartment,tumor_type,split,maker,field_strength,region"


def rewrite(cases: Path, *rows: str, header: str = HEADER) -> Path:
    cases.write_text("\n".join([header, *rows]) + "\n")
    return cases


def test_columns_are_honoured(volumes: Path) -> None:
    rewrite(volumes, " p1 ,i0.nii.gz,r0.nii.gz,Intramedullary,Ependymoma,test,Siemens Healthineers,3,Cervical")
    (case,) = read_case_list(volumes).cases
    assert case.split is Split.TEST
    assert case.details.compartment is Compartment.INTRAMEDULLARY
    assert (case.details.tumor_type, case.details.maker) == ("ependymoma", "SIEMENS")
    assert (case.details.field_strength, case.details.region) == (3.0, Region.CERVICAL)


def test_three_columns_are_enough(volumes: Path) -> None:
    (case,) = read_case_list(rewrite(volumes, "p,i0.nii.gz,r0.nii.gz", header="patient,image,reference")).cases
    assert case.details.compartment is Compartment.UNKNOWN
    assert case.split is Split.TRAIN


@pytest.mark.parametrize("one_file", [True, False])
def test_a_dicom_image_is_a_folder_or_any_file_of_it(make: Any, volumes: Path, one_file: bool) -> None:
    folder = volumes.parent
    tags = {"Manufacturer": "TOSHIBA", "SeriesDescription": "L-SPINE"}
    paths = make.write_study(folder / "s", make.Plan(make.asymmetric(), tags=tags), make.blob())
    image = paths[3].relative_to(folder) if one_file else "s/SER5"
    (case,) = read_case_list(rewrite(volumes, f"p,{image},s/SEG5,,,,,,")).cases
    assert sorted(case.image) == sorted(paths)
    assert (case.details.maker, case.details.region) == ("Canon", Region.LUMBAR)
    assert case.details.tumor_type == "ependymoma"


@pytest.mark.parametrize("one_file", [True, False])
@pytest.mark.parametrize("lost", [0, 3, 5])
@pytest.mark.parametrize("how", ["gone", "dangling", "damaged"])
def test_slices_that_the_reference_was_drawn_on_are_missed(
    make: Any, volumes: Path, one_file: bool, lost: int, how: str
) -> None:
    folder = volumes.parent
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    make.write_segmentation(folder / "SEG" / "IM1", datasets, make.blob())
    paths = make.write_datasets(folder / "s", datasets)
    content = paths[lost].read_bytes()
    paths[lost].unlink()
    if how == "dangling":
        paths[lost].symlink_to("../.git/annex/objects/a/b/MD5E-s1--0/MD5E-s1--0")
    elif how == "damaged":
        paths[lost].write_bytes(content[:200])
    image = paths[(lost + 1) % 6].relative_to(folder) if one_file else "s"
    with pytest.raises(BadInput, match=r"row 2: the reference was drawn on 1 slice that the image does not") as caught:
        read_case_list(rewrite(volumes, f"p,{image},SEG/IM1,,,,,,"))
    why = {"gone": "", "dangling": "1 links lead nowhere (git-annex files", "damaged": "1 DICOM files in the folder of"}
    assert why[how] in str(caught.value)


def test_what_cannot_be_read_beside_an_image_is_warned_of_once(make: Any, volumes: Path) -> None:
    folder = volumes.parent / "s"
    make.write_datasets(folder, make.datasets_of(make.Plan(make.asymmetric())))
    (folder / "more").symlink_to("nowhere")
    found = read_case_list(rewrite(volumes, "p,s,r0.nii.gz,,,,,,", "q,i1.nii.gz,r1.nii.gz,,,,,,"))
    (warned,) = found.problems
    assert (warned.where, warned.severity, warned.found) == ("row 2", Severity.WARNING, "1 links lead nowhere")
    assert found.ignored == ("more",)


@pytest.mark.parametrize("named", ["", "1"])
def test_a_flaw_of_a_series_is_named(make: Any, volumes: Path, named: str) -> None:
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    del datasets[3].ImageOrientationPatient
    make.write_datasets(volumes.parent / "s", datasets)
    header = "patient,image,reference,part"
    row = f"p,s,r0.nii.gz,{named}"
    if named:  # asked for in so many words
        (case,) = read_case_list(rewrite(volumes, row, header=header)).cases
        assert len(case.image) in (1, 5)
    else:
        with pytest.raises(BadInput, match="1 of 6 slices without orientation. Export the whole series again, or give"):
            read_case_list(rewrite(volumes, row, header=header))


def test_other_files_beside_a_series_do_not_matter(make: Any, volumes: Path) -> None:
    folder = volumes.parent / "mixed"
    first = make.write_datasets(folder, make.datasets_of(make.Plan(make.asymmetric())))
    renamed = [path.rename(path.with_name(f"A{path.name}")) for path in first]
    make.write_datasets(folder, make.datasets_of(make.Plan(make.asymmetric(), number=6)))
    (folder / "notes.txt").write_text("x")
    (case,) = read_case_list(rewrite(volumes, f"p,mixed/{renamed[0].name},r0.nii.gz,,,,,,")).cases
    assert sorted(case.image) == sorted(renamed)
    with pytest.raises(BadInput, match="folder with 2 MR series"):
        read_case_list(rewrite(volumes, "p,mixed,r0.nii.gz,,,,,,"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("p,none.nii.gz,r0.nii.gz,,,,,,", "row 3: the image does not exist"),
        ("p,i0.nii.gz,none.nii.gz,,,,,,", "row 3: the reference does not exist"),
        ("p,note.txt,r0.nii.gz,,,,,,", "row 3: the image is neither a volume"),
        ("p,i0.nii.gz,note.txt,,,,,,", "row 3: the reference is neither a volume"),
        ("p,fake.nii.gz,r0.nii.gz,,,,,,", "row 3: the image is named like a volume but cannot be read"),
        ("p,i0.nii.gz,fake.nii.gz,,,,,,", "row 3: the reference is named like a volume but cannot be read"),
        ("p,flat.nii.gz,r0.nii.gz,,,,,,", "row 3: the image has 4 dimensions"),
        (",i0.nii.gz,r0.nii.gz,,,,,,", "row 3: patient is empty"),
        ("p,,r0.nii.gz,,,,,,", "row 3: image is empty"),
        ("p,i0.nii.gz,r0.nii.gz,somewhere,,,,,", "row 3: compartment is"),
        ("p,i0.nii.gz,r0.nii.gz,,,validate,,,", "row 3: split is"),
        ("p,i0.nii.gz,r0.nii.gz,,,,,strong,", "row 3: field_strength is no number"),
        ("p,i0.nii.gz,r0.nii.gz,,,,,-1,", "row 3: field_strength is no number"),
        ("p,i0.nii.gz,r0.nii.gz,,,,,nan,", "row 3: field_strength is no number"),
        ("p,i0.nii.gz,r0.nii.gz,,O'Hara 1962!,,,,", "row 3: tumor_type is not a plain term"),
        ("p,i0.nii.gz,r0.nii.gz,,,,,,toe", "row 3: region is"),
        ("q,i1.nii.gz,r0.nii.gz,,,,,,", "row 3: its image is also that of row 2"),
        ("first,i0.nii.gz,r0.nii.gz,,,test,,,", "row 2 and row 3: one patient is in train and in test"),
        ("p,i0.nii.gz,r0.nii.gz,,,,,,,,x", "more fields than the header"),
        ("p,empty,r0.nii.gz,,,,,,", "row 3: the image is a folder with 0 MR series"),
        ("p,i0.nii.gz,empty,,,,,,", "row 3: the reference is a folder with 0 DICOM SEG or RTSTRUCT files"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(volumes: Path, row: str, message: str) -> None:
    folder = volumes.parent
    (folder / "empty").mkdir()
    (folder / "note.txt").write_text("some text")
    (folder / "fake.nii.gz").write_text("some text")
    sitk.WriteImage(
        sitk.GetImageFromArray(np.zeros((2, 2, 2, 2), np.float32), isVector=False), str(folder / "flat.nii.gz")
    )
    rewrite(volumes, "First,i1.nii.gz,r1.nii.gz,,,,,,", row)
    with pytest.raises(BadInput, match=message) as caught:
        read_case_list(volumes)
    assert str(folder) not in str(caught.value)


def test_a_missing_column_is_named_without_the_path(volumes: Path) -> None:
    with pytest.raises(BadInput, match=r"^cases\.csv has no column reference"):
        read_case_list(rewrite(volumes, "p,i0.nii.gz", header="patient,image"))


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary\x00"])
def test_a_file_that_is_no_list_is_refused(volumes: Path, content: bytes) -> None:
    volumes.write_bytes(content)
    with pytest.raises(BadInput):
        read_case_list(volumes)


def test_a_list_without_rows_is_refused(volumes: Path) -> None:
    with pytest.raises(BadInput, match="no row"):
        read_case_list(rewrite(volumes))


def test_an_absent_list_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_case_list(tmp_path / "cases.csv")


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_list_with_other_separators_and_decimal_commas_is_read(volumes: Path, separator: str, encoding: str) -> None:
    rows = [HEADER, "p,i0.nii.gz,r0.nii.gz,,,,GE,1;5,lumbar", "q,i1.nii.gz,r1.nii.gz,,,,,3.0,"]
    text = "\r\n".join(
        row.replace(",", separator).replace(f"1{separator}5", "1,5").replace("1;5", "1,5") for row in rows
    )
    volumes.write_bytes(text.encode(encoding))
    first, second = (case.details for case in read_case_list(volumes).cases)
    assert (first.field_strength, first.maker, first.region) == (1.5, "GE", Region.LUMBAR)
    assert second.field_strength == 3.0


def test_a_separator_that_is_none_is_named(volumes: Path) -> None:
    volumes.write_text(volumes.read_text().replace(",", "|"))
    with pytest.raises(BadInput, match=r"^cases\.csv has no column .* which has no comma, semicolon or tab\. Give a"):
        read_case_list(volumes)


def test_image_and_reference_are_two_files(volumes: Path) -> None:
    (volumes.parent / "same.nii.gz").symlink_to("i0.nii.gz")
    with pytest.raises(BadInput, match="row 2: image and reference are one file"):
        read_case_list(rewrite(volumes, "p,i0.nii.gz,same.nii.gz,,,,,,"))


def test_a_reference_of_two_patients_is_refused(volumes: Path) -> None:
    rewrite(volumes, "p,i0.nii.gz,r0.nii.gz,,,,,,", "q,i1.nii.gz,r0.nii.gz,,,,,,")
    with pytest.raises(BadInput, match="row 3: its reference is also that of row 2, which is of another patient"):
        read_case_list(volumes)


def test_a_reference_of_two_images_of_a_patient_is_told(volumes: Path) -> None:
    rewrite(volumes, "p,i0.nii.gz,r0.nii.gz,,,,,,", "P,i1.nii.gz,r0.nii.gz,,,,,,")
    (problem,) = read_case_list(volumes).problems
    assert (problem.where, problem.found) == ("row 3", "its reference is also that of row 2")


def write_layers(path: Path, *names: str) -> None:
    """Two values a voxel, as 3D Slicer stores segments that overlap, with the names of the layers."""
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1:3, 1:3, 1:3, 0] = 1
    layers[0:4, 0:3, 1:3, 1] = 1
    image = sitk.GetImageFromArray(layers, isVector=True)
    for number, name in enumerate(names):
        for key, value in {"Name": name, "LabelValue": "1", "Layer": str(number)}.items():
            image.SetMetaData(f"Segment{number}_{key}", value)
    sitk.WriteImage(image, str(path))


def test_a_reference_may_have_segments_in_layers(volumes: Path) -> None:
    write_layers(volumes.parent / "s.seg.nrrd", "Tumor", "Spinal cord")
    (case,) = read_case_list(rewrite(volumes, "p,i0.nii.gz,s.seg.nrrd,,,,,,")).cases
    reference = read_reference(case.reference, claim=case.claim)
    assert int(reference.mask.array.sum()) == 8
    assert reference.notes == ("1 of 2 segments of the reference are tumor and were used",)


def test_an_image_or_a_nameless_reference_has_one_value_a_voxel(volumes: Path) -> None:
    write_layers(volumes.parent / "n.nrrd")
    write_layers(volumes.parent / "s.seg.nrrd", "Tumor", "Spinal cord")
    with pytest.raises(BadInput, match="row 2: the reference has 3 dimensions and 2 values a voxel"):
        read_case_list(rewrite(volumes, "p,i0.nii.gz,n.nrrd,,,,,,"))
    with pytest.raises(BadInput, match="row 2: the image has 3 dimensions and 2 values a voxel"):
        read_case_list(rewrite(volumes, "p,s.seg.nrrd,r0.nii.gz,,,,,,"))
