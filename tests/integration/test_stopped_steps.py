"""Preprocessing and prediction that a scheduler's SIGTERM stops: nothing half written, and run again equal bytes."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
from training_processes import COMMAND, environment, run, started, wait_until

ONE_CPU = {"SLURM_CPUS_PER_TASK": "1"}


def stop(arguments: list[str], variables: dict[str, str], first: Path, ending: str) -> str:
    """Start a command, send SIGTERM once a first result of it is there; what it said of its end."""
    with started(arguments, variables) as process:
        wait_until(lambda: list(first.glob(f"*{ending}")), process)
        sent = time.monotonic()
        os.kill(process.pid, signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Run the same command again" in errors
    assert "Traceback" not in errors
    assert time.monotonic() - sent < 30
    return errors


def contents(folder: Path, *endings: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name.endswith(endings)}


def test_preprocessing_that_is_stopped_goes_on_with_equal_bytes(tiny, tmp_path: Path) -> None:
    data = tiny.preprocessed / "nnUNetSpinePlans_3d_fullres"
    preprocessed = tmp_path / "nnUNet_preprocessed" / tiny.dataset
    shutil.copytree(tiny.preprocessed, preprocessed, ignore=shutil.ignore_patterns("*3d_fullres*", "gt_*"))
    variables = environment(tiny, tmp_path / "results", nnUNet_preprocessed=str(preprocessed.parent), **ONE_CPU)
    arguments = [*COMMAND, "preprocess", "58"]
    made = preprocessed / data.name
    stop(arguments, variables, made, ".pkl")
    whole = {path.name.split(".")[0] for path in made.glob("*.pkl")}
    assert 1 <= len(whole) < 8
    assert {path.name for path in made.iterdir()} == {
        f"{case}{part}" for case in whole for part in (".b2nd", "_seg.b2nd", ".pkl")
    }
    assert not list(preprocessed.glob(".*partial*"))
    done = run(arguments, **variables)
    assert done.returncode == 0, done.stderr
    assert contents(made, ".b2nd", ".pkl") == contents(data, ".b2nd", ".pkl")


def many_images(tiny, folder: Path) -> Path:
    """32 images to predict."""
    folder.mkdir()
    for number in range(4):
        for image in sorted((tiny.raw / "imagesTr").glob("*.nii.gz")):
            shutil.copyfile(image, folder / f"n{number}_{image.name}")
    return folder


def test_prediction_that_is_stopped_goes_on_with_equal_bytes(tiny, trained, tmp_path: Path) -> None:
    images = many_images(tiny, tmp_path / "images")
    variables = environment(tiny, trained.results, **ONE_CPU)
    arguments = [*COMMAND, "predict", "58", "--input", str(images), "--device", "cpu", "--output"]
    stop([*arguments, str(tmp_path / "stopped")], variables, tmp_path / "stopped", ".nii.gz")
    made = contents(tmp_path / "stopped", ".nii.gz")
    assert 1 <= len(made) < 32
    for output in ("stopped", "undisturbed"):
        done = run([*arguments, str(tmp_path / output)], **variables)
        assert done.returncode == 0, done.stderr
    whole = contents(tmp_path / "undisturbed", ".nii.gz")
    assert len(whole) == 32
    assert contents(tmp_path / "stopped", ".nii.gz") == whole
    assert made.items() <= whole.items()


def test_a_killed_worker_of_a_prediction_is_told_and_the_finished_cases_are_kept(tiny, trained, tmp_path) -> None:
    images = many_images(tiny, tmp_path / "images")
    output = tmp_path / "out"
    variables = environment(tiny, trained.results, **ONE_CPU)
    arguments = [*COMMAND, "predict", "58", "--input", str(images), "--device", "cpu", "--output", str(output)]
    with started(arguments, variables) as process:
        wait_until(lambda: list(output.glob("*.nii.gz")), process)
        # Below the command is the process that workers are forked from, and below that the one that predicts.
        workers = [child for child in psutil.Process(process.pid).children(recursive=True) if not child.children()]
        for worker in workers:
            if "resource_tracker" not in " ".join(worker.cmdline()):
                worker.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "A worker process was ended from outside" in errors
    assert "Traceback" not in errors
    assert not list(output.glob(".*.partial.*"))
    assert 1 <= len(list(output.glob("*.nii.gz"))) < 32
