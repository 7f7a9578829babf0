"""What is Linux-only is taken away in real processes (`other_system/sitecustomize.py`): conversion and studies work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.training.fold_lock import LOCK_FILE

NAME = "Dataset058_IntraduralSpineTumor"
SYSTEMS = ("linux", "other")


def environment(system: str = "other", **more: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    paths = [str(Path(__file__).parents[2])]
    paths = [str(Path(__file__).with_name("other_system")), *paths] if system == "other" else paths
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), **more}


def run(*arguments: str, system: str = "other") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nnunet_spine", *arguments]
    return subprocess.run(
        command,
        env=environment(system),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        stdin=subprocess.PIPE,
    )


def script(code: str, *arguments: str) -> str:
    """What a script prints on the other system."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def living(code: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A script on the other system, from its first line of output on; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def write_cases(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    rows = ["patient,image,reference"]
    for number in range(count):
        values = np.random.default_rng(number).normal(100, 20, (5, 12, 9)).astype(np.float32)
        mask = np.zeros(values.shape, np.uint8)
        mask[2, 3 : 6 + number % 4, 4] = 1
        for what, array in (("image", values), ("mask", mask)):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((0.7, 0.7, 3.5))
            sitk.WriteImage(image, str(folder / f"{what}{number}.nii.gz"))
        rows.append(f"P{number},image{number}.nii.gz,mask{number}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n", encoding="ascii")
    return folder / "cases.csv"


def bytes_below(folder: Path) -> dict[str, bytes]:
    """The bytes of files that hold no times."""
    kept = (path for path in folder.rglob("*") if path.is_file() and path.suffix in {".gz", ".json", ".csv"})
    timed = ("manifest", "conversion_report")
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept if not path.name.startswith(timed)}


def test_what_linux_has_is_really_missing() -> None:
    assert (
        script(
            "import os, sys, multiprocessing\n"
            "from nnunet_spine.workflow import job\n"
            "from nnunet_spine.training.fold_lock import _place\n"
            "from nnunet_spine.files import _exchanged\n"
            "from pathlib import Path\n"
            "print(hasattr(os, 'sched_getaffinity'), job._prctl, multiprocessing.get_start_method(),\n"
            "      _place() == os.uname().nodename, _exchanged(Path('a'), Path('b')))\n"
        )
        == "False None spawn True False"
    )


def test_a_data_set_is_made_and_grows_with_the_same_bytes(tmp_path: Path) -> None:
    for count in (6, 8):  # the second time, the new data set takes the place of the old one
        source = write_cases(tmp_path / "source", count)
        for system in SYSTEMS:
            done = run("convert", str(source), "--root", str(tmp_path / system), system=system)
            assert done.returncode == 0, done.stderr
        raw = [bytes_below(tmp_path / system / "nnUNet_raw" / NAME) for system in SYSTEMS]
        assert raw[0] == raw[1]
        assert len([name for name in raw[0] if name.startswith("imagesTr")]) == count
    assert bytes_below(tmp_path / "linux" / "nnUNet_preprocessed") == bytes_below(
        tmp_path / "other" / "nnUNet_preprocessed"
    )


def test_a_study_and_its_status_work(tmp_path: Path) -> None:
    source = write_cases(tmp_path / "source", 6)
    study = tmp_path / "study.yaml"
    study.write_text(f"source: {source}\noutput: out\nfolds: 2\nmodels:\n  a: {{}}\n", encoding="utf-8")
    planned = run("run", str(study), "--dry-run", "--json")
    assert planned.returncode == 0, planned.stderr
    assert json.loads(planned.stdout)["steps"][0]["memory_mb"] > 0
    assert run("job", str(study), "convert").returncode == 0
    shown = run("status", str(study), "--json")
    assert json.loads(shown.stdout)["steps"][0]["state"] == "done", shown.stdout
    # The next step fails at once: driver, Snakemake and job take their part on the way.
    models = "models:\n  a: {trainer: Nobody, plans: Missing, memory_gib: 0.001}\n"
    study.write_text(f"source: {source}\noutput: out\nfolds: 2\n{models}", encoding="utf-8")
    done = run("run", str(study))
    assert done.returncode == 1, done.stdout
    assert "plan/Missing failed: " in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


BEGIN = """
import sys
from pathlib import Path
from nnunet_spine.workflow.step_state import begin
begin(Path(sys.argv[1]))
print("begun", flush=True)
sys.stdin.read()
"""

IS_ALIVE = """
import sys
from pathlib import Path
from nnunet_spine.workflow.step_state import is_alive, read_state
print(is_alive(Path(sys.argv[1]), read_state(Path(sys.argv[1]))))
"""


