from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine.cli import main
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.environment import Workspace, allocated_cpus

NOBODY = "~no-such-user-of-this-machine"


def test_a_home_folder_is_spelled_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("nnUNet_results", "~/results")
    assert Workspace.from_environment().results == tmp_path / "results"
    assert Workspace.from_environment(Path("~/study")).raw == tmp_path / "study" / "nnUNet_raw"


def test_the_home_of_nobody(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["env", "--root", f"{NOBODY}/study"]) == 2
    assert "begins with the ~ of no user" in capsys.readouterr().err
    monkeypatch.setenv("nnUNet_raw", f"{NOBODY}/raw")
    with pytest.raises(BadInput, match=f"{NOBODY}/raw"):
        Workspace.from_environment()


def test_the_least_and_the_largest_number_and_a_file_that_looks_like_a_data_set(tmp_path: Path) -> None:
    workspace = Workspace.from_environment(tmp_path)
    for name in ("Dataset001_First", "Dataset999_Last"):
        (workspace.raw / name).mkdir(parents=True)
    (workspace.raw / "Dataset002_File").write_text("")
    assert (workspace.dataset_name("1"), workspace.dataset_name("999")) == ("Dataset001_First", "Dataset999_Last")
    with pytest.raises(NotFound, match=r"\(found: Dataset001_First, Dataset999_Last\)"):
        workspace.dataset_name("2")


def test_nothing_there_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="found: none"):
        Workspace.from_environment(tmp_path).dataset_name("58")


def test_a_model_lies_where_nnunet_looks_for_it(tmp_path: Path) -> None:
    folder = Workspace.from_environment(tmp_path).model_folder("Dataset058_Spine", "Trainer", "Plans", "3d_fullres")
    assert folder == tmp_path / "nnUNet_results" / "Dataset058_Spine" / "Trainer__Plans__3d_fullres"


def test_an_allocation_of_one_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: {0, 1, 2})
    monkeypatch.setattr("nnunet_spine.nnunet.environment.CGROUP_QUOTA", Path("/no/such/file"))
    for text, expected in (("1", 1), ("0", 3), ("", 3), ("4(x2)", 3)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", text)
        assert allocated_cpus() == expected
