"""What `plan` leaves beside the plans, with a case that cannot be measured among the others."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.files import read_json
from nnunet_spine.images import Volume, read_volume, write_volume
from nnunet_spine.nnunet.case_measures import case_field
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import plan_dataset
from nnunet_spine.preprocessing.pipeline import IntensitySettings
from nnunet_spine.protocol import BiasMethod


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def odd(tiny, tmp_path: Path) -> Workspace:
    """The small data set with a constant image as its second case."""
    workspace = Workspace.from_environment(tmp_path)
    shutil.copytree(tiny.raw, workspace.raw / tiny.dataset)
    (workspace.preprocessed / tiny.dataset).mkdir(parents=True)
    shutil.copy(tiny.preprocessed / "splits_final.json", workspace.preprocessed / tiny.dataset)
    path = workspace.raw / tiny.dataset / "imagesTr" / "spine_002_0000.nii.gz"
    volume = read_volume(path)
    write_volume(path, Volume(np.full_like(volume.array, 7), volume.geometry))
    return workspace


def test_an_odd_case_is_named_and_the_others_are_measured(tiny, odd: Workspace) -> None:
    told: list[tuple[int, int]] = []
    planned = plan_dataset(
        "58",
        odd,
        settings=IntensitySettings(gamma=1.0, bias_method=BiasMethod.N4),
        plans_name="Odd",
        progress=lambda done, total, what="": told.append((done, total)),
    )
    assert told == [(n, 8) for n in range(1, 9)]
    assert planned.advice.not_measured == {"spine_002": "constant image"}
    folder = odd.preprocessed / tiny.dataset
    written = rows(folder / "Odd_bias_fields.csv")
    assert list(written[0]) == ["case", "strength", "confidence", "order", "stop"]
    assert written[1] == {"case": "spine_002", "strength": "", "confidence": "", "order": "", "stop": "constant image"}
    assert [row["case"] for row in written] == [row["case"] for row in rows(folder / "Odd_resize_ceiling.csv")]
    plans = read_json(folder / "Odd.json")
    assert plans == planned.plans
    assert plans["spine_bias_fields"]["measured"] == 7
    assert plans["spine_bias_fields"]["not_measured"] == {"spine_002": "constant image"}
    assert plans["spine_departures"] == [
        "gamma: 1.0 instead of 0.7 (ours)",
        "bias_method: n4 instead of van_leemput (ours)",
    ]
    # The tiny images are 36 to 48 voxels of 1.2 mm wide: 43 to 58 mm, under two half-waves of 30 mm.
    settings = IntensitySettings.from_json(plans["configurations"]["3d_fullres"]["spine_preprocessing"])
    assert settings.bias_field.orders == (0, 1)
    assert "bias_field.orders" in plans["spine_reasons"]
    # The body begins 4 and 6 voxels inside; nnU-Net cuts off the borders of 0.
    # The body begins 4 and 6 voxels inside, and nnU-Net cuts off borders of 0.
    volume = read_volume(odd.raw / tiny.dataset / "imagesTr" / "spine_001_0000.nii.gz")
    inside = volume.array[:, 4:, 6:]
    assert planned.bias_fields[0] == case_field("spine_001", inside, volume.geometry.spacing_zyx_mm, settings)


def spoil_image(raw: Path) -> None:
    path = raw / "imagesTr" / "spine_003_0000.nii.gz"
    volume = read_volume(path)
    volume.array[0, 0, 0] = np.nan
    write_volume(path, volume)


def move_reference(raw: Path) -> None:
    path = raw / "labelsTr" / "spine_003.nii.gz"
    volume = read_volume(path)
    x, y, z = volume.geometry.origin_xyz_mm
    write_volume(path, Volume(volume.array, replace(volume.geometry, origin_xyz_mm=(x, y + 5.0, z))))


def empty_references(raw: Path) -> None:
    for path in (raw / "labelsTr").iterdir():
        volume = read_volume(path)
        write_volume(path, Volume(np.zeros_like(volume.array), volume.geometry))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoil_image, r"spine_003_0000\.nii\.gz has 1 voxels that are not finite"),
        (move_reference, r"spine_003\.nii\.gz is not on the grid of .*5 mm apart"),
        (empty_references, "no voxel of any label"),
    ],
)
def test_what_cannot_be_planned_is_named(tiny, odd: Workspace, spoil, words: str) -> None:
    spoil(odd.raw / tiny.dataset)
    with pytest.raises(NnunetSpineError, match=words):
        plan_dataset("58", odd)
    assert not (odd.preprocessed / tiny.dataset / "nnUNetSpinePlans.json").exists()
    assert not list((odd.preprocessed / tiny.dataset).glob(".*"))
