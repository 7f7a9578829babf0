"""Masks whose NRRD headers name their values, as 3D Slicer, slicerio and VolView write them.

Headers are written by hand, so that nothing here depends on a library's idea of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Claim, Selection
from nnunet_spine.dataset_conversion.references import evidence, read_reference

LISTED = Claim("the column reference")
TISSUE = "SCT^85756007^Tissue~SCT^85756007^Tissue"
MASS = "SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass"
CORD = "SCT^123037004^Anatomical Structure~SCT^2748008^Spinal cord"
TAGS = (
    "Segmentation.Status:inprogress|TerminologyEntry:Segmentation category and type - 3D Slicer General Anatomy list~{}"
)
TAGS += "~^^~Anatomic codes - DICOM master list~SCT^2748008^Spinal cord~^^|"


def keys(number: int, name: str, value: int | None, *, layer: int | None = 0, terms: str = "") -> list[str]:
    """Lines of a header for one segment; the region of the terminology is always the cord."""
    told = {"ID": f"Segment_{number}", "Name": name, "LabelValue": value, "Layer": layer}
    told |= {"Tags": TAGS.format(terms)} if terms else {}
    return [f"Segment{number}_{key}:={text}" for key, text in told.items() if text is not None]


def write(path: Path, labels: np.ndarray, lines: Sequence[str], *, encoding: str = "utf-8") -> Path:
    """Write labels, shape (z, y, x) or (z, y, x, layer), of 1 mm voxels, with further lines in the header."""
    layered = labels.ndim == 4
    sizes = [str(n) for n in labels.shape[:3][::-1]]
    header = [
        "NRRD0004",
        "type: uint8",
        f"dimension: {3 + layered}",
        "space: left-posterior-superior",
        f"sizes: {' '.join([*([str(labels.shape[3])] if layered else []), *sizes])}",
        f"space directions: {'none ' if layered else ''}(1,0,0) (0,1,0) (0,0,1)",
        f"kinds: {'list ' if layered else ''}domain domain domain",
        "endian: little",
        "encoding: raw",
        "space origin: (0,0,0)",
        *lines,
    ]
    path.write_bytes("\n".join(header).encode(encoding) + b"\n\n" + labels.astype(np.uint8).tobytes())
    return path


def two(first: int, second: int) -> np.ndarray:
    """4 voxels of one value and 6 of another."""
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 1:3, 1:3] = first
    labels[2, 1:4, 3:5] = second
    return labels


def taken(path: Path, selection: Selection = NO_SELECTION, claim: Claim = LISTED) -> int:
    return int(read_reference(path, None, selection, claim).mask.array.sum())


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nrrd"])
@pytest.mark.parametrize(("tumor", "cord"), [(1, 2), (2, 1), (7, 30)])
def test_the_tumor_is_taken_by_its_name_whatever_its_value(tmp_path: Path, suffix: str, tumor: int, cord: int) -> None:
    lines = [*keys(0, "Spinal cord", cord), *keys(1, "Tumor", tumor)]
    path = write(tmp_path / f"m{suffix}", two(tumor, cord), lines)
    reference = read_reference(path, None, NO_SELECTION, LISTED)
    assert int(reference.mask.array.sum()) == 4
    assert reference.notes == ("1 of 2 segments of the reference are tumor and were used",)
    assert evidence(path, NO_SELECTION, LISTED) == f"1 of 2 segments (number {tumor}), by its label"
    assert taken(path, Selection(labels=("tumor",))) == 4
    assert taken(path, Selection(labels=("spinal cord",))) == 6  # whatever a user names
    assert taken(path, Selection(numbers=(tumor,))) == 4
    with pytest.raises(
        Unusable, match=f"--segment {cord}, which the segmentation of 3D Slicer names as another structure"
    ):
        taken(path, Selection(numbers=(cord,)))


@pytest.mark.parametrize(("terms", "voxels"), [((MASS, TISSUE), 4), ((CORD, MASS), 6), ((MASS, CORD), 4)])
def test_the_tumor_is_taken_by_its_terminology(tmp_path: Path, terms: tuple[str, str], voxels: int) -> None:
    lines = [*keys(0, "Segment_1", 1, terms=terms[0]), *keys(1, "Segment_2", 2, terms=terms[1])]
    path = write(tmp_path / "m.seg.nrrd", two(1, 2), lines)
    assert taken(path) == voxels
    assert evidence(path, NO_SELECTION, LISTED).endswith("by its coded type")


def test_segments_that_overlap_are_read_from_their_layers(tmp_path: Path) -> None:
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1:3, 1:3, 1:3, 0] = 1  # 8 voxels
    layers[0:4, 0:3, 1:3, 1] = 1  # 24 voxels, those of the first among them
    lines = [*keys(0, "Lesion", 1, layer=0), *keys(1, "Cord", 1, layer=1)]
    path = write(tmp_path / "m.seg.nrrd", layers, lines)
    assert taken(path) == 8
    assert taken(path, Selection(labels=("cord",))) == 24
    with pytest.raises(Unusable, match="--segment 1, a number that 2 segments of the segmentation of 3D Slicer have"):
        taken(path, Selection(numbers=(1,)))


def test_files_before_label_values_have_a_layer_for_each_segment(tmp_path: Path) -> None:
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1, 1:3, 1:3, 0] = 1
    layers[2, 1:4, 3:5, 1] = 1
    lines = [*keys(0, "cord", None, layer=None), *keys(1, "ependymoma", None, layer=None)]
    assert taken(write(tmp_path / "m.seg.nrrd", layers, lines)) == 6
    with pytest.raises(Unusable, match="2 named segments without label values in 1 layers"):
        taken(write(tmp_path / "n.seg.nrrd", two(1, 2), lines))


def test_one_segment_without_a_telling_name_is_taken_where_its_file_was_named(tmp_path: Path) -> None:
    labels = (two(3, 0) > 0).astype(np.uint8) * 3
    path = write(tmp_path / "m.seg.nrrd", labels, keys(0, "Segment_1", 3, terms=TISSUE))
    assert taken(path) == 4
    assert evidence(path, NO_SELECTION, LISTED) == "its only segment, by the column reference"
    with pytest.raises(Unusable, match="1 segment, which nothing names as a tumor"):
        taken(path, claim=Claim())


@pytest.mark.parametrize(("name", "terms"), [("Spinal cord", TISSUE), ("Segment_1", CORD), ("Rückenmark", "")])
def test_one_segment_of_another_structure_is_not_taken(tmp_path: Path, name: str, terms: str) -> None:
    path = write(tmp_path / "m.seg.nrrd", two(1, 0), keys(0, name, 1, terms=terms))
    with pytest.raises(Unusable, match="1 segment, which is named as another structure"):
        taken(path)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_names_in_other_alphabets_are_read(tmp_path: Path, encoding: str) -> None:
    lines = [*keys(0, "Rückenmark", 1), *keys(1, "Läsion", 2)]
    assert taken(write(tmp_path / "m.seg.nrrd", two(1, 2), lines, encoding=encoding)) == 6


def test_more_values_than_a_mask_has_are_fine_if_they_have_names(tmp_path: Path) -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)
    lines = [line for n in range(119) for line in keys(n, "tumor" if n == 66 else f"vertebra {n}", n + 1)]
    assert taken(write(tmp_path / "m.seg.nrrd", labels, lines)) == 1


def test_values_without_a_name_are_noted_or_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "m.seg.nrrd", two(1, 2), keys(0, "Tumor", 1))  # 4 voxels of 1, 6 of 2
    reference = read_reference(path, None, NO_SELECTION, LISTED)
    assert int(reference.mask.array.sum()) == 4
    assert reference.notes == (
        "the reference also holds values without a name, which were not taken as tumor: 2 (6 voxels)",
    )
    assert evidence(path, Selection(numbers=(2,)), LISTED) == "1 of 2 segments (number 2), by --segment"
    assert taken(path, Selection(numbers=(2,))) == 6
    both = read_reference(path, None, Selection(numbers=(1, 2)), LISTED)
    assert int(both.mask.array.sum()) == 10
    assert both.notes == ("2 of 2 segments of the reference are tumor and were used",)
    with pytest.raises(Unusable, match="1 segment, which has no number or label that was asked for"):
        taken(path, Selection(numbers=(3,)))


def test_voxels_without_a_name_are_counted_over_layers(tmp_path: Path) -> None:
    layers = np.zeros((4, 5, 6, 2), np.uint8)
    layers[1, 1:3, 1:3, 0] = 1
    layers[2, 0, 0, 0] = 9
    layers[3, 0, 0:2, 1] = 9
    layers[3, 1, 0, 1] = 1  # the value that is the tumor's in the other layer
    path = write(tmp_path / "m.seg.nrrd", layers, keys(0, "Tumor", 1))
    reference = read_reference(path, None, NO_SELECTION, LISTED)
    assert int(reference.mask.array.sum()) == 4
    (note,) = reference.notes
    assert note.endswith("which were not taken as tumor: 1 (1 voxel), 9 (3 voxels)")


def test_many_values_without_a_name_are_listed_in_part(tmp_path: Path) -> None:
    labels = np.arange(120, dtype=np.uint8).reshape(4, 5, 6)  # 119 values, of which 118 have no name
    path = write(tmp_path / "m.seg.nrrd", labels, keys(0, "Tumor", 1))
    (note,) = read_reference(path, None, NO_SELECTION, LISTED).notes
    assert note.endswith(": " + ", ".join(f"{n} (1 voxel)" for n in range(2, 12)) + " and 108 more")


def test_a_file_of_the_tumor_is_not_taken_by_the_only_value_with_a_name(tmp_path: Path) -> None:
    path = write(tmp_path / "m.seg.nrrd", two(1, 2), keys(0, "Segment_1", 1))
    with pytest.raises(Unusable, match="1 segment, which nothing names as a tumor, and the values 2 without a name"):
        taken(path)
    assert taken(path, Selection(numbers=(1,))) == 4


def test_a_segment_of_the_background_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "m.seg.nrrd", two(1, 2), [*keys(0, "Tumor", 0), *keys(1, "Lesion", 1), *keys(2, "Cord", 2)])
    assert taken(path) == 4


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            keys(0, "Tumor", 5),
            "no voxel of the segment that is the tumor in the segmentation of 3D Slicer, which holds the",
        ),
        (
            [*keys(0, "a", 1), *keys(1, "b", 2)],
            "2 segments, none of which is named as a tumor .2 whose name says neither",
        ),
        (keys(0, "Tumor", 1, layer=1), "a segment whose label value or layer is missing or not in the file"),
        ([*keys(0, "Tumor", None), *keys(1, "Cord", 2)], "a segment whose label value or layer is missing"),
        (["Segmentation_MasterRepresentation:=Fractional labelmap"], "a fractional label map of 3D Slicer"),
        ([], "a label map with the values 1, 2 and no names"),
        (
            [*keys(0, "Tumor", 1), *keys(1, "Cord", 1)],
            "the number 1, which the tumor and another segment of the segmentation of 3D Slicer have",
        ),
    ],
)
def test_what_is_not_known_is_asked_for(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(Unusable, match=message):
        taken(write(tmp_path / "m.seg.nrrd", two(1, 2), lines))


def test_several_values_a_voxel_without_names_are_no_mask(tmp_path: Path) -> None:
    path = write(tmp_path / "m.nrrd", np.zeros((4, 5, 6, 2), np.uint8), [])
    with pytest.raises(Unusable, match="3 dimensions and 2 values a voxel"):
        taken(path)


def test_a_label_asks_for_names(make: Any, tmp_path: Path) -> None:
    path = write(tmp_path / "m.nrrd", two(1, 0), [])
    with pytest.raises(Unusable, match="a mask whose values have no names; expected names for --tumor-label"):
        taken(path, Selection(labels=("Tumor",)))
    with pytest.raises(Unusable, match="a mask whose values have no names"):
        evidence(path, Selection(labels=("Tumor",)), LISTED)
    assert taken(path, Selection(("Tumor",), (1,))) == 4  # the value was given as well


def test_other_keys_of_a_header_do_not_matter(tmp_path: Path) -> None:
    lines = [*keys(0, "Tumor", 1), *keys(1, "Cord", 2), "Größe:=x", "Segment_Name:=Cord", "Segment0_Color:=1 0 0"]
    assert taken(write(tmp_path / "m.seg.nrrd", two(1, 2), lines, encoding="latin-1")) == 4
