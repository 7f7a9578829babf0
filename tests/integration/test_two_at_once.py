"""Two commands on one place: at ten points of the first one's life the second says who is at work; nothing is torn."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_processes import COMMAND, environment, run

POINTS = 10

STOP = """
import sys

def stop(point):
    print(point, flush=True)
    sys.stdin.readline()

def progress(done, total, what=""):
    stop(f"{done} of {total}")

def before(module, name):
    function = getattr(module, name)
    def stopped(*arguments):
        stop(name)
        return function(*arguments)
    setattr(module, name, stopped)
"""

PLAN = """
from nnunet_spine.nnunet import planning
from nnunet_spine.nnunet.environment import Workspace
if __name__ == "__main__":
    before(planning, "_extract_fingerprint")
    before(planning, "advise")
    planning.plan_dataset("58", Workspace.from_environment(), progress=progress)
"""

PREPROCESS = """
from nnunet_spine.nnunet import preprocessing_run
from nnunet_spine.nnunet.environment import Workspace
if __name__ == "__main__":
    before(preprocessing_run, "_remove_other")
    before(preprocessing_run, "_run")
    preprocessing_run.preprocess_dataset("58", Workspace.from_environment(), progress=progress)
"""

PREDICT = """
from pathlib import Path
from nnunet_spine.nnunet import prediction
from nnunet_spine.nnunet.environment import Workspace
if __name__ == "__main__":
    before(prediction, "_write_manifest")
    before(prediction, "_predict")
    images, output = (Path(argument) for argument in sys.argv[1:])
    workspace = Workspace.from_environment()
    prediction.predict_folder(prediction.Model("58"), images, output, workspace, device="cpu", progress=progress)
"""


@contextmanager
def stopping(folder: Path, program: str, variables: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A program that prints each of its points and waits there for a line."""
    script = folder / "first.py"  # a file: its worker processes import it
    script.write_text(STOP + program)
    with subprocess.Popen(
        [sys.executable, str(script), *arguments],
        env={**variables, "SLURM_CPUS_PER_TASK": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def tried_at_each_point(first: subprocess.Popen[str], second: list[str], variables: dict[str, str]) -> list[str]:
    """Run the second command at each point of the first; the points."""
    points: list[str] = []
    assert first.stdout is not None
    assert first.stdin is not None
    for line in first.stdout:
        done = run(second, **variables)
        assert done.returncode == 2, (line, done.stdout, done.stderr)
        assert f"is being written by process {first.pid} on " in done.stderr
        assert "Wait until it has ended, and run again" in done.stderr
        assert "Traceback" not in done.stderr
        points.append(line.strip())
        first.stdin.write("\n")
        first.stdin.flush()
    errors = first.stderr.read() if first.stderr is not None else ""
    assert first.wait() == 0, errors
    return points


def files(folder: Path, *patterns: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for pattern in patterns for path in sorted(folder.glob(pattern))}


@pytest.fixture
def unprepared(tiny, tmp_path: Path) -> Path:
    """The data set's folder below nnUNet_preprocessed with its folds alone."""
    folder = tmp_path / "nnUNet_preprocessed" / tiny.dataset
    folder.mkdir(parents=True)
    shutil.copy(tiny.preprocessed / "splits_final.json", folder)
    return folder


def test_plan(tiny, unprepared: Path, tmp_path: Path) -> None:
    variables = environment(tiny, tmp_path / "results", nnUNet_preprocessed=str(unprepared.parent))
    with stopping(tmp_path, PLAN, variables) as first:
        points = tried_at_each_point(first, [*COMMAND, "plan", "58"], variables)
    assert len(points) == POINTS, points
    made = files(unprepared, "*.json", "*.csv")
    assert made == {
        name: content for name, content in files(tiny.preprocessed, "*.json", "*.csv").items() if name in made
    }
    assert {"nnUNetSpinePlans.json", "dataset_fingerprint.json", "nnUNetSpinePlans_bias_fields.csv"} <= made.keys()
    assert not [path for path in unprepared.iterdir() if path.name.startswith(".")]


def test_preprocess(tiny, unprepared: Path, tmp_path: Path) -> None:
    for name in ("nnUNetSpinePlans.json", "dataset.json"):
        shutil.copy(tiny.preprocessed / name, unprepared)
    variables = environment(tiny, tmp_path / "results", nnUNet_preprocessed=str(unprepared.parent))
    with stopping(tmp_path, PREPROCESS, variables) as first:
        points = tried_at_each_point(first, [*COMMAND, "preprocess", "58"], variables)
    assert len(points) == POINTS, points
    cases = "nnUNetSpinePlans_3d_fullres"
    assert files(unprepared / cases, "*") == files(tiny.preprocessed / cases, "*")
    assert files(unprepared / "gt_segmentations", "*") == files(tiny.preprocessed / "gt_segmentations", "*")
    assert not [path for path in unprepared.iterdir() if path.name.startswith(".")]


def test_predict(tiny, trained, tmp_path: Path) -> None:
    images, output, alone = (tmp_path / name for name in ("images", "output", "alone"))
    images.mkdir()
    for path in sorted((tiny.raw / "imagesTr").glob("*.nii.gz")):
        shutil.copy(path, images)
    variables = environment(tiny, trained.results)
    second = [*COMMAND, "predict", "58", "--input", str(images), "--device", "cpu", "--output"]
    with stopping(tmp_path, PREDICT, variables, str(images), str(output)) as first:
        points = tried_at_each_point(first, [*second, str(output)], variables)
    assert len(points) == POINTS, points
    done = run([*second, str(alone)], **variables)
    assert done.returncode == 0, done.stderr
    assert files(output, "*.nii.gz") == files(alone, "*.nii.gz")
    assert {path.name for path in output.iterdir()} == {path.name for path in alone.iterdir()}
    assert len(files(output, "*.nii.gz")) == 8