def test_a_job_is_known_to_live_or_to_have_died(tmp_path: Path) -> None:
    path = str(tmp_path / "state.json")
    with living(BEGIN, path) as job:
        assert script(IS_ALIVE, path) == "True"
        job.kill()
        # Until this process takes notice, the job is a zombie: dead all the same.
        os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)
        assert script(IS_ALIVE, path) == "False"
    # A living process of the same number that began at another time is another one.
    state = json.loads(Path(path).read_text(encoding="utf-8"))
    Path(path).write_text(json.dumps({**state, "pid": os.getpid()}), encoding="utf-8")
    assert script(IS_ALIVE, path) == "False"


HOLD = """
import sys
from pathlib import Path
from nnunet_spine.training.fold_lock import sole_trainer
with sole_trainer(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""

TRY = """
import sys
from pathlib import Path
from nnunet_spine.errors import WorkFailed
from nnunet_spine.training.fold_lock import sole_trainer
try:
    with sole_trainer(Path(sys.argv[1])):
        print("taken over")
except WorkFailed as error:
    print(error)
"""


def test_the_lock_of_a_fold_is_held_and_taken_over(tmp_path: Path) -> None:
    with living(HOLD, str(tmp_path)) as holder:
        assert f"is being trained by process {holder.pid} on " in script(TRY, str(tmp_path))
        holder.kill()
        holder.wait()
        assert (tmp_path / LOCK_FILE).is_file()
        assert script(TRY, str(tmp_path)) == "taken over"


def test_the_lock_of_a_process_whose_number_was_given_again_is_taken_over(tmp_path: Path) -> None:
    with living(HOLD, str(tmp_path)) as holder:
        holder.kill()
        holder.wait()
    lock = tmp_path / LOCK_FILE
    lock.write_text(json.dumps({**json.loads(lock.read_text("utf-8")), "pid": os.getpid()}), encoding="utf-8")
    assert script(TRY, str(tmp_path)) == "taken over"


WATCH = """
import sys
from pathlib import Path
from nnunet_spine.workflow.job import Watched
from nnunet_spine.workflow.job_log import JobLog
from nnunet_spine.workflow.step_state import begin
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_steps import steps_of
study = read_study(Path(sys.argv[1]))
step = steps_of(study)["convert"]
begin(step.state(study))
log = JobLog(step.log(study), step.name)
print("begun", flush=True)
print(Watched(["status", sys.argv[1], "--watch"], {}, log, step.state(study), study).run())
"""

START = """
import sys
from nnunet_spine.training.process_identity import process_start
print(process_start(int(sys.argv[1])))
"""


def test_a_job_ends_with_its_driver(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    study = tmp_path / "study.yaml"
    study.write_text("source: export\noutput: out\nmodels:\n  a: {}\n", encoding="utf-8")
    driver = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        variable = f"{driver.pid}:{script(START, str(driver.pid))}"
        with living(WATCH, str(study), NNUNET_SPINE_DRIVER=variable) as job:
            driver.kill()
            driver.wait()
            printed, errors = job.communicate(timeout=60)
            assert printed.strip() == "(-15, False)", errors
    finally:
        driver.kill()
        driver.communicate()
    log = (tmp_path / "out" / "logs" / "convert.log").read_text(encoding="utf-8")
    assert "stopping because of the end of its driver" in log


DRIVE = """
import sys
from pathlib import Path
from nnunet_spine.workflow.driver import _sole_driver
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_places import prepare_output
study = read_study(Path(sys.argv[1]))
prepare_output(study)
with _sole_driver(study):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_run_says_who_holds_the_study_and_a_killed_one_gives_it_free(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    study = tmp_path / "study.yaml"
    study.write_text("source: export\noutput: out\nmodels:\n  a: {}\n", encoding="utf-8")
    with living(DRIVE, str(study)) as first:
        second = run("run", str(study))
        assert second.returncode == 1
        assert f"is being worked on by another `nnunet-spine run` (process {first.pid} on " in second.stderr
        first.kill()
        first.wait()
        third = run("run", str(study))
        assert third.stderr.startswith("error: convert failed: "), third.stderr


def test_phantoms_are_made(tmp_path: Path) -> None:
    done = run("phantoms", "--output", str(tmp_path / "cohort"), "--cases", "2")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("pid", ["0", "-1", "99999999999999999999"])
def test_a_number_that_no_process_has_is_nobody(pid: str) -> None:
    assert script(START, pid) == "None"
