"""Which mask of a BIDS data set is the tumor: by names, sidecars, folders and tables, never by being the only one.

Names follow the BIDS specification (Imaging data types), spine-generic and the Spinal Cord Toolbox, ds001226 and ATLAS.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.dataset_conversion.bids_source import discover_bids
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.source_kinds import discover
from nnunet_spine.images import read_volume

ELSEWHERE = ", but 1 of another image, session or space of the subject"
TABLE = "index\tname\tabbreviation\n0\tBackground\tBG\n{}"


@pytest.fixture
def data(make: Any, tmp_path: Path) -> Path:
    """One subject with an image after contrast agent, one before, and a T2."""
    root = tmp_path / "bids"
    for name, seed in (("sub-01_ce-gd_T1w", 3), ("sub-01_T1w", 4), ("sub-01_T2w", 5)):
        place = root / "sub-01" / "anat"
        place.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(make.itk_image(make.asymmetric(seed=seed).astype(np.int16)), str(place / f"{name}.nii.gz"))
    (root / "dataset_description.json").write_text('{"Name": "Q", "BIDSVersion": "1.9.0"}')
    return root


@pytest.fixture
def add(make: Any, data: Path) -> Callable[..., Path]:
    """Adds a label below derivatives, with a sidecar and a table of its own."""

    def write(name: str, *, array: np.ndarray | None = None, sidecar: Any = None, table: str = "") -> Path:
        path = data / "derivatives" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        sitk.WriteImage(make.itk_image(make.blob() if array is None else array), str(path))
        stem = path.name.removesuffix(".nii.gz").removesuffix(".nii")
        if sidecar is not None:
            (path.parent / f"{stem}.json").write_text(json.dumps(sidecar))
        if table:
            (path.parent / f"{stem}.tsv").write_text(TABLE.format(table))
        return path

    return write


def found(data: Path, selection: Selection = NO_SELECTION) -> str:
    """The chosen label and what says that it is the tumor, or why there is none."""
    discovery = discover(data, selection=selection)
    (proposal,) = discovery.proposals
    if not proposal.usable:
        return proposal.reason
    (case,) = discovery.cases
    return f"{case.reference.relative_to(data / 'derivatives')}: {proposal.tumor}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("m/sub-01/anat/sub-01_ce-gd_label-tumor_mask.nii.gz", "its BIDS entity label"),
        ("m/sub-01/anat/sub-01_ce-gd_label-lesion_dseg.nii.gz", "its BIDS entity label"),
        ("m/sub-01/anat/sub-01_ce-gd_space-orig_label-GTV_mask.nii.gz", "its BIDS entity label"),
        ("m/sub-01/anat/sub-01_ce-gd_label-L_desc-T1lesion_mask.nii.gz", "its BIDS entity desc"),
        ("m/sub-01/anat/sub-01_ce-gd_desc-tumor_dseg.nii.gz", "its BIDS entity desc"),
        ("m/sub-01/anat/sub-01_ce-gd_seg-tumor_dseg.nii.gz", "its BIDS entity seg"),
        ("labels/sub-01/anat/sub-01_ce-gd_T1w_label-lesion_seg.nii.gz", "its BIDS entity label"),
        ("labels/sub-01/anat/sub-01_ce-gd_T1w_seg-tumor.nii.gz", "its BIDS entity seg"),
        ("labels/sub-01/anat/sub-01_ce-gd_seg-tumor-manual.nii.gz", "its BIDS entity seg"),
        ("labels/sub-01/anat/sub-01_ce-gd_T1w_lesion-manual.nii.gz", "its file name"),
        ("labels/sub-01/anat/sub-01_ce-gd_T1w_lesion_seg.nii.gz", "its file name"),
        ("m/sub-01/anat/sub-01_ce-gd_tumor.nii.gz", "its file name"),
        ("m/sub-01/anat/sub-01_ce-gd_space_T1_label-tumor.nii", "its BIDS entity label"),
        ("tumor_masks/sub-01/anat/sub-01_ce-gd_mask.nii.gz", "its folder"),
        ("m/sub-01/anat/sub-01_ce-gd_label-lesion_roi.nii.gz", "its BIDS entity label"),
    ],
)
def test_a_name_says_tumor(data: Path, add: Any, name: str, says: str) -> None:
    add(name)
    assert found(data) == f"{name}: all of the mask, by {says}"


@pytest.mark.parametrize(
    "name",
    [
        "m/sub-01/anat/sub-01_ce-gd_desc-brain_mask.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_label-SC_mask.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_label-edema_mask.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_seg-braintissues_dseg.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_desc-aseg_dseg.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_label-peritumoral_mask.nii.gz",
        "labels/sub-01/anat/sub-01_ce-gd_T1w_label-disc_seg.nii.gz",
        "labels/sub-01/anat/sub-01_ce-gd_T1w_labels-disc-manual.nii.gz",
        "tumor_masks/sub-01/anat/sub-01_ce-gd_desc-brain_mask.nii.gz",
        "sct/sub-01/anat/sub-01_ce-gd_T1w_label-rootlets_dseg.nii.gz",
        "brain_masks/sub-01/anat/sub-01_ce-gd_mask.nii.gz",
    ],
)
def test_masks_of_other_structures_are_never_taken(data: Path, add: Any, name: str) -> None:
    add(name)
    assert found(data) == "no label of a tumor, but 1 labels of something else"
    assert found(data, Selection(numbers=(1,))) == "no label of a tumor, but 1 labels of something else"


@pytest.mark.parametrize(
    "name",
    [
        "m/sub-01/anat/sub-01_ce-gd_mask.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_dseg.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_desc-manual_mask.nii.gz",
        "labels/sub-01/anat/sub-01_ce-gd_T1w_seg-manual.nii.gz",  # of the cord, in spine-generic
        "labels/sub-01/anat/sub-01_ce-gd_T1w_seg.nii.gz",
        "m/sub-01/anat/sub-01_ce-gd_label-tumor_desc-edema_mask.nii.gz",
    ],
)
def test_what_does_not_say_what_it_shows_is_asked_for(data: Path, add: Any, name: str) -> None:
    add(name)
    assert found(data) == "no label of a tumor, but 1 of which nothing says what it shows"
    assert found(data, Selection(numbers=(1,))) == f"{name}: value 1, by --segment"


@pytest.mark.parametrize(
    ("name", "but"),
    [
        ("m/sub-01/anat/sub-01_ce-gd_label-tumor_probseg.nii.gz", ", but 1 map of probabilities"),
        ("s/sub-01/anat/sub-01_ce-gd_T1w_label-lesion_softseg.nii.gz", ", but 1 map of probabilities"),
        ("m/sub-01/anat/sub-01_ce-gd_space-MNI152NLin6Asym_label-tumor_mask.nii.gz", ELSEWHERE),
        ("m/sub-01/anat/sub-01_ce-gd_space_MNI_label-tumor.nii", ELSEWHERE),
        ("m/sub-01/anat/sub-01_ce-gd_space-PAM50_label-lesion_seg.nii.gz", ELSEWHERE),
        ("m/sub-01/anat/sub-01_T2w_label-lesion_seg.nii.gz", ELSEWHERE),
        ("m/sub-01/anat/sub-01_T2w_seg-tumor.nii.gz", ELSEWHERE),
        ("m/sub-01/ses-2/anat/sub-01_ses-2_ce-gd_label-tumor_mask.nii.gz", ELSEWHERE),
        ("m/sub-02/anat/sub-02_ce-gd_label-tumor_mask.nii.gz", ""),
        ("m/sub-01/anat/sub-01_ce-gd_desc-preproc_T1w.nii.gz", ""),
        ("m/sub-01/anat/sub-01_ce-gd_desc-brain_T1w.nii.gz", ""),
    ],
)
def test_what_is_no_mask_of_the_image_is_not_taken(data: Path, add: Any, name: str, but: str) -> None:
    add(name)
    assert found(data) == f"no label of a tumor{but}"


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ({"Type": "Lesion"}, "all of the mask, by the Type of its sidecar"),
        ({"Type": "lesion", "Sources": ["bids:raw:sub-01/anat/sub-01_ce-gd_T1w.nii.gz"]}, "by the Type of its sidecar"),
        ({"Type": "Brain"}, "no label of a tumor, but 1 labels of something else"),
        ({"Type": "Face"}, "no label of a tumor, but 1 labels of something else"),
        ({"Type": "ROI"}, "no label of a tumor, but 1 of which nothing says what it shows"),
        ({"Type": ["Lesion"]}, "by the Type of its sidecar"),
        ({"Type": "Lesion", "RawSources": ["sub-01/anat/sub-01_T2w.nii.gz"]}, f"no label of a tumor{ELSEWHERE}"),
        ({"Type": "Lesion", "SpatialReference": "orig"}, "by the Type of its sidecar"),
    ],
)
def test_a_sidecar_says_what_a_mask_shows(data: Path, add: Any, sidecar: Any, expected: str) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_mask.nii.gz", sidecar=sidecar)
    assert found(data).endswith(expected)


@pytest.mark.parametrize("place", ["derivatives/m/mask.json", "derivatives/m/sub-01/ce-gd_mask.json", "mask.json"])
def test_a_sidecar_is_inherited(data: Path, add: Any, place: str) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_mask.nii.gz")
    (data / place).write_text('{"Type": "Lesion"}')
    assert found(data).endswith("by the Type of its sidecar")
    (data / "derivatives" / "m" / "sub-01" / "anat" / "sub-01_ce-gd_mask.json").write_text('{"Type": "Brain"}')
    assert found(data) == "no label of a tumor, but 1 labels of something else"  # the nearest one counts


def two(make: Any, first: int = 1, second: int = 2) -> np.ndarray:
    labels = make.blob() * np.uint8(second)
    labels[4:, 7:, 5:] = first
    return labels


@pytest.mark.parametrize(
    ("sidecar", "table"),
    [
        (None, "1\tspinal cord\tSC\n2\ttumor\tT\n"),
        (None, "2\tIntradural lesion\t\n1\tCSF\tCSF\n"),
        ({"LabelMap": {"1": "cord", "2": "tumor"}}, ""),
        ({"labels": {"background": 0, "cord": 1, "tumor": 2}}, ""),
        ({"LabelMap": ["BG", "cord", "tumor"]}, ""),
        ({"Levels": {"1": "cord", "2": "ependymoma"}}, ""),
    ],
)
def test_a_table_names_the_value_of_the_tumor(make: Any, data: Path, add: Any, sidecar: Any, table: str) -> None:
    name = "m/sub-01/anat/sub-01_ce-gd_dseg.nii.gz"
    add(name, array=two(make), sidecar=sidecar, table=table)
    assert found(data) == f"{name}: 1 of 2 named values (number 2), by its label table"
    assert found(data, Selection(labels=("CSF" if "CSF" in table else "cord",))).endswith("by --tumor-label")
    assert "--segment 1, which the label map names as another structure" in found(data, Selection(numbers=(1,)))


@pytest.mark.parametrize("place", ["derivatives/m/dseg.tsv", "dseg.tsv", "derivatives/m/sub-01/sub-01_dseg.tsv"])
def test_a_table_is_inherited(make: Any, data: Path, add: Any, place: str) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_dseg.nii.gz", array=two(make))
    (data / place).write_text(TABLE.format("1\tcord\t\n2\ttumour\t\n"))
    assert found(data).endswith("1 of 2 named values (number 2), by its label table")


@pytest.mark.parametrize(
    "table", ["1\tGray Matter\tGM\n2\tWhite Matter\tWM\n", "1\tedema\t\n2\tnecrosis\t\n", "1\ta\t\n2\tb\t\n"]
)
def test_a_table_without_a_tumor_leaves_it_open(make: Any, data: Path, add: Any, table: str) -> None:
    for name in ("sub-01_ce-gd_dseg", "sub-01_ce-gd_seg-tumor_dseg"):
        add(f"m/sub-01/anat/{name}.nii.gz", array=two(make), table=table)
        assert found(data).startswith("no label of a tumor")
        (data / "derivatives" / "m" / "sub-01" / "anat" / f"{name}.nii.gz").unlink()


@pytest.mark.parametrize(
    ("table", "sidecar"), [("2\ttumor\t\n2\tcord\t\n", None), ("", {"Labels": {"tumor": 2, "cord": 2}})]
)
def test_a_value_with_two_names_is_not_taken(make: Any, data: Path, add: Any, table: str, sidecar: Any) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_dseg.nii.gz", array=two(make), table=table, sidecar=sidecar)
    assert found(data) == "the number 2, which the tumor and another named value of the label map have"


def test_of_several_masks_the_one_that_says_tumor_is_taken(data: Path, add: Any) -> None:
    for name in ("desc-brain_mask", "label-SC_mask", "dseg", "label-tumor_probseg"):
        add(f"m/sub-01/anat/sub-01_ce-gd_{name}.nii.gz")
    add("lesions/sub-01/anat/sub-01_ce-gd_label-lesion_mask.nii.gz")
    assert found(data).startswith("lesions/sub-01/anat/sub-01_ce-gd_label-lesion_mask.nii.gz: all of the mask")


def test_two_lesions_in_two_masks_are_asked_for(data: Path, add: Any) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_label-lesion1_mask.nii.gz")
    add("m/sub-01/anat/sub-01_ce-gd_label-lesion2_mask.nii.gz")
    assert found(data) == "2 labels of the image fit"
    chosen = found(data, Selection(labels=("lesion2",)))
    assert chosen == "m/sub-01/anat/sub-01_ce-gd_label-lesion2_mask.nii.gz: all of the mask, by --tumor-label"


def test_a_label_that_is_asked_for_may_be_anything(data: Path, add: Any) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_label-SC_mask.nii.gz")
    add("m/sub-01/anat/sub-01_ce-gd_label-tumor_mask.nii.gz")
    assert found(data, Selection(labels=("sc",))).startswith("m/sub-01/anat/sub-01_ce-gd_label-SC_mask.nii.gz")
    missing = "2 labels of the image, none of which has a name that was asked for"
    assert found(data, Selection(labels=("disc",))) == missing


def test_several_values_of_a_mask_of_the_tumor_are_asked_for(
    make: Any, data: Path, add: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add("m/sub-01/anat/sub-01_ce-gd_seg-tumor_dseg.nii.gz", array=two(make, 1, 4))
    assert main(["convert", str(data), "--root", str(tmp_path / "out")]) == 2
    assert "a label map with the values 1, 4 and no names" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("label", "sidecar", "notes"),
    [
        ("sub-01_label-tumor_mask", None, 1),
        ("sub-01_ce-gd_label-tumor_mask", None, 0),
        ("sub-01_label-tumor_mask", {"RawSources": ["sub-01/anat/sub-01_ce-gd_T1w.nii.gz"]}, 0),
    ],
)
def test_a_mask_that_fits_two_images_is_told(data: Path, add: Any, label: str, sidecar: Any, notes: int) -> None:
    add(f"m/sub-01/anat/{label}.nii.gz", sidecar=sidecar)
    discovery = discover_bids(data)
    assert discovery.cases[0].image[0].name == "sub-01_ce-gd_T1w.nii.gz"
    assert sum("fits 2 T1w images" in problem.found for problem in discovery.problems) == notes


def test_a_mask_goes_with_the_image_that_it_was_drawn_on(data: Path, add: Any) -> None:
    add("m/sub-01/anat/sub-01_label-tumor_mask.nii.gz", sidecar={"RawSources": ["sub-01/anat/sub-01_T1w.nii.gz"]})
    assert discover_bids(data).cases[0].image[0].name == "sub-01_T1w.nii.gz"


def test_a_name_with_an_image_suffix_is_of_that_image(data: Path, add: Any) -> None:
    add("labels/sub-01/anat/sub-01_T1w_label-lesion_seg.nii.gz")
    assert discover_bids(data).cases[0].image[0].name == "sub-01_T1w.nii.gz"
    (data / "sub-01" / "anat" / "sub-01_T1w.nii.gz").unlink()
    assert found(data) == f"no label of a tumor{ELSEWHERE}"


def test_a_label_without_session_is_of_the_only_one(data: Path, add: Any) -> None:
    place = data / "sub-01" / "ses-pre" / "anat"
    (data / "sub-01" / "anat").rename(data / "anat")
    place.parent.mkdir()
    (data / "anat").rename(place)
    for path in place.iterdir():
        path.rename(path.with_name(path.name.replace("sub-01_", "sub-01_ses-pre_")))
    name = "tumor_masks/sub-01/anat/sub-01_space_T1_label-tumor.nii"  # ds001226
    add(name)
    add("tumor_masks/sub-01/anat/sub-01_space_MNI_label-tumor.nii")
    assert found(data).startswith(f"{name}: all of the mask")
    other = data / "sub-01" / "ses-post" / "anat" / "sub-01_ses-post_ce-gd_T1w.nii.gz"
    other.parent.mkdir(parents=True)
    (place / "sub-01_ses-pre_ce-gd_T1w.nii.gz").rename(other)
    assert {one.reason for one in discover_bids(data).proposals} == {
        "no label of a tumor, but 2 of another image, session or space of the subject"
    }


def test_a_changed_table_is_a_changed_reference(make: Any, data: Path, add: Any, tmp_path: Path) -> None:
    for subject in ("02", "03"):
        for path in sorted((data / "sub-01" / "anat").iterdir()):
            copy = Path(str(path).replace("sub-01", f"sub-{subject}"))
            copy.parent.mkdir(parents=True, exist_ok=True)
            image = sitk.ReadImage(str(path)) + int(subject)
            sitk.WriteImage(image, str(copy))
        add(f"m/sub-{subject}/anat/sub-{subject}_ce-gd_dseg.nii.gz", array=two(make))
    add("m/sub-01/anat/sub-01_ce-gd_dseg.nii.gz", array=two(make))
    table = data / "derivatives" / "m" / "dseg.tsv"
    command = ["convert", str(data), "--root", str(tmp_path / "out"), "--folds", "2"]
    table.write_text(TABLE.format("1\ttumor\t\n2\tcord\t\n"))
    assert main(command) == 0
    label = tmp_path / "out" / "nnUNet_raw" / "Dataset058_IntraduralSpineTumor" / "labelsTr" / "spine_001.nii.gz"
    assert read_volume(label).array.sum() == (two(make) == 1).sum()
    table.write_text(TABLE.format("1\tcord\t\n2\ttumor\t\n"))
    assert main(command) == 0
    assert read_volume(label).array.sum() == make.blob().sum()
    report = json.loads((label.parents[1] / "conversion_report.json").read_text())
    assert report["case_list"][0]["reason"].endswith("; tumor: 1 of 2 named values (number 2), by its label table")
