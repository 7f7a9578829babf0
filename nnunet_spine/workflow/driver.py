"""Driving a study: everything is checked first, then Snakemake does the steps as a child process."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from nnunet_spine.errors import BadInput, NnunetSpineError, NotWritable, WorkFailed
from nnunet_spine.files import check_output, make_folder, system_reason
from nnunet_spine.locks import got_lock
from nnunet_spine.training.fold_lock import file_system_time
from nnunet_spine.training.process_identity import is_process, process_start
from nnunet_spine.workflow.demands import Demand, Machine, demand_of, this_machine
from nnunet_spine.workflow.engine import (
    check_remote_paths,
    engine_command,
    last_problem,
    require_engine,
    study_variables,
)
from nnunet_spine.workflow.job import DRIVER_VARIABLE, GRACE_SECONDS, die_with_parent
from nnunet_spine.workflow.plain_text import printable
from nnunet_spine.workflow.slurm_queue import cancel_jobs, job_prefix
from nnunet_spine.workflow.step_state import HEARTBEAT_SECONDS, SILENT_SECONDS, State, now, read_state
from nnunet_spine.workflow.study_places import check_places, check_source, prepare_output
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_status import Row, study_status
from nnunet_spine.workflow.study_steps import LOGS, RECORDS, STATES, Step, finished, source_digest, steps_of

TICK_SECONDS = 0.5
UPDATE_SECONDS = 2.0
START_SECONDS = 20.0
"""How long a driver waits for the processes of a killed one to end."""

ROUNDS_WITHOUT_PROGRESS = 3
"""How often Snakemake is started again although no step and no epoch was finished in between."""

Update = Callable[[Sequence[Row]], None]


@dataclass(frozen=True)
class Planned:
    """A step that is to be done, and what it needs.

    Parameters
    ----------
    step, demand
        The step and what it needs.
    """

    step: Step
    demand: Demand


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    rows
        All steps.
    failed
        Those that failed.
    stopped
        Whether it was stopped by a signal.
    problem
        What went wrong outside the steps, or None.
    """

    rows: tuple[Row, ...]
    failed: tuple[Row, ...] = ()
    stopped: bool = False
    problem: str | None = None


def plan_run(study: StudySettings, executor: str) -> list[Planned]:
    """Steps that are to be done, with what they need, after all that can be checked was checked; writes nothing.

    Parameters
    ----------
    study
        The study.
    executor
        "local" or "slurm".

    Raises
    ------
    BadInput, NotFound
        Where the source is absent, the output is not the study's to write, or a step needs more than this machine has.
    MissingDependency
        Where the engine, or SLURM's commands, are absent.
    """
    check_source(study)
    check_places(study)
    if executor == "slurm":
        check_remote_paths(study)
    require_engine(executor)
    machine = this_machine() if executor == "local" else None
    done = finished(study, source=source_digest(study))
    planned = [
        Planned(step, demand_of(step, study, machine)) for name, step in steps_of(study).items() if not done[name]
    ]
    if machine is not None:
        _check_size(planned, machine)
    return planned


def _check_size(planned: Sequence[Planned], machine: Machine) -> None:
    for item in planned:
        demand = item.demand
        if demand.memory_mb > machine.memory_mb and not demand.assumed:
            raise BadInput(
                f"{item.step.name} needs {demand.memory_mb} MiB of memory ({demand.reason}), and this machine has "
                f"{machine.memory_mb} MiB. Plan for less with memory_gib under the model, ask for less under "
                "resources, or use --executor slurm."
            )
        if demand.gpus > machine.gpus:
            raise BadInput(
                f"{item.step.name} needs {demand.gpus} GPUs, and this machine has {machine.gpus}. "
                "Set device: cpu, ask for less under resources, or use --executor slurm."
            )


def run_study(study: StudySettings, executor: str, *, jobs: int | None, update: Update) -> Outcome:
    """Do what is missing of a study.

    Parameters
    ----------
    study
        The study.
    executor
        "local" or "slurm".
    jobs
        Most jobs at once; None for as many as the machine holds, or 100 on a cluster.
    update
        Told of all steps every few seconds.

    Raises
    ------
    NotWritable
        Where the output cannot be written.
    WorkFailed
        Where another driver is at work on the study.
    """
    try:
        prepare_output(study)
        make_folder(study.output / LOGS)
        with _sole_driver(study) as lock:
            if executor == "slurm":
                cancel_jobs(job_prefix(study))
            return _Run(study, executor, jobs, update, lock).to_its_end()
    except (NnunetSpineError, BrokenPipeError):
        raise
    except OSError as error:
        raise NotWritable(f"Cannot work in {study.output}: {system_reason(error)}. Mend it, and run again.") from error


@contextmanager
def _sole_driver(study: StudySettings) -> Iterator[int]:
    """Hold the study's lock, which also the engine holds, so that it is free once both have ended.

    Not every file system has its locks across hosts, so the driver touches the file as long as it lives.
    """
    path = study.output / ".run.lock"
    check_output(path)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise NotWritable(f"Cannot write {path}: {system_reason(error)}. Choose another output.") from error
    try:
        _wait_for_lock(study, path, descriptor)
        _write_holder(descriptor, f"{os.getpid()} on {os.uname().nodename} since {now()}")
        try:
            with _touched(descriptor):
                yield descriptor
        finally:
            _write_holder(descriptor, "")
    finally:
        os.close(descriptor)


def _write_holder(descriptor: int, holder: str) -> None:
    with suppress(OSError):  # a full disk: the lock holds without its holder's name
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode("ascii", "replace"), 0)


