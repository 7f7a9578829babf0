"""`nnunet-spine run` on this machine: interrupted, killed, run twice at once, changed, and run once more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_study import EPOCHS, MODELS, Study, assert_same_files, assert_same_weights, environment


def test_it_ends_in_a_report_with_the_notes(local: Study) -> None:
    page = (local.output / "report" / "index.html").read_text(encoding="utf-8")
    assert "Nothing follows from so few epochs." in page
    assert all(model in page for model in MODELS)
    comparison = json.loads((local.output / "comparison" / "comparison.json").read_text(encoding="utf-8"))
    assert "Nothing follows from so few epochs." in json.dumps(comparison)


def test_threads_stand_in_the_manifest(local: Study) -> None:
    found = [
        json.loads(p.read_text())["parameters"]["threads"] for p in local.output.glob("models/**/fold_*/manifest.json")
    ]
    assert found == [1, 1, 1, 1]


def test_two_trainings_of_one_thread_share_two_cpus(local: Study) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU only")
    cpus = len(os.sched_getaffinity(0))
    spans = [local.state(f"train/{model}/{fold}") for model in MODELS for fold in (0, 1)]
    starts = [(span["started"], 1) for span in spans] + [(span["ended"], -1) for span in spans]
    running = [sum(step for time_, step in starts if time_ <= moment) for moment, _ in starts]
    assert 2 <= max(running) <= cpus


def memory_gib() -> float:
    """Memory of this machine, or of the container that the tests run in."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    allowed = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(allowed) if allowed.isdecimal() else physical) / 2**30


def test_trainings_that_do_not_fit_together_wait_for_memory(local, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source, "documented")
    text = study.file.read_text(encoding="utf-8").replace(f"documented: {{epochs: {EPOCHS}", "documented: {epochs: 2")
    text = text.replace("resources:\n", f"resources:\n  train: {{cpus: 1, memory_gib: {0.6 * memory_gib():.2f}}}\n")
    study.file.write_text(f"{text}tensorboard: on\n", encoding="utf-8")
    done = study.run()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    first, second = sorted((study.state(f"train/documented/{fold}") for fold in (0, 1)), key=lambda s: s["started"])
    assert first["ended"] <= second["started"]
    folds = [path.parent.name for path in study.output.glob("models/documented/**/fold_*/tensorboard")]
    assert sorted(folds) == ["fold_0", "fold_1"]


def test_each_job_has_a_log_of_records(local: Study) -> None:
    log = local.output / "logs" / "train" / "documented" / "0.log"
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    assert all(set(record) == {"time", "level", "step", "case", "message"} for record in records)
    assert {record["step"] for record in records} == {"train/documented/0"}
    assert records[0]["message"].startswith("begins: nnunet-spine train ")
    assert records[-1]["message"] == "done"


def test_once_more_it_does_nothing_and_is_quick(local: Study) -> None:
    before = {p: p.stat().st_mtime_ns for p in local.output.glob("steps/**/*.json")}
    again = local.run("--dry-run")
    assert (again.returncode, again.stdout) == (0, "All is done; nothing to do.\n")
    again = local.run()
    assert again.returncode == 0, again.stderr
    assert {p: p.stat().st_mtime_ns for p in local.output.glob("steps/**/*.json")} == before


