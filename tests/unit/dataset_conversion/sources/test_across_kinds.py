"""Kinds of images, kinds of references and growth together."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.dataset_conversion.conversion import Conversion
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.dataset_conversion.dicom_discovery import discover_export
from nnunet_spine.images import Volume, read_volume

NAME = "Dataset058_IntraduralSpineTumor"
BLOCK = {(s, r, c) for s in (1, 2) for r in range(2, 6) for c in range(1, 5)}


def run(source: Path, root: Path) -> Conversion:
    folders = {name: root / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
    return convert(source, dataset=58, name="IntraduralSpineTumor", folds=2, **folders)


def files_of(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def pair(root: Path, case: str) -> tuple[Volume, Volume]:
    raw = root / "nnUNet_raw" / NAME
    image, label = raw / "imagesTr" / f"{case}_0000.nii.gz", raw / "labelsTr" / f"{case}.nii.gz"
    return read_volume(image), read_volume(label)


def is_mask_of(label: Volume, plan: Any, voxels: Iterable[tuple[int, int, int]]) -> bool:
    """Whether a stored label marks the voxels (slice, row, column) of a plan, placed by the DICOM equation."""
    truth = np.zeros(label.array.shape, np.uint8)
    itk = label.image()
    for voxel in voxels:
        x, y, z = itk.TransformPhysicalPointToIndex([float(v) for v in plan.point(*voxel)])
        truth[z, y, x] = 1
    return np.array_equal(truth, label.array)


def outlined(make: Any, plan: Any) -> dict[str, list[np.ndarray]]:
    return {"tumor": [make.outline(plan, k, (2, 5), (1, 4)) for k in (1, 2)]}


def test_a_structure_set_on_enhanced_mr(make: Any, enhanced: Any, check_voxels: Any, tmp_path: Path) -> None:
    root, plans = tmp_path / "export", {}
    for number in range(2):
        plan = make.Plan(make.asymmetric(seed=number), patient=f"P{number}", study=f"1.2.{number + 1}")
        dataset = enhanced(plan, frames=[{"slice": k} for k in range(6)], order=[3, 0, 5, 1, 4, 2])
        folder = root / f"p{number}"
        make.write_structure_set(folder / "rt", [dataset], outlined(make, plan))
        dataset.save_as(folder / "mr", enforce_file_format=True)
        plans[plan.array[0, 0, 0]] = plan
    conversion = run(root, tmp_path / "out")
    assert len(conversion.cases) == 2
    for case in conversion.cases:
        image, label = pair(tmp_path / "out", case.case)
        (plan,) = (p for p in plans.values() if sorted(image.array.flat) == sorted(p.array.flat) and _is(image, p))
        check_voxels(image, plan, plan.array)
        assert is_mask_of(label, plan, BLOCK)


def _is(image: Volume, plan: Any) -> bool:
    x, y, z = image.image().TransformPhysicalPointToIndex([float(v) for v in plan.point(0, 0, 0)])
    return bool(image.array[z, y, x] == plan.array[0, 0, 0])


@pytest.mark.parametrize("drawn_on", [0, 1])
def test_a_structure_set_on_one_part_of_a_series(make: Any, tmp_path: Path, drawn_on: int) -> None:
    plans = [make.Plan(make.asymmetric(seed=n), origin=(-8.0, -60.0, z)) for n, z in enumerate((90.0, -60.0))]
    stations = [make.datasets_of(plan) for plan in plans]
    for dataset in stations[1]:
        dataset.SeriesInstanceUID = stations[0][0].SeriesInstanceUID
    make.write_datasets(tmp_path / "mr", [*stations[0], *stations[1]])
    regions = outlined(make, plans[drawn_on])
    make.write_structure_set(tmp_path / "rt", stations[drawn_on], regions, refer_by="instances")
    discovery = discover_export(tmp_path)
    (case,) = discovery.cases
    written = {path for path in (tmp_path / "mr").iterdir() if _z(path) == (90.0, -60.0)[drawn_on]}
    assert set(case.image) == written
    assert any("2 volumes, separated by station" in problem.found for problem in discovery.problems)


def _z(path: Path) -> float:
    return float(pydicom.dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])


@pytest.fixture
def echoes(make: Any, enhanced: Any, tmp_path: Path) -> Path:
    """One Enhanced file of three echoes, a mask, and a NIfTI pair of another patient; returns the folder."""
    folder = tmp_path / "source"
    folder.mkdir()
    plan = make.Plan(make.asymmetric())
    values = (10.0, 20.0, 30.0)
    frames = [{"slice": k, "echo": echo, "add": 1000 * n} for k in range(6) for n, echo in enumerate(values)]
    enhanced(plan, frames=frames).save_as(folder / "mr", enforce_file_format=True)
    datasets = make.datasets_of(plan)
    make.write_segmentation(folder / "seg", datasets, make.blob())
    sitk.WriteImage(make.itk_image(make.asymmetric(seed=8).astype(np.int16)), str(folder / "i.nii.gz"))
    sitk.WriteImage(make.itk_image(make.blob()), str(folder / "r.nii.gz"))
    return folder


def listed(folder: Path, parts: Iterable[int]) -> Path:
    rows = ["patient,image,reference,part", "other,i.nii.gz,r.nii.gz,", *(f"one,mr,seg,{part}" for part in parts)]
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder / "cases.csv"


def test_parts_of_one_file_are_cases_that_stay_and_a_third_is_added(echoes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(listed(echoes, (1, 2)), out)
    assert len(first.cases) == 3
    assert first.patients == 2
    lowest = sorted(int(pair(out, case.case)[0].array.min()) for case in first.cases)
    assert lowest == [0, 0, 1000]
    before = files_of(out)
    assert run(listed(echoes, (1, 2)), out).already_converted
    assert files_of(out) == before
    grown = run(listed(echoes, (1, 2, 3)), out)
    assert (len(grown.added), grown.corrected, grown.left_out) == (1, (), 0)
    assert int(pair(out, grown.added[0])[0].array.min()) == 2000
    volumes = {name: content for name, content in before.items() if name.endswith(".nii.gz")}
    assert volumes.items() <= files_of(out).items()


def test_a_bids_data_set_grows_by_a_session(make: Any, tmp_path: Path) -> None:
    root, out = tmp_path / "bids", tmp_path / "out"
    (root / "derivatives").mkdir(parents=True)

    def add(subject: str, session: str, seed: int) -> None:
        stem = f"sub-{subject}_ses-{session}_ce-gd"
        for folder, name, array in (
            (root, f"{stem}_T1w", make.asymmetric(seed=seed).astype(np.int16)),
            (root / "derivatives" / "man", f"{stem}_label-tumor_mask", make.blob()),
        ):
            place = folder / f"sub-{subject}" / f"ses-{session}" / "anat"
            place.mkdir(parents=True)
            sitk.WriteImage(make.itk_image(array), str(place / f"{name}.nii.gz"))

    for number, subject in enumerate(("01", "02", "03")):
        add(subject, "a", number)
    first = run(root, out)
    before = {name: content for name, content in files_of(out).items() if name.endswith(".nii.gz")}
    add("02", "b", 7)
    grown = run(root, out)
    assert (len(first.cases), len(grown.cases), len(grown.added)) == (3, 4, 1)
    assert before.items() <= files_of(out).items()
    patients = {case.case: case.patient for case in grown.cases}
    (new,) = grown.added
    siblings = {case for case, patient in patients.items() if patient == patients[new]}
    assert len(siblings) == 2
    together = [fold for fold in grown.folding.folds if siblings & set(fold.test)]
    assert len(together) == 1
    assert grown.patients == 3


def test_looking_at_a_source_leaves_its_data_set_alone(volumes: Path, tmp_path: Path) -> None:
    out, found = tmp_path / "out", tmp_path / "found.csv"
    command = ["convert", str(volumes), "--root", str(out)]
    assert main(command) == 0
    before = files_of(out)
    assert main([*command, "--dry-run"]) == 0
    assert main([*command, "--write-cases", str(found)]) == 0
    assert files_of(out) == before
    with found.open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 5
    assert main(["convert", str(found), "--root", str(out)]) == 0  # the same cases, named by another list
    assert {n: c for n, c in files_of(out).items() if n.endswith(".nii.gz")} == {
        n: c for n, c in before.items() if n.endswith(".nii.gz")
    }
