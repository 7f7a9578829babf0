"""One job: the command of a step, watched, logged, stopped in time, and put back into SLURM's queue."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from types import FrameType
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, NotWritable, WorkFailed
from nnunet_spine.files import check_output, is_regular_file, make_folder, system_reason, write_json, write_text
from nnunet_spine.locks import got_lock
from nnunet_spine.nnunet.environment import allocated_cpus
from nnunet_spine.training.process_identity import is_process
from nnunet_spine.workflow.demands import demand_of, this_machine
from nnunet_spine.workflow.gpus import claim_gpus
from nnunet_spine.workflow.job_log import JobLog
from nnunet_spine.workflow.step_commands import command_of, fold_folder, variables_of
from nnunet_spine.workflow.step_results import record_of
from nnunet_spine.workflow.step_state import HEARTBEAT_SECONDS, State, StepState, begin, end
from nnunet_spine.workflow.study_places import EARLIER, prepare_output
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import Step, fingerprint, read_record, source_digest, source_note

STOPPED = 75
"""Exit code of a job that was stopped and goes on when it is run again (EX_TEMPFAIL)."""

STOPPED_CODES = (STOPPED, 130, 143, -signal.SIGTERM, -signal.SIGINT)
"""Exit codes of a command that was stopped from outside."""

DRIVER_VARIABLE = "NNUNET_SPINE_DRIVER"
"""Process and start of the driver, for jobs that are to end with it."""

TELLTALES = ("NNUNET_SPINE_DEBUG", "PYTHONWARNINGS", "PYTHONDEVMODE")
"""Variables with which a command prints what may name files of the source."""

LOCK_SECONDS = 60.0
"""How long a job waits for an earlier one of its step to end."""

GRACE_SECONDS = 300.0
"""How long a command may take to stop before it is killed."""

TICK_SECONDS = 0.2
LOOK_SECONDS = 20.0
"""How often SLURM is asked when the allocation ends."""


@dataclass(frozen=True)
class JobEnd:
    """How a job ended.

    Parameters
    ----------
    code
        0 done, 75 stopped, 1 failed.
    problem
        What went wrong, or None.
    """

    code: int
    problem: str | None = None


def run_job(study: StudySettings, step: Step) -> JobEnd:
    """Do a step unless it is done.

    Parameters
    ----------
    study, step
        What to do.

    Raises
    ------
    BadInput
        Where a step that this one needs is not done, or the output is not the study's to write.
    WorkFailed
        Where another job is at work on this step.
    """
    prepare_output(study)
    wanted = fingerprint(step, study)
    if wanted is None:
        raise BadInput(f"{step.name} needs {', '.join(step.needs)}, which are not all done. Use `nnunet-spine run`.")
    if driver_is_gone():
        return JobEnd(STOPPED, f"{step.name} was not begun: the run that it belongs to has ended.")
    with ExitStack() as stack:
        stack.enter_context(_sole_job(step.state(study).with_suffix(".lock"), step.name))
        record = read_record(step.record(study))
        if step.kind != "convert" and record is not None and record["fingerprint"] == wanted:
            return JobEnd(0)
        return _attempt(study, step, wanted, stack)


def _attempt(study: StudySettings, step: Step, wanted: str, stack: ExitStack) -> JobEnd:
    state = begin(step.state(study))
    log: JobLog | None = None
    try:
        log = JobLog(step.log(study), step.name, _cases(study), source=study.source, kept=study.own_places())
        code, time_is_up = _work(study, step, wanted, stack, log)
    except (NnunetSpineError, OSError) as error:
        reason = _reason(error) if log is None else log.without_source(_reason(error))
        if log is not None:
            log.write(reason, "ERROR")
        _end(step.state(study), state, State.FAILED, getattr(error, "exit_code", 1), reason)
        return JobEnd(1, f"{step.name}: {reason}")
    if code == 0:
        log.write("done")
        _end(step.state(study), state, State.DONE, 0, None)
        return JobEnd(0)
    if code in STOPPED_CODES:
        reason = log.last_error or log.last_line or "stopped"
        log.write(f"stopped with code {code}; it goes on when it is run again", "WARNING")
        _end(step.state(study), state, State.STOPPED, code, reason)
        if time_is_up and study.slurm.requeue:
            _requeue(log)
        return JobEnd(STOPPED, f"{step.name} was stopped: {reason}")
    reason = log.last_error or log.last_line or "no message"
    if code < 0:
        reason = f"killed by signal {-code}{', most often for want of memory' if code == -signal.SIGKILL else ''}"
    log.write(f"failed with code {code}: {reason}", "ERROR")
    _end(step.state(study), state, State.FAILED, code, reason)
    return JobEnd(1, f"{step.name}: {reason} Its log: {step.log(study)}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, NnunetSpineError):
        return f"A file cannot be read or written: {system_reason(error)}: {error.filename}"
    return str(error)


def _work(study: StudySettings, step: Step, wanted: str, stack: ExitStack, log: JobLog) -> tuple[int, bool]:
    """Run a step's command and write its record; the exit code, and whether it was stopped by its allocation's end."""
    looked_at = source_digest(study) if step.kind == "convert" else None
    if step.kind == "train":
        _set_aside_other(study, step, wanted, log)
    demand = demand_of(step, study, None if "SLURM_JOB_ID" in os.environ else this_machine())
    cpus = min(demand.cpus, allocated_cpus())
    gpus = stack.enter_context(claim_gpus(demand.gpus))
    command = command_of(step, study, cpus)
    code, time_is_up = 0, False
    if command is not None:
        log.write(f"begins: nnunet-spine {shlex.join(command)}")
        variables = {**variables_of(step, study, cpus), **gpus}
        code, time_is_up = Watched(command, variables, log, step.state(study), study).run()
    if code == 0:
        record = record_of(step, study, wanted)
        if looked_at is not None:
            write_text(source_note(step, study), looked_at)
        write_json(step.record(study), record)
    return code, time_is_up


def _end(path: Path, state: StepState, kind: State, code: int | None, error: str | None) -> None:
    """Write how a step ended; on a full disk the exit code and the message have to do."""
    with suppress(NotWritable):
        end(path, state, kind, code, error)


def _cases(study: StudySettings) -> list[str]:
    try:
        folder = study.workspace().raw / study.dataset_name() / "labelsTr"
        return [path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz")] if folder.is_dir() else []
    except (NnunetSpineError, OSError):
        return []


def _set_aside_other(study: StudySettings, step: Step, wanted: str, log: JobLog) -> None:
    """Move a fold's folder away that was begun with other settings or from other cases, and note what begins now."""
    folder = fold_folder(step, study)
    note = step.record(study).with_suffix(".begun")
    begun = note.read_text(encoding="ascii", errors="replace") if is_regular_file(note) else None
    if folder.is_dir() and begun != wanted:
        target = study.output / EARLIER / f"{step.name}_{time.strftime('%Y%m%dT%H%M%S')}_{os.getpid()}"
        make_folder(target.parent)
        try:
            shutil.move(folder, target)
        except OSError as error:
            raise NotWritable(f"Cannot move {folder} to {target}: {system_reason(error)}.") from error
        log.write(f"settings or cases changed: the earlier training is now {target}", "WARNING")
    if begun != wanted:
        write_text(note, wanted)