def planned(study: Study) -> list[str]:
    done = study.run("--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    return [step["step"] for step in json.loads(done.stdout)["steps"]]


def test_changed_epochs_of_one_model_leave_the_other_alone(local: Study, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source)
    (study.output / "state").mkdir()
    kept = {p: p.stat().st_mtime_ns for p in study.output.glob("models/no-bias/**/*") if p.is_file()}
    text = study.file.read_text(encoding="utf-8")
    study.file.write_text(text.replace(f"documented: {{epochs: {EPOCHS}", "documented: {epochs: 2"), encoding="utf-8")
    assert planned(study) == ["train/documented/0", "train/documented/1", "evaluate/documented", "compare", "report"]
    done = study.run()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    manifests = study.output.glob("models/documented/**/fold_*/manifest.json")
    assert [json.loads(p.read_text())["parameters"]["epochs"] for p in manifests] == [2, 2]
    # What was trained before is kept, not thrown away.
    assert len(list((study.output / "earlier").glob("train/documented/*/checkpoint_final.pth"))) == 2


def test_another_note_is_no_reason_to_train(local: Study, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source)
    study.file.write_text(study.file.read_text(encoding="utf-8") + "  - One more.\n", encoding="utf-8")
    assert planned(study) == ["compare", "report"]


def test_ctrl_c_ends_it_and_the_second_run_ends_like_an_undisturbed_one(
    local: Study, source: Path, tmp_path: Path
) -> None:
    study = local.untrained_copy(tmp_path, source, "documented")
    process = study.start()
    study.wait_for_checkpoints(process, "documented", 1)
    second = study.run()
    assert second.returncode == 1
    assert "another `nnunet-spine run`" in second.stderr
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 130, output
    assert "Run the same command again" in output
    assert "Traceback" not in output
    assert study.state("train/documented/0")["state"] == "stopped"
    done = study.run()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    assert study.state("train/documented/0")["attempts"] == 2
    assert_same_weights(study.output, local.output, "documented")
    assert assert_same_files(study.output, local.output, "models/documented/**/validation/*.nii.gz") == 6


def test_a_killed_driver_takes_its_jobs_along_and_running_again_completes(local, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source, "no-bias")
    process = study.start()
    study.wait_for_checkpoints(process, "no-bias", 1)
    process.kill()
    process.communicate()
    done = study.run()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    assert_same_weights(study.output, local.output, "no-bias")


def test_a_step_that_fails_is_named_with_its_log_and_the_others_go_on(local, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source, "documented")
    text = study.file.read_text(encoding="utf-8")
    study.file.write_text(
        text.replace("documented: {", "documented: {trainer: nnUNetTrainerNobody, "), encoding="utf-8"
    )
    done = study.run()
    assert done.returncode == 1
    log = study.output / "logs" / "train" / "documented" / "0.log"
    assert "train/documented/0 failed: There is no trainer 'nnUNetTrainerNobody'." in done.stderr
    assert str(log) in done.stderr
    status = subprocess.run(
        study.command("status", "--json"), env=environment(), capture_output=True, text=True, check=True
    )
    rows = {row["step"]: row for row in json.loads(status.stdout)["steps"]}
    assert rows["train/documented/0"]["state"] == "failed"
    assert rows["train/documented/0"]["log"] == str(log)
    assert rows["train/no-bias/1"]["state"] == "done"
    assert rows["report"]["state"] == "waiting"


def test_the_snakefile_runs_without_the_driver(local: Study, source: Path, tmp_path: Path) -> None:
    import sys

    study = local.untrained_copy(tmp_path, source)
    info = [sys.executable, "-m", "nnunet_spine", "info", "--snakefile"]
    snakefile = subprocess.run(info, env=environment(), capture_output=True, text=True, check=True).stdout.strip()
    command = [sys.executable, "-m", "snakemake", "-s", snakefile, "--directory", str(study.output)]
    command += ["--config", f"study={study.file}", "--cores", "2", "--rerun-triggers", "params"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (study.output / "report" / "index.html").is_file()


def test_a_changed_source_is_seen(local: Study, source: Path, tmp_path: Path) -> None:
    study = local.untrained_copy(tmp_path, source)
    image = source.parent / "image_0.nii.gz"
    times = image.stat()
    os.utime(image, (time.time(), time.time()))
    try:
        assert planned(study)[0] == "convert"
        done = study.run()
        # The file has the same bytes: converting again changed nothing, so nothing after it is done again.
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        assert study.state("convert")["state"] == "done"
        assert not list((study.output / "state").glob("plan/*.json"))
        assert not list((study.output / "state").glob("train/*/*.json"))
        assert planned(study) == []
    finally:
        os.utime(image, ns=(times.st_atime_ns, times.st_mtime_ns))
