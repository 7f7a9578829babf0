"""`nnunet-spine demo` as a user runs it: stopped with Ctrl-C in training, gone on with, and run once more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = [str(Path(sys.executable).with_name("nnunet-spine")), "demo", "--cases", "6", "--epochs", "3"]
START_LIMIT_SECONDS = 600


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}


@dataclass(frozen=True)
class Interrupted:
    """How the demo ended after Ctrl-C, and a fold of which the first epoch was complete before."""

    code: int
    errors: str
    begun_fold: Path


def interrupt_in_training(folder: Path) -> Interrupted:
    """Start the demo, press Ctrl-C once the first epoch of a fold has its checkpoint."""
    process = subprocess.Popen(
        [*COMMAND, "--output", str(folder)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = time.monotonic()
    while not (checkpoints := list(folder.rglob("checkpoint_latest.pth"))):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() - started < START_LIMIT_SECONDS
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return Interrupted(process.returncode, errors, checkpoints[0].parent)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("demo") / "out"


@pytest.fixture(scope="module")
def interrupted(folder: Path) -> Interrupted:
    return interrupt_in_training(folder)


@pytest.fixture(scope="module")
def completed(folder: Path, interrupted: Interrupted) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--output", str(folder)]
    return subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)


def test_ctrl_c_says_how_to_go_on(interrupted: Interrupted) -> None:
    assert interrupted.code == 130
    assert "Run the same command again" in interrupted.errors
    assert "Traceback" not in interrupted.errors


def test_it_goes_on_and_ends_well(completed, interrupted: Interrupted) -> None:
    assert completed.returncode == 0, completed.stderr
    assert "Traceback" not in completed.stderr
    logs = sorted(interrupted.begun_fold.glob("training_log*"))
    assert len(logs) == 2
    epochs = [line for path in logs for line in path.read_text().splitlines()]
    # Epoch 0 was complete when Ctrl-C came, so it stands in the first log alone.
    assert sum(bool(re.search(r"Epoch 0 *$", line)) for line in epochs) == 1


def test_it_prints_tables_comparison_and_report(completed, folder: Path) -> None:
    output = completed.stdout
    assert output.count("fold 0") >= 3
    assert "average" in output
    assert "far from trained: no conclusion" in output
    line = f"report: {folder / 'report' / 'index.html'}"
    assert line in output
    assert max(map(len, output.splitlines())) <= max(80, len(line))


def test_the_report_is_one_folder_that_names_the_departure(completed, folder: Path) -> None:
    page = (folder / "report" / "index.html").read_text(encoding="utf-8")
    assert "far from trained: no conclusion" in page
    assert "not a medical device" in page
    assert re.search(r"epochs: 3 instead of 400", page)
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    assert len(list((folder / "report" / "cases").glob("*.html"))) == 6
    assert (folder / "report" / "tables" / "comparison" / "paired.csv").is_file()


def test_both_models_are_judged_on_the_same_cases(completed, folder: Path) -> None:
    cases = [
        {
            (c["case"], c["fold"])
            for c in json.loads((folder / "evaluation" / m / "evaluation.json").read_text())["cases"]
        }
        for m in ("documented", "nnunet-auto")
    ]
    assert cases[0] == cases[1]
    assert len(cases[0]) == 6


def test_once_more_it_trains_nothing_and_is_quick(completed, folder: Path) -> None:
    checkpoints = {p: p.stat().st_mtime_ns for p in folder.rglob("*.pth")}
    started = time.monotonic()
    again = subprocess.run(
        [*COMMAND, "--output", str(folder), "--json"], env=environment(), capture_output=True, text=True, check=True
    )
    assert json.loads(again.stdout)["trained"] == []
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*.pth")} == checkpoints
    assert time.monotonic() - started < 60  # a guard against training anew, not a speed target


def test_no_patient_data_outside_the_export_and_the_mapping(completed, folder: Path) -> None:
    import pydicom

    identities = set()
    for path in (folder / "export").rglob("IM*"):
        header = pydicom.dcmread(
            path, stop_before_pixels=True, specific_tags=["PatientName", "PatientID", "StudyInstanceUID"]
        )
        identities |= {str(header.PatientName), str(header.PatientID), str(header.StudyInstanceUID)}
    text = completed.stdout + completed.stderr
    for path in folder.rglob("*"):
        inside = path.relative_to(folder).parts[0]
        if (
            path.is_file()
            and inside not in {"export", "private"}
            and path.suffix in {".json", ".csv", ".html", ".txt", ".log", ".md", ".js"}
        ):
            text += path.read_text(encoding="utf-8")
    assert identities
    assert [identity for identity in identities if identity in text] == []


def test_a_cohort_that_cannot_be_made_leaves_no_folder(tmp_path: Path) -> None:
    output = tmp_path / "new" / "demo"
    done = subprocess.run(
        [*COMMAND, "--output", str(output), "--background", str(tmp_path / "nowhere")],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert list(tmp_path.iterdir()) == []