@contextmanager
def _sole_job(path: Path, name: str) -> Iterator[None]:
    """Hold a step's lock, which ends with this process."""
    make_folder(path.parent)
    check_output(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise NotWritable(f"Cannot write {path}: {system_reason(error)}.") from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while not got_lock(descriptor):
            if time.monotonic() > deadline:
                raise WorkFailed(f"Another job is at work on {name} ({path}). Wait until it has ended, and run again.")
            time.sleep(TICK_SECONDS)
        yield
    finally:
        os.close(descriptor)


class Watched:
    """A command under watch: its lines go to the log, signals and the end of the allocation stop it.

    Parameters
    ----------
    command
        Arguments of `nnunet-spine`.
    variables
        Environment variables beside those of this process.
    log
        Where its lines go.
    heartbeat
        File that is touched as long as it runs.
    study
        The study, for its SLURM settings.
    """

    def __init__(
        self, command: list[str], variables: Mapping[str, str], log: JobLog, heartbeat: Path, study: StudySettings
    ) -> None:
        self.command, self.variables, self.log, self.heartbeat = command, variables, log, heartbeat
        self.stop_before = study.slurm.stop_before_seconds
        self.asked_to_stop: str | None = None
        self.time_is_up = False

    def run(self) -> tuple[int, bool]:
        """Run the command to its end; its exit code, and whether it was stopped because the allocation ends."""
        handled = {number: signal.signal(number, self._signalled) for number in _STOP_SIGNALS}
        try:
            return self._run(), self.time_is_up
        finally:
            for number, earlier in handled.items():
                signal.signal(number, earlier)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if self.asked_to_stop is None:
            self.asked_to_stop = signal.Signals(number).name
            self.time_is_up = number == signal.SIGUSR1

    def _run(self) -> int:
        kept = {name: value for name, value in os.environ.items() if name not in TELLTALES}
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "nnunet_spine", *self.command],
                env={**kept, **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                # A session of its own: SLURM and a terminal signal whole groups; one signal shall reach the command.
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise WorkFailed(f"The step's command cannot be started: {system_reason(error)}.") from error
        reader = Thread(target=self._read, args=(process,), daemon=True)
        reader.start()
        try:
            code = self._watch(process)
        finally:
            _kill_group(process)
        reader.join(timeout=10)
        return code

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        if process.stdout is None:
            return
        with process.stdout as stream:
            for line in stream:
                # Of what overwrites itself on a terminal, the last state.
                self.log.output(line.decode("utf-8", "replace").rstrip().rpartition("\r")[2])

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        touched = looked = time.monotonic()
        killed_at: float | None = None
        while (code := process.poll()) is None:
            time.sleep(TICK_SECONDS)
            now = time.monotonic()
            if now - touched >= HEARTBEAT_SECONDS:
                touched = now
                with suppress(OSError):
                    self.heartbeat.touch()
                if self.asked_to_stop is None and driver_is_gone():
                    self.asked_to_stop = "the end of its driver"
            if self.asked_to_stop is None and now - looked >= min(LOOK_SECONDS, self.stop_before / 3):
                looked = now
                left = allocation_seconds_left()
                if left is not None and left <= self.stop_before:
                    self.asked_to_stop, self.time_is_up = "the end of its allocation", True
            if self.asked_to_stop is not None and killed_at is None:
                killed_at = now + GRACE_SECONDS
                self.log.write(f"stopping because of {self.asked_to_stop}", "WARNING")
                process.terminate()
            if killed_at is not None and now > killed_at:
                process.kill()
        return -signal.SIGTERM if self.asked_to_stop is not None and code == -signal.SIGKILL else code


_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def die_with_parent() -> None:
    """In a new process: be killed with the process that made it. Only Linux can; see `driver_is_gone`."""
    if sys.platform == "linux" and _prctl is not None:
        _prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


_prctl: Any = getattr(ctypes.CDLL(None), "prctl", None)
"""Looked up here, since a process that is just forked from one with threads should look up nothing."""


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """End whatever a command left of its own group, such as loader workers."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def driver_is_gone() -> bool:
    """Whether the driver that this job is to end with has ended."""
    pid, _, ticks = os.environ.get(DRIVER_VARIABLE, "").partition(":")
    return pid.isdecimal() and ticks.isdecimal() and not is_process(int(pid), int(ticks))


def allocation_seconds_left() -> float | None:
    """Seconds until SLURM ends this job, or None outside SLURM, without a limit, or where SLURM does not answer."""
    from datetime import datetime

    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return None
    answer = _ask(["squeue", "--noheader", "--jobs", job, "--format", "%e"])
    try:
        return datetime.fromisoformat(answer.strip()).timestamp() - time.time()
    except ValueError:
        return None


def _requeue(log: JobLog) -> None:
    """Put this job back into SLURM's queue and wait for SLURM to end it, so that the driver goes on following it."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None:
        return
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    log.write(f"asks SLURM to put job {job} back into the queue")
    done: Any = None
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.write(f"SLURM does not answer: {error}", "ERROR")
        return
    if done.returncode != 0:
        log.write(f"SLURM does not put job {job} back into the queue: {done.stderr.strip()}", "ERROR")
        return
    time.sleep(GRACE_SECONDS)


def _ask(command: list[str]) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
