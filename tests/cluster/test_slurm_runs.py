"""`nnunet-spine run --executor slurm` on a real SLURM: as on one machine, and through what a cluster does to jobs."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from slurm_cluster import Slurm, wait_for
from small_study import FOLDER, MODELS, Study, assert_same_files, assert_same_weights, files

ROUNDS = 3 if os.environ.get("NNUNET_SPINE_SOAK") else 1
"""Pre-emptions, and walltimes, of a run."""


@pytest.fixture(scope="session")
def on_slurm(slurm: Slurm, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The same study as the local one, undisturbed."""
    study = Study.write(tmp_path_factory.mktemp("slurm") / FOLDER, source)
    done = study.run("--executor", "slurm")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    return study


@pytest.mark.parametrize(
    "name", ["100%", "a\\b", "$(touch pwned)", "`touch pwned`", "both ' and \"", "wide\u3000blank"]
)
def test_a_folder_that_the_executor_for_slurm_cannot_name_is_refused(
    slurm: Slurm, source: Path, tmp_path: Path, name: str
) -> None:
    study = Study.write(tmp_path / name, source)
    for arguments in (["--dry-run"], []):
        done = study.run("--executor", "slurm", *arguments)
        assert done.returncode == 2
        assert "which a shell or SLURM takes for something else" in done.stderr
    assert not study.output.exists()
    assert not list(tmp_path.rglob("pwned"))
    assert study.run("--dry-run").returncode == 0  # on this machine it works


def test_its_steps_ran_as_slurm_jobs(on_slurm: Study) -> None:
    jobs = [on_slurm.state(f"train/{model}/{fold}")["job"] for model in MODELS for fold in (0, 1)]
    assert all(str(job).isdecimal() for job in jobs)
    assert len(set(jobs)) == 4


def test_folds_plans_and_tables_equal_the_local_ones(local: Study, on_slurm: Study) -> None:
    shared = "nnUNet_preprocessed/*/"
    patterns = [f"{shared}splits_final.json", f"{shared}nnUNetSpinePlans*.json", f"{shared}*.csv"]
    plans = files(local.output, *patterns)
    plans = {name: path for name, path in plans.items() if not name.endswith("manifest.json")}
    assert len(plans) == 1 + 2 + 4
    assert [name for name, path in plans.items() if path.read_bytes() != (on_slurm.output / name).read_bytes()] == []
    assert assert_same_files(local.output, on_slurm.output, "nnUNet_raw/*/imagesTr/*", "nnUNet_raw/*/labelsTr/*") == 12


def test_preprocessed_arrays_equal_the_local_ones(local: Study, on_slurm: Study) -> None:
    import blosc2

    first, second = (files(s.output, "nnUNet_preprocessed/*/*_3d_fullres/*.b2nd") for s in (local, on_slurm))
    assert first.keys() == second.keys()
    assert len(first) == 2 * 6 * 2
    for name, path in first.items():
        np.testing.assert_array_equal(blosc2.open(str(path))[:], blosc2.open(str(second[name]))[:])


@pytest.mark.parametrize("model", MODELS)
def test_weights_and_predictions_equal_the_local_ones(local: Study, on_slurm: Study, model: str) -> None:
    assert_same_weights(local.output, on_slurm.output, model)
    assert assert_same_files(local.output, on_slurm.output, f"models/{model}/**/validation/*.nii.gz") == 6


def test_evaluations_and_tables_equal_the_local_ones(local: Study, on_slurm: Study) -> None:
    assert assert_same_files(local.output, on_slurm.output, "evaluation/*/*.csv", "comparison/*.csv") >= 4
    for model in MODELS:
        name = f"evaluation/{model}/evaluation.json"
        one, other = (json.loads((s.output / name).read_text(encoding="utf-8")) for s in (local, on_slurm))
        assert one == other


def running(slurm: Slurm) -> list[str]:
    return [job["job"] for job in slurm.jobs() if job["state"] == "RUNNING" and job["partition"] == "low"]