def _wait_for_lock(study: StudySettings, path: Path, descriptor: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        holder = os.pread(descriptor, 200, 0).decode("ascii", "replace").strip()
        pid, _, rest = holder.partition(" ")
        here = not rest or f" {os.uname().nodename} " in f"{rest} "
        if got_lock(descriptor) and (here or _is_silent(path)):
            return
        alive = not here or not pid.isdecimal() or is_process(int(pid), None)
        if alive or time.monotonic() > deadline:
            raise WorkFailed(
                f"{study.output} is being worked on by another `nnunet-spine run` (process {printable(holder)}). "
                "Watch it with `nnunet-spine status --watch`, or end it first. One that was killed on another host "
                f"gives the study free after {SILENT_SECONDS:.0f} s."
            )
        time.sleep(TICK_SECONDS)


def _is_silent(path: Path) -> bool:
    """Whether the lock's last holder no longer touches it."""
    return file_system_time(path) - path.stat().st_mtime > SILENT_SECONDS


@contextmanager
def _touched(descriptor: int) -> Iterator[None]:
    """Touch an open file every few seconds for the block."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(HEARTBEAT_SECONDS):
            with suppress(OSError):
                os.utime(descriptor)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _forget_outdated(study: StudySettings) -> None:
    """Remove the records of steps that are to be done again, and let no record that holds be older than its inputs.

    The engine goes by times: a record that was written again with the same bytes, or copied, would look like a change.
    What the steps made stays for their commands to judge.
    """
    done = finished(study)
    for name, step in steps_of(study).items():
        record = step.record(study)
        if not done[name]:
            record.unlink(missing_ok=True)
            continue
        needed = [(study.output / RECORDS / f"{need}.json").stat().st_mtime_ns for need in step.needs]
        if needed and max(needed) > record.stat().st_mtime_ns:
            os.utime(record, ns=(max(needed), max(needed)))


class _Run:
    """One run of the engine until all is done, something failed, or a signal came."""

    def __init__(self, study: StudySettings, executor: str, jobs: int | None, update: Update, lock: int) -> None:
        self.study, self.executor, self.jobs, self.update, self.lock = study, executor, jobs, update, lock
        self.signal: int | None = None
        self.began = now()

    def to_its_end(self) -> Outcome:
        """Start the engine as often as steps were merely stopped."""
        handled = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            return self._rounds()
        finally:
            for number, earlier in handled.items():
                signal.signal(number, earlier)

    def _signalled(self, number: int, _frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number

    def _rounds(self) -> Outcome:
        idle, progress = 0, self._progress()
        while True:
            code = self._look_and_do()
            rows = tuple(study_status(self.study))
            self.update(rows)
            if self.signal is not None:
                return Outcome(rows, stopped=True)
            failed = tuple(row for row in rows if row.state is State.FAILED and self._was_now(row))
            if all(row.state is State.DONE for row in rows) or failed:
                return Outcome(rows, failed)
            reached = self._progress()
            idle = 0 if reached != progress else idle + 1
            progress = reached
            stopped = any(row.state is State.STOPPED for row in rows)
            if not stopped or idle >= ROUNDS_WITHOUT_PROGRESS:
                log = self.study.output / LOGS / "snakemake.log"
                return Outcome(rows, problem=f"Snakemake ended with code {code}: {last_problem(log)} See {log}.")

    def _look_and_do(self) -> int:
        """Convert where the source or the settings changed, then whatever that leaves to be done."""
        if not finished(self.study, source=source_digest(self.study))["convert"]:
            code = self._engine(only="convert")
            if not finished(self.study)["convert"] or self.signal is not None:
                return code
        _forget_outdated(self.study)
        return self._engine()

    def _was_now(self, row: Row) -> bool:
        state = read_state(self.study.output / STATES / f"{row.step}.json")
        return state is not None and (state.ended or "") >= self.began

    def _progress(self) -> tuple[int, int]:
        rows = study_status(self.study)
        return sum(row.state is State.DONE for row in rows), sum(row.epoch or 0 for row in rows)

    def _engine(self, *, only: str | None = None) -> int:
        log = self.study.output / LOGS / "snakemake.log"
        environment = {**os.environ, **study_variables(self.study)}
        if self.executor == "local":
            environment[DRIVER_VARIABLE] = f"{os.getpid()}:{process_start(os.getpid())}"
        check_output(log)
        with log.open("ab") as stream:
            process = subprocess.Popen(
                engine_command(self.study, self.executor, self.jobs, only=only),
                env=environment,
                cwd=self.study.output,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                preexec_fn=die_with_parent,
                pass_fds=(self.lock,),
            )
            return self._follow(process)

    def _follow(self, process: subprocess.Popen[bytes]) -> int:
        updated, told = 0.0, None
        while (code := process.poll()) is None:
            if self.signal is not None and told is None:
                told = time.monotonic()
                self._tell(process)
            if told is not None and time.monotonic() - told > GRACE_SECONDS:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            if time.monotonic() - updated > UPDATE_SECONDS:
                self.update(study_status(self.study))
                updated = time.monotonic()
            time.sleep(TICK_SECONDS)
        return code

    def _tell(self, process: subprocess.Popen[bytes]) -> None:
        """Pass a stop on: locally to the engine and its jobs alike, on SLURM to the engine, which cancels its jobs."""
        with suppress(ProcessLookupError):  # it has just ended
            if self.executor == "local":
                os.killpg(process.pid, signal.SIGTERM)
            else:
                process.send_signal(signal.SIGINT)
