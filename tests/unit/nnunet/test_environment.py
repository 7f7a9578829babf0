from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.environment import Workspace, allocated_cpus, is_trusted, trainers_folder

VARIABLES = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer", "NNUNET_SPINE_HOME")


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, "nnUNet_n_proc_DA", "nnUNet_def_n_proc", "OMP_WAIT_POLICY", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


def test_without_anything_set_it_is_below_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Workspace.from_environment().raw == tmp_path / "nnunet_spine_data" / "nnUNet_raw"


def test_root_before_variables_before_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_SPINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "scratch"))
    workspace = Workspace.from_environment()
    assert workspace.raw == tmp_path / "home" / "nnUNet_raw"
    assert workspace.results == tmp_path / "scratch"
    assert Workspace.from_environment(tmp_path / "r").results == tmp_path / "r" / "nnUNet_results"


def test_variables_keep_what_a_user_has_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_extTrainer", "/my/trainers")
    monkeypatch.setenv("nnUNet_n_proc_DA", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    workspace = Workspace.from_environment(tmp_path)
    variables = workspace.variables()
    assert variables["nnUNet_extTrainer"].split(":") == ["/my/trainers", str(trainers_folder())]
    assert variables["nnUNet_n_proc_DA"] == "7"
    assert variables["OMP_WAIT_POLICY"] == "ACTIVE"
    monkeypatch.setenv("nnUNet_extTrainer", variables["nnUNet_extTrainer"])
    assert workspace.variables()["nnUNet_extTrainer"] == variables["nnUNet_extTrainer"]


def test_an_empty_variable_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc", "OMP_WAIT_POLICY", "nnUNet_extTrainer"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    variables = Workspace.from_environment(tmp_path).variables()
    assert (variables["nnUNet_n_proc_DA"], variables["nnUNet_def_n_proc"]) == ("5", "5")
    assert variables["OMP_WAIT_POLICY"] == "PASSIVE"
    assert variables["nnUNet_extTrainer"] == str(trainers_folder())


def test_a_home_with_a_tilde_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NNUNET_SPINE_HOME", "~/spine")
    assert Workspace.from_environment().raw == tmp_path / "spine" / "nnUNet_raw"


def test_apply_sets_the_variables_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    import os

    workspace = Workspace.from_environment(tmp_path)
    workspace.apply()
    assert os.environ["nnUNet_preprocessed"] == str(tmp_path / "nnUNet_preprocessed")
    assert os.environ["nnUNet_extTrainer"] == str(trainers_folder())


def test_the_trainers_folder_holds_one_module_for_each_public_trainer() -> None:
    names = {p.stem for p in trainers_folder().glob("*.py")} - {"__init__"}
    assert {"nnUNetTrainerSpine", "nnUNetTrainerDurable"} <= names
    assert all(name.startswith(("nnUNetTrainerSpine", "nnUNetTrainerDurable")) for name in names)


def test_numbers_beyond_any_are_refused_or_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNUNET_SPINE_TRUST_MODEL", "1" * 5000)
    with pytest.raises(BadInput, match="NNUNET_SPINE_TRUST_MODEL is '1{40}'; expected a whole number"):
        is_trusted()
    monkeypatch.setenv("NNUNET_SPINE_CPUS", "100000")
    assert allocated_cpus() == 1024
    monkeypatch.setenv("NNUNET_SPINE_CPUS", "1" * 5000)
    assert 1 <= allocated_cpus() <= 1024


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    for folder, name in [("raw", "Dataset058_Spine"), ("results", "Dataset007_Other"), ("raw", "notes")]:
        (tmp_path / f"nnUNet_{folder}" / name).mkdir(parents=True)
    return Workspace.from_environment(tmp_path)


def test_a_data_set_by_number_or_name(workspace: Workspace) -> None:
    assert workspace.dataset_name("58") == "Dataset058_Spine"
    assert workspace.dataset_name("058") == "Dataset058_Spine"
    assert workspace.dataset_name("Dataset007_Other") == "Dataset007_Other"
    # nnU-Net takes any name after the number.
    (workspace.raw / "Dataset012_Spine-MRI v2").mkdir()
    assert (
        workspace.dataset_name("12") == workspace.dataset_name("Dataset012_Spine-MRI v2") == "Dataset012_Spine-MRI v2"
    )


@pytest.mark.parametrize("dataset", ["0", "1000", "-1", "spine", "", "5.8", "../58", "9" * 5000])
def test_what_is_no_data_set(workspace: Workspace, dataset: str) -> None:
    with pytest.raises(BadInput, match="1 to 999"):
        workspace.dataset_name(dataset)


def test_a_number_that_nothing_has(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="number 9 .*Dataset007_Other, Dataset058_Spine"):
        workspace.dataset_name("9")


def test_a_number_that_two_have(workspace: Workspace) -> None:
    (workspace.results / "Dataset058_Copy").mkdir()
    with pytest.raises(BadInput, match="Dataset058_Copy, Dataset058_Spine"):
        workspace.dataset_name("58")


def test_cpus_come_from_the_allocation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert allocated_cpus() >= 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert allocated_cpus() == 5
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "none")
    assert allocated_cpus() >= 1


@pytest.mark.parametrize(
    ("content", "expected"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("?", 8)]
)
def test_cpus_are_capped_by_a_containers_quota(tmp_path: Path, monkeypatch, content: str, expected: int) -> None:
    from nnunet_spine.nnunet import environment

    (tmp_path / "cpu.max").write_text(content)
    monkeypatch.setattr(environment, "CGROUP_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)))
    assert allocated_cpus() == expected
