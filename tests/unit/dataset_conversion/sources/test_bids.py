"""BIDS data sets as a source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.dataset_conversion.bids_names import BidsName
from nnunet_spine.dataset_conversion.bids_source import discover_bids
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.errors import BadInput
from nnunet_spine.images import read_volume


def put(make: Any, path: Path, array: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(make.itk_image(make.asymmetric().astype(np.int16) if array is None else array), str(path))
    return path


@pytest.fixture
def bids(make: Any, tmp_path: Path) -> Path:
    """Four subjects, one of them with two sessions."""
    root = tmp_path / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Spines", "BIDSVersion": "1.9.0"}')
    (root / "T1w.json").write_text(json.dumps({"Manufacturer": "Siemens Healthineers", "MagneticFieldStrength": 3}))
    rows = ["participant_id\tage\tdiagnosis\tregion", "sub-01\t51\tIntramedullary ependymoma\tcervical"]
    (root / "participants.tsv").write_text("\n".join(rows) + "\n")
    for subject, session in (("01", ""), ("02", ""), ("03", "ses-a"), ("03", "ses-b"), ("04", "")):
        stem = "_".join(part for part in (f"sub-{subject}", session) if part)
        folder = Path(f"sub-{subject}") / session / "anat"
        put(make, root / folder / f"{stem}_T1w.nii.gz", make.asymmetric(seed=9).astype(np.int16))
        put(make, root / folder / f"{stem}_ce-gadolinium_T1w.nii.gz")
        put(make, root / folder / f"{stem}_T2w.nii.gz")
        label = root / "derivatives" / "labels" / folder / f"{stem}_ce-gadolinium_label-tumor_mask.nii.gz"
        put(make, label, make.blob())
    return root


def test_the_image_after_contrast_and_its_label_are_taken(bids: Path) -> None:
    discovery = discover_bids(bids)
    names = [case.image[0].name for case in discovery.cases]
    assert names == [
        "sub-01_ce-gadolinium_T1w.nii.gz",
        "sub-02_ce-gadolinium_T1w.nii.gz",
        "sub-03_ses-a_ce-gadolinium_T1w.nii.gz",
        "sub-03_ses-b_ce-gadolinium_T1w.nii.gz",
        "sub-04_ce-gadolinium_T1w.nii.gz",
    ]
    assert [case.reference.name.split("_label")[0] for case in discovery.cases] == [n.split("_T1w")[0] for n in names]
    assert [case.patient_key for case in discovery.cases] == ["sub-01", "sub-02", "sub-03", "sub-03", "sub-04"]
    assert {one.confidence for one in discovery.proposals} == {"high"}
    assert discovery.problems == ()
    assert discovery.files == {
        "used": 10,
        "other images and labels": 10,
        "no images": 3,
        "hidden": 0,
        "total": sum(1 for path in bids.rglob("*") if path.is_file()),
    }


def test_what_the_tables_say_is_kept(bids: Path) -> None:
    (bids / "sub-01" / "anat" / "sub-01_ce-gadolinium_T1w.json").write_text('{"MagneticFieldStrength": 1.5}')
    first, second, *_ = (case.details for case in discover_bids(bids).cases)
    assert (first.compartment, first.tumor_type) == (Compartment.INTRAMEDULLARY, "ependymoma")
    assert (first.region, first.maker, first.field_strength) == (Region.CERVICAL, "SIEMENS", 1.5)  # nearest sidecar
    assert (second.compartment, second.field_strength) == (Compartment.UNKNOWN, 3.0)


def test_a_data_set_is_converted(make: Any, bids: Path, tmp_path: Path) -> None:
    conversion = convert(bids, dataset=58, name="B", raw=tmp_path / "raw", preprocessed=tmp_path / "pre")
    assert (len(conversion.cases), conversion.patients) == (5, 4)
    image = read_volume(conversion.folder / "imagesTr" / "spine_001_0000.nii.gz")
    assert sorted(image.array.ravel()) == sorted(make.asymmetric().ravel())
    label = read_volume(conversion.folder / "labelsTr" / "spine_001.nii.gz")
    assert label.array.sum() == make.blob().sum()


def test_without_contrast_in_any_name_the_choice_is_doubtful(bids: Path) -> None:
    for path in bids.rglob("sub-02*ce-gadolinium*"):
        if path.suffix != ".json" and "anat" in path.parts and "derivatives" not in path.parts:
            path.unlink()
        else:
            path.rename(path.with_name(path.name.replace("_ce-gadolinium", "")))
    discovery = discover_bids(bids)
    assert discovery.cases[1].image[0].name == "sub-02_T1w.nii.gz"
    assert discovery.proposals[1].confidence == "low"
    (note,) = discovery.problems
    assert (note.where, note.severity) == ("session 2", Severity.NOTE)
    assert "without sign of contrast agent" in note.found


def test_a_sidecar_may_name_the_agent(bids: Path) -> None:
    for path in bids.rglob("sub-02*ce-gadolinium*"):
        path.rename(path.with_name(path.name.replace("ce-gadolinium", "acq-sag")))
    (bids / "sub-02" / "anat" / "sub-02_acq-sag_T1w.json").write_text('{"ContrastBolusIngredient": "GADOLINIUM"}')
    discovery = discover_bids(bids)
    assert discovery.cases[1].image[0].name == "sub-02_acq-sag_T1w.nii.gz"
    assert (discovery.proposals[1].confidence, discovery.problems) == ("high", ())


def test_a_session_without_a_label_or_with_two_is_named(make: Any, bids: Path) -> None:
    labels = bids / "derivatives" / "labels"
    (labels / "sub-01" / "anat" / "sub-01_ce-gadolinium_label-tumor_mask.nii.gz").rename(
        labels / "sub-01" / "anat" / "sub-01_ce-gadolinium_label-cord_mask.nii.gz"
    )
    put(make, labels / "sub-02" / "anat" / "sub-02_ce-gadolinium_label-lesion_dseg.nii.gz", make.blob())
    discovery = discover_bids(bids)
    assert [problem.describe().split(";")[0] for problem in discovery.problems] == [
        "session 1: no label of a tumor, but 1 labels of something else",
        "session 2: 2 labels of the image fit",
    ]
    assert [one.usable for one in discovery.proposals] == [False, False, True, True, True]
    assert discovery.proposals[0].image is not None


@pytest.mark.parametrize(
    ("label", "belongs"),
    [
        ("sub-01_ce-gd_label-tumor_mask.nii.gz", True),
        ("sub-01_dseg.nii.gz", True),
        ("sub-01_desc-manual_mask.nii.gz", True),
        ("sub-01_space-orig_label-lesion.nii.gz", True),
        ("sub-01_ce-other_mask.nii.gz", False),
        ("sub-02_ce-gd_mask.nii.gz", False),
        ("sub-01_ses-2_ce-gd_mask.nii.gz", False),
        ("sub-01_acq-ax_mask.nii.gz", False),
        ("sub-01_space-PAM50_mask.nii.gz", False),
    ],
)
def test_which_label_belongs_to_an_image(label: str, belongs: bool) -> None:
    image = BidsName.of(Path("sub-01_ce-gd_T1w.nii.gz"))
    name = BidsName.of(Path(label))
    assert name is not None
    assert image is not None
    assert name.is_of(image) is belongs


@pytest.mark.parametrize("content", ["", "participant_id", "no columns\n\x00", "participant_id\tx\nsub-01", "\xff"])
def test_a_damaged_table_or_sidecar_does_not_stop(bids: Path, content: str) -> None:
    (bids / "participants.tsv").write_bytes(content.encode("latin-1"))
    (bids / "T1w.json").write_text("[1, 2")
    assert len(discover_bids(bids).cases) == 5


def test_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    with pytest.raises(BadInput, match="holds no T1w image"):
        convert(tmp_path, dataset=58, name="B", raw=tmp_path / "raw", preprocessed=tmp_path / "pre")