def wait_for_more_attempts(
    study: Study, slurm: Slurm, process: subprocess.Popen[str], model: str, began: int, seconds: float = 180
) -> None:
    """Wait until more attempts at a model's trainings than `began` have begun."""

    def is_another() -> bool:
        assert process.poll() is None, f"the study ended after {began} attempts"
        start_what_waits(slurm)
        return attempts(study, model) > began

    wait_for(is_another, "a new attempt", seconds)


def start_what_waits(slurm: Slurm) -> None:
    """Shorten SLURM's delay of two minutes before a requeued job may start, and give it time again."""
    for job in slurm.jobs():
        if job["state"] == "PENDING" and job["partition"] == "low":
            slurm.run("scontrol", "update", f"jobid={job['job']}", "StartTime=now", "TimeLimit=60", check=False)


def finish(study: Study, slurm: Slurm, process: subprocess.Popen[str], seconds: float = 600) -> None:
    """Wait for the driver, which needs no person; the test only shortens delays."""
    deadline = time.monotonic() + seconds
    while process.poll() is None:
        assert time.monotonic() < deadline, study.complaint()
        start_what_waits(slurm)
        time.sleep(2)
    output = process.communicate()[0]
    assert process.returncode == 0, f"{output}{study.complaint()}"


def attempts(study: Study, model: str) -> int:
    return sum(study.state(f"train/{model}/{fold}").get("attempts", 0) for fold in (0, 1))


def test_preempted_trainings_complete_by_themselves(local: Study, slurm: Slurm, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source, "documented")
    process = study.start("--executor", "slurm")
    for number in range(ROUNDS):
        study.wait_for_checkpoints(process, "documented", 1)
        began = attempts(study, "documented")
        higher = slurm.run("sbatch", "--parsable", "-p", "high", "-c", "2", "--output=/dev/null", "--wrap", "sleep 2")
        number = higher.stdout.strip()
        wait_for(lambda job=number: job not in {j["job"] for j in slurm.jobs()}, "the higher job to end", 120)
        wait_for_more_attempts(study, slurm, process, "documented", began)
    finish(study, slurm, process)
    assert attempts(study, "documented") >= 2 + ROUNDS
    assert_same_weights(study.output, local.output, "documented")
    assert assert_same_files(study.output, local.output, "models/documented/**/validation/*.nii.gz") == 6


def test_a_walltime_shorter_than_the_training_takes_several_allocations(
    local, slurm, source: Path, tmp_path: Path
) -> None:
    study = local.untrained_copy(tmp_path, source, "no-bias")
    process = study.start("--executor", "slurm")
    for _ in range(ROUNDS):
        study.wait_for_checkpoints(process, "no-bias", 1)
        began = attempts(study, "no-bias")
        for job in running(slurm):
            slurm.run("scontrol", "update", f"jobid={job}", "TimeLimit=1", check=False)
        wait_for_more_attempts(study, slurm, process, "no-bias", began)
    finish(study, slurm, process)
    logs = "".join(p.read_text(encoding="utf-8") for p in (study.output / "logs" / "train" / "no-bias").glob("*.log"))
    assert logs.count("stopping because of the end of its allocation") >= ROUNDS
    assert "back into the queue" in logs
    assert_same_weights(study.output, local.output, "no-bias")


def test_a_killed_driver_is_run_again(local: Study, slurm: Slurm, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source, "documented")
    process = study.start("--executor", "slurm")
    study.wait_for_checkpoints(process, "documented", 1)
    process.kill()
    process.communicate()
    left = running(slurm)
    assert left  # jobs of SLURM outlive the driver
    again = study.start("--executor", "slurm")
    finish(study, slurm, again)
    assert not set(left) & {job["job"] for job in slurm.jobs()}
    assert_same_weights(study.output, local.output, "documented")


def test_a_killed_node_comes_back_and_the_study_completes(
    local: Study, slurm: Slurm, source: Path, tmp_path: Path
) -> None:
    study = local.untrained_copy(tmp_path, source, "no-bias")
    process = study.start("--executor", "slurm")
    study.wait_for_checkpoints(process, "no-bias", 1)
    slurm.kill_node()
    time.sleep(1)
    slurm.start_node()
    finish(study, slurm, process)
    assert_same_weights(study.output, local.output, "no-bias")
