"""Logs, states and records that somebody or something damaged: a sentence, never a traceback, and nothing elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_spine.cli.main import main
from nnunet_spine.errors import NotWritable, WorkFailed
from nnunet_spine.files import write_json
from nnunet_spine.workflow import driver
from nnunet_spine.workflow.demands import demand_of
from nnunet_spine.workflow.driver import run_study
from nnunet_spine.workflow.job import Watched
from nnunet_spine.workflow.job_log import JobLog
from nnunet_spine.workflow.step_commands import fold_folder
from nnunet_spine.workflow.step_state import State, begin, read_state
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_status import study_status
from nnunet_spine.workflow.study_steps import fingerprint, steps_of


@pytest.fixture
def study(tmp_path: Path) -> StudySettings:
    (tmp_path / "export").mkdir()
    (tmp_path / "study.yaml").write_text("source: export\noutput: out\nmodels:\n  a: {}\n", encoding="utf-8")
    return read_study(tmp_path / "study.yaml")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"{}",
        b"{",
        b"\xff\xfe\0",
        b'{"fingerprint": NaN}',
        b"[" * 100_000,
        b"9" * 5000,
        b'{"fingerprint": [1], "result": {}}',
        b'{"state": "running", "host": 5, "pid": "x", "started": []}',
    ],
)
def test_status_names_what_is_damaged(study: StudySettings, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    steps = steps_of(study)
    for path in (steps["convert"].record(study), steps["train/a/0"].record(study), steps["train/a/0"].state(study)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    for arguments in (["status", str(study.file)], ["status", str(study.file), "--json"]):
        assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    rows = {row["step"]: row for row in json.loads(shown.out[shown.out.index("{\n") :])["steps"]}
    for name in ("convert", "train/a/0"):
        assert rows[name]["state"] == "waiting"
        assert str(steps[name].record(study)) in rows[name]["error"]
        assert rows[name]["error"].endswith("`nnunet-spine run` does the step again.")
    assert rows["report"]["error"] is None


def test_status_shows_nothing_that_steers_a_terminal(study: StudySettings, capsys: pytest.CaptureFixture[str]) -> None:
    step = steps_of(study)["train/a/0"]
    state = {"state": "failed", "host": "a\x1b]0;b\x07", "pid": 1, "started": "", "error": "one\n\x1b[2Jtwo\udce9"}
    step.state(study).parent.mkdir(parents=True)
    step.state(study).write_text(json.dumps(state), encoding="ascii")
    assert main(["status", str(study.file)]) == 0
    shown = capsys.readouterr().out
    assert r"one\n\x1b[2Jtwo\udce9" in shown
    assert r"a\x1b]0;b\x07" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    "epoch",
    [
        {"epoch": "x"},
        {"epochs": 10**400},
        {"seconds": float("nan")},
        {"seconds": 1e308},
        {"train_loss": float("inf")},
        {"train_loss": [1]},
        {"host": {}},
    ],
)
def test_status_and_demands_take_a_damaged_log_of_epochs(study: StudySettings, epoch: dict[str, object]) -> None:
    step = steps_of(study)["train/a/0"]
    begin(step.state(study))
    line = {"epoch": 1, "epochs": 400, "train_loss": 0.5, "test_loss": 0.5, "pseudo_dice": 0.5, "learning_rate": 0.01}
    log = fold_folder(step, study) / "training_progress.jsonl"
    log.parent.mkdir(parents=True)
    text = "\n".join([json.dumps({**line, "seconds": 60.0, **epoch}), "[" * 100_000, "\0", "[]"])
    log.write_text(f"{text}\n", encoding="ascii")
    (row,) = (row for row in study_status(study) if row.step == step.name)
    json.dumps(row.as_dict(), allow_nan=False)
    assert demand_of(step, study).minutes <= 10**7


@pytest.mark.parametrize("facts", [[], "x", {"grid": None}, {"grid": [1, "x"]}, {"grid": [10**30], "cases": -1}])
def test_damaged_facts_are_none(study: StudySettings, facts: object) -> None:
    plan = steps_of(study)["plan/nnUNetSpinePlans"]
    write_json(plan.record(study), {"fingerprint": "x", "result": "x", "facts": facts})
    assert demand_of(steps_of(study)["train/a/0"], study).assumed


def test_a_log_keeps_one_record_a_line_whatever_a_command_prints(tmp_path: Path) -> None:
    log = JobLog(tmp_path / "step.log", "train/a/0", ["spine_001"])
    for line in (
        "a\0b",
        "broken \ufffd \udce9",
        "\x1b[31mred\x1b[0m",
        "x" * 100_000,
        "  5%|##   | 1/20",
        "two\u2028lines",
    ):
        log.output(line)
    log.output("error: spine_001 is bad\n")
    records = [json.loads(line) for line in (tmp_path / "step.log").read_text(encoding="utf-8").splitlines()]
    messages = [record["message"] for record in records]
    assert messages[:3] == [r"a\x00b", "broken \ufffd " + r"\udce9", r"\x1b[31mred\x1b[0m"]
    assert len(messages[3]) == 10_003
    assert messages[4:] == [r"two\u2028lines", "error: spine_001 is bad"]
    assert (records[-1]["level"], records[-1]["case"]) == ("ERROR", "spine_001")
    assert log.last_error == "spine_001 is bad"


def test_a_log_that_is_a_folder_or_a_link_fails_the_step_with_a_sentence(
    study: StudySettings, capsys: pytest.CaptureFixture[str]
) -> None:
    step = steps_of(study)["convert"]
    step.log(study).mkdir(parents=True)
    assert main(["job", str(study.file), "convert"]) == 1
    assert f"convert: {step.log(study)} is a folder" in capsys.readouterr().err
    state = read_state(step.state(study))
    assert state is not None
    assert state.state is State.FAILED
    with pytest.raises(NotWritable, match="is a link"):
        (study.output / "logs" / "link.log").symlink_to("/dev/null")
        JobLog(study.output / "logs" / "link.log", "convert")


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("", "has no step ''"),
        ("convert/../report", "has no step 'convert/../report'"),
        ("/etc/passwd", "has no step '/etc/passwd'"),
        ("train/a/99999999999999999999", "has no step"),
        ("x" * 10_000, "has no step 'xxx"),
        ("train/a/0", "train/a/0 needs preprocess/nnUNetSpinePlans, which are not all done"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    study: StudySettings, step: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["job", str(study.file), step]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert len(shown) < 1000


def test_a_full_disk_costs_no_traceback(study: StudySettings) -> None:
    # A limit on the size of files stands for a full disk: a write beyond it fails with a reason of the system.
    step = steps_of(study)["convert"]
    log = JobLog(step.log(study), step.name)
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from nnunet_spine.workflow.job_log import JobLog\n"
        "log = JobLog(Path(sys.argv[1]), 'convert')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))\n"
        "for number in range(100):\n"
        "    log.output(f'error: line {number}')\n"
        "print(log.last_error)\n"
        "from nnunet_spine.errors import NotWritable\n"
        "from nnunet_spine.files import write_json\n"
        "try:\n"
        "    write_json(Path(sys.argv[1]).with_name('state.json'), {'x': 'y' * 1000})\n"
        "except NotWritable as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(log.path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("line 99\nCannot write ")
    assert done.stderr == ""
    assert not (log.path.parent / "state.json").exists()


def test_a_command_that_prints_more_than_the_log_takes_does_not_hang(
    study: StudySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = steps_of(study)["convert"]
    state = begin(step.state(study))
    assert state.attempts == 1
    log = JobLog(step.log(study), step.name)
    log.path.unlink()
    log.path.mkdir()  # from now on no record can be appended
    watched = Watched(["info"], {}, log, step.state(study), study)
    assert watched.run() == (0, False)
    assert log.last_line is not None


def test_what_a_driver_cannot_write_is_a_sentence(study: StudySettings) -> None:
    (study.output / "logs" / "snakemake.log").mkdir(parents=True)
    with pytest.raises(NotWritable, match="snakemake.log is a folder"):
        run_study(study, "local", jobs=1, update=lambda _rows: None)


def test_a_driver_on_another_host_is_not_disturbed(study: StudySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    study.output.mkdir()
    lock = study.output / ".run.lock"
    lock.write_text("123 on node7 since 2026-11-28T10:00:00+00:00", encoding="ascii")
    with pytest.raises(WorkFailed, match=r"another `nnunet-spine run` \(process 123 on node7 since 2026"):
        run_study(study, "local", jobs=1, update=lambda _rows: None)
    # Its heartbeat stopped long ago: it was killed.
    old = lock.stat().st_mtime - 2 * driver.SILENT_SECONDS
    os.utime(lock, (old, old))
    with driver._sole_driver(study):
        assert lock.read_text(encoding="ascii").startswith(f"{os.getpid()} on {os.uname().nodename} since ")
        with pytest.raises(WorkFailed, match=f"process {os.getpid()} on "):
            run_study(study, "local", jobs=1, update=lambda _rows: None)
    assert lock.read_text(encoding="ascii") == ""


def test_a_state_of_more_attempts_than_there_can_be_is_damaged(study: StudySettings) -> None:
    step = steps_of(study)["convert"]
    state = {"state": "failed", "host": "a", "pid": 1, "started": "", "attempts": int("9" * 4000)}
    step.state(study).parent.mkdir(parents=True)
    step.state(study).write_text(json.dumps(state), encoding="ascii")
    assert begin(step.state(study)).attempts == 1


def test_a_record_with_another_fingerprint_is_outdated(study: StudySettings) -> None:
    step = steps_of(study)["convert"]
    write_json(step.record(study), {"fingerprint": "other", "result": "x", "\x1b": []})
    assert fingerprint(step, study) != "other"
    assert study_status(study)[0].state is State.WAITING
