"""NIfTI label maps with a table of names in an extension of their header, written with nibabel."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Claim, Selection
from nnunet_spine.dataset_conversion.references import evidence, read_reference

LISTED = Claim("the column reference")
TABLE = (
    '<?xml version="1.0" encoding="UTF-8"?><CaretExtension><VolumeInformation Index="0"><LabelTable>{}</LabelTable>'
    "<VolumeType><![CDATA[Label]]></VolumeType></VolumeInformation></CaretExtension>"
)
LABEL = '<Label Key="{}" Red="0.1" Green="0.2" Blue="0.3" Alpha="1">{}</Label>\n'


def write(path: Path, names: dict[int, str], values: tuple[int, int], *, marked: bool = True, code: int = 0) -> Path:
    """A label map of 8 voxels of the first value and 12 of the second."""
    array = np.zeros((6, 7, 5), np.uint8)
    array[1:3, 1:3, 1:3] = values[0]
    array[3:5, 3:6, 1:3] = values[1]
    image = nibabel.Nifti1Image(array, np.diag([1.0, 1.0, 2.0, 1.0]))
    body = "".join(LABEL.format(value, f"<![CDATA[{name}]]>" if marked else name) for value, name in names.items())
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(code, TABLE.format(body).encode()))
    nibabel.save(image, path)
    return path


def taken(path: Path, selection: Selection = NO_SELECTION) -> int:
    return int(read_reference(path, None, selection, LISTED).mask.array.sum())


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("marked", "code"), [(True, 0), (False, 30)])
def test_the_tumor_is_taken_by_its_name(tmp_path: Path, suffix: str, marked: bool, code: int) -> None:
    names = {0: "background", 3: "spinal_cord", 9: "tumor &amp; rest" if not marked else "tumor"}
    path = write(tmp_path / f"m{suffix}", names, (9, 3), marked=marked, code=code)
    assert taken(path) == 8
    told = "1 of 2 named values (number 9), by the label table in its header"
    assert evidence(path, NO_SELECTION, LISTED) == told
    assert taken(path, Selection(labels=("spinal cord",))) == 12
    with pytest.raises(Unusable, match="--segment 3, which the label map names as another structure"):
        taken(path, Selection(numbers=(3,)))


def test_a_lone_value_of_another_structure_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="a label map of 1 named value, which is named as another structure"):
        taken(write(tmp_path / "m.nii.gz", {1: "vertebrae_L1"}, (1, 0)))


def test_names_that_are_not_in_the_file_do_not_count(tmp_path: Path) -> None:
    names = {1: "vertebrae_L1", 2: "kidney_left", 3: "tumor"}
    with pytest.raises(Unusable, match="no voxel of the named value that is the tumor in the label map"):
        taken(write(tmp_path / "m.nii.gz", names, (1, 2)))


def test_a_value_with_two_names_is_not_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "m.nii.gz", {1: "tumor", 2: "spinal cord"}, (1, 2))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'Key="2"', b'Key="1"')))
    with pytest.raises(Unusable, match="the number 1, which the tumor and another named value of the label map have"):
        taken(path)


def test_a_value_without_a_name_is_noted(tmp_path: Path) -> None:
    reference = read_reference(write(tmp_path / "m.nii.gz", {1: "tumor"}, (1, 2)), None, NO_SELECTION, LISTED)
    assert int(reference.mask.array.sum()) == 8
    (note,) = reference.notes
    assert note == "the reference also holds values without a name, which were not taken as tumor: 2 (12 voxels)"
