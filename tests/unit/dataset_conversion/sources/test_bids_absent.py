"""BIDS data sets of which a part is not there: links of git-annex, pointers, pipes, closed folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main
from nnunet_spine.dataset_conversion.bids_source import discover_bids
from nnunet_spine.dataset_conversion.problems import Severity
from nnunet_spine.dataset_conversion.source_files import Absent, look_below, why_absent
from nnunet_spine.dataset_conversion.source_kinds import discover
from nnunet_spine.errors import BadInput

ANNEX = "../../.git/annex/objects/Q1/q2/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz"
UNFETCHED = "is a link that leads nowhere (a git-annex file that was not fetched)"
POINTERS = (
    b"/annex/objects/MD5E-s1--0.nii.gz\n",
    b"../../.git/annex/objects/Q1/q2/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
)


@pytest.fixture
def data(make: Any, tmp_path: Path) -> Path:
    """Four subjects."""
    root = tmp_path / "bids"
    for number in range(4):
        name = f"sub-{number + 1:02d}"
        for place, array in (
            (f"{name}/anat/{name}_ce-gd_T1w", make.asymmetric(seed=number).astype(np.int16)),
            (f"{name}/anat/{name}_T1w", make.asymmetric(seed=9 + number).astype(np.int16)),
            (f"derivatives/labels/{name}/anat/{name}_ce-gd_label-lesion_mask", make.blob()),
        ):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(make.itk_image(array), str(root / f"{place}.nii.gz"))
    return root


def image(data: Path, number: int) -> Path:
    return data / f"sub-0{number}" / "anat" / f"sub-0{number}_ce-gd_T1w.nii.gz"


def mask(data: Path, number: int) -> Path:
    folder = data / "derivatives" / "labels" / f"sub-0{number}" / "anat"
    return folder / f"sub-0{number}_ce-gd_label-lesion_mask.nii.gz"


def link(path: Path, target: str = ANNEX) -> None:
    path.unlink()
    path.symlink_to(target)


def told(data: Path) -> dict[str, str]:
    return {problem.where: problem.found for problem in discover_bids(data).problems}


def test_images_and_labels_that_were_not_fetched_are_named(data: Path) -> None:
    link(image(data, 3))
    link(mask(data, 4))
    discovery = discover_bids(data)
    assert [case.where for case in discovery.cases] == ["session 1", "session 2"]
    assert told(data) == {
        "source": "2 links lead nowhere (git-annex files that were not fetched: `git annex get` or `datalad get`)",
        "session 3": f"the T1w image {UNFETCHED}",
        "session 4": f"the label of the tumor {UNFETCHED}",
    }
    assert [problem.severity for problem in discovery.problems] == [Severity.WARNING, Severity.ERROR, Severity.ERROR]
    assert discovery.problems[1].remedy == "Fetch it with `git annex get` or `datalad get`"
    assert set(discovery.ignored) == {path.relative_to(data).as_posix() for path in (image(data, 3), mask(data, 4))}
    assert discovery.files["links and files that cannot be read"] == 2
    assert discovery.files["total"] == 12


def test_another_image_is_not_taken_in_its_place(data: Path) -> None:
    link(image(data, 1))
    assert told(data)["session 1"] == f"the T1w image {UNFETCHED}"  # not the one before contrast agent


def test_links_that_are_not_used_are_counted_and_no_more(data: Path) -> None:
    link(data / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    link(data / "sub-02" / "anat" / "sub-02_T1w.nii.gz", "nowhere.nii.gz")
    discovery = discover_bids(data)
    assert len(discovery.cases) == 4
    assert [problem.found for problem in discovery.problems] == [
        "1 links lead nowhere (git-annex files that were not fetched: `git annex get` or `datalad get`)",
        "1 links lead nowhere",
    ]


@pytest.mark.parametrize("content", POINTERS)
def test_pointers_are_no_images(data: Path, content: bytes) -> None:
    image(data, 2).write_bytes(content)
    found = told(data)
    assert found["session 2"] == "the T1w image is a pointer of git-annex or Git LFS, whose file was not fetched"
    assert found["source"] == "1 files are pointers of git-annex or Git LFS, whose content was not fetched"


def test_pipes_are_named(data: Path) -> None:
    mask(data, 2).unlink()
    os.mkfifo(mask(data, 2))
    os.mkfifo(data / "sub-03" / "anat" / "pipe")
    found = told(data)
    assert found["session 2"] == "the label of the tumor is a pipe, a socket or a device"
    assert found["source"] == "2 pipes, sockets or devices were not read"


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_folder_that_cannot_be_read_is_named(data: Path) -> None:
    (data / "sub-03").chmod(0)
    discovery = discover(data)
    assert [case.identity.patient_id for case in discovery.cases] == ["sub-01", "sub-02", "sub-04"]
    (problem,) = discovery.problems
    assert (problem.severity, problem.found) == (Severity.WARNING, "1 folders cannot be read, whatever they hold")
    assert discovery.ignored == ("sub-03",)


def test_links_to_folders_are_followed_once(data: Path) -> None:
    (data / "sub-01").rename(data / "elsewhere")
    (data / "sub-01").symlink_to("elsewhere")
    (data / "derivatives" / "more").symlink_to(data / "derivatives" / "labels")
    discovery = discover_bids(data)
    assert len(discovery.cases) == 4
    assert discovery.problems == ()


def test_nothing_but_links_is_refused_with_the_reason(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in sorted(data.rglob("*.nii.gz")):
        link(path)
    assert main(["convert", str(data), "--root", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert "session 1: the T1w image is a link that leads nowhere (a git-annex file that was not fetched)" in errors
    assert "12 links and files that cannot be read" in errors
    assert str(data) not in errors


def test_a_walk_tells_what_it_could_not_look_at(tmp_path: Path) -> None:
    (tmp_path / "a" / ".git").mkdir(parents=True)
    (tmp_path / "a" / ".git" / "x").write_text("x")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "a" / "file").write_text("x")
    (tmp_path / "a" / "loop").symlink_to("loop")
    (tmp_path / "a" / "annexed").symlink_to(ANNEX)
    found = look_below(tmp_path)
    assert [path.name for path in found.files] == ["file"]
    assert {path.name: why for path, why in found.absent.items()} == {
        "loop": Absent.DANGLING,
        "annexed": Absent.UNFETCHED,
    }
    assert found.hidden == 2
    assert why_absent(tmp_path / "nothing") is None
    assert why_absent(Path("nul\0")) is None


@pytest.mark.parametrize(("target", "words"), [(ANNEX, UNFETCHED), ("nowhere", "is a link that leads nowhere.")])
@pytest.mark.parametrize("column", ["image", "reference"])
def test_links_of_a_list_are_named(volumes: Path, target: str, words: str, column: str) -> None:
    from nnunet_spine.dataset_conversion.case_list import read_case_list

    link(volumes.parent / f"{column[0]}1.nii.gz", target)
    with pytest.raises(BadInput) as caught:
        read_case_list(volumes)
    assert f"cases.csv, row 3: the {column} {words}" in str(caught.value)
    assert str(volumes.parent) not in str(caught.value)


@pytest.mark.parametrize("content", POINTERS)
def test_pointers_of_a_list_are_named(volumes: Path, content: bytes) -> None:
    from nnunet_spine.dataset_conversion.case_list import read_case_list

    (volumes.parent / "r2.nii.gz").write_bytes(content)
    with pytest.raises(BadInput, match="row 4: the reference is a pointer of git-annex or Git LFS, whose file was not"):
        read_case_list(volumes)
