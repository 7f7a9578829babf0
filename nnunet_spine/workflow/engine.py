"""The engine of a study: what it must be, how it is called, and what its log says of an error."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, MissingDependency
from nnunet_spine.workflow.demands import this_machine
from nnunet_spine.workflow.slurm_queue import job_prefix
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_places import prepare_output
from nnunet_spine.workflow.study_settings import StudySettings

SNAKEFILE = Path(__file__).with_name("Snakefile")

STUDY_VARIABLE = "NNUNET_SPINE_STUDY"
"""Path of the study file. In an environment variable a path needs no quotes."""

PYTHON_VARIABLE = "NNUNET_SPINE_PYTHON"

JOB_COMMAND = f'exec "${PYTHON_VARIABLE}" -m nnunet_spine job "${STUDY_VARIABLE}"'
"""What the shell of each rule runs, before the step's name; `exec`, so that a signal to its group reaches the job."""

_PLAIN_PATH = re.compile(r"[\w@%+=:,./-]+")
"""A path that a shell takes as it is."""

FIRST_MISCOUNTING, FIRST_RIGHT = (9, 10), (9, 17)
"""Versions of Snakemake from and before which a job that is ready alone gives back more than it took (issue 3913)."""

SLURM_JOBS = 100
"""Most jobs in the queue at once."""


def require_engine(executor: str) -> None:
    """Raise `MissingDependency` where the engine, or for "slurm" SLURM's commands, are absent or cannot be used."""
    wanted = ["snakemake", *(["snakemake_executor_plugin_slurm"] if executor == "slurm" else [])]
    absent = [name for name in wanted if not _is_installed(name)]
    if absent:
        raise MissingDependency(
            f"{' and '.join(absent)} cannot be imported, and `run` works by it. "
            "Install it with pip install 'nnunet_spine[cluster]', or in this project's folder pip install '.[cluster]'."
        )
    version = metadata.version("snakemake")
    if executor == "local" and FIRST_MISCOUNTING <= _numbers(version) < FIRST_RIGHT:
        raise MissingDependency(
            f"Snakemake {version} starts more jobs than there are cores and memory (9.10 to 9.16 do). "
            "Install another: pip install 'snakemake==9.9.0'."
        )
    if executor == "slurm":
        without = [name for name in ("sbatch", "squeue", "scancel") if shutil.which(name) is None]
        if without:
            raise MissingDependency(
                f"There is no command {' nor '.join(without)} here. Run on a machine from which jobs are submitted, "
                "or use --executor local."
            )


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())


def engine_study(config: Mapping[str, Any]) -> StudySettings:
    """Read the study that Snakemake was started for, and set the variables of `JOB_COMMAND`.

    Parameters
    ----------
    config
        Snakemake's configuration. Its key `study` goes before the variable `STUDY_VARIABLE`.

    Raises
    ------
    BadInput
        If no study is named, or Snakemake works in another folder than the study's output.
    """
    file = config.get("study") or os.environ.get(STUDY_VARIABLE)
    if not file:
        raise BadInput(f"Name the study file in the variable {STUDY_VARIABLE}.")
    study = read_study(Path(str(file)))
    if not study.output.is_dir() or not study.output.samefile(Path.cwd()):
        raise BadInput(
            f"Snakemake works in {Path.cwd()}. Start it with --directory {study.output}, the study's output."
        )
    prepare_output(study)
    if "memory_mb" not in config:  # not for this machine, as far as can be seen
        check_remote_paths(study)
        if "study" in config and _odd_character(study.file) is not None:
            raise BadInput(
                f"Name the study file in the variable {STUDY_VARIABLE}: its path is not plain text to a shell."
            )
    os.environ.update({PYTHON_VARIABLE: sys.executable, **study_variables(study)})
    return study


def check_remote_paths(study: StudySettings) -> None:
    """Refuse paths that SLURM, or the shell line that an executor writes for another machine, does not take.

    Raises
    ------
    BadInput
        If there is one.
    """
    odd = _odd_character(study.output)
    if odd is not None:
        raise study.refuse(
            "output",
            f"{study.output} has {odd!r} in it, which a shell or SLURM takes for something else where Snakemake's "
            "executor writes this path. Rename the folder, or use `nnunet-spine run` with --executor local.",
        )
    for path in (sys.executable, str(SNAKEFILE)):
        if not _PLAIN_PATH.fullmatch(path):
            raise BadInput(
                f"{path} holds a character that means something to a shell, and Snakemake's executor writes it into "
                "one. Install this package below a folder with a plain name, or use --executor local."
            )


def _odd_character(path: Path) -> str | None:
    """A character that an executor's quoting does not cover: that of Python, for SLURM between double quotes."""
    text = str(path)
    odd = next((character for character in text if character in "$`\\%" or not character.isprintable()), None)
    return '"' if odd is None and "'" in text and '"' in text else odd


def study_variables(study: StudySettings) -> dict[str, str]:
    """Environment variables for Snakemake: the study, and no code from the folder that it works in."""
    return {STUDY_VARIABLE: str(study.file), "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


def engine_command(study: StudySettings, executor: str, jobs: int | None, *, only: str | None = None) -> list[str]:
    """Snakemake's command line for a study, or for one of its steps, which is then done again.

    It is started in the study's output, with `study_variables`. It does what has no record: which records hold is
    judged before it starts.
    """
    command = [sys.executable, "-m", "snakemake", *([only, "--forcerun", only] if only else [])]
    command += ["--snakefile", str(SNAKEFILE)]
    command += ["--rerun-triggers", "params", "--rerun-incomplete", "--keep-going", "--nolock", "--nocolor"]
    command += ["--scheduler", "greedy"]
    if executor == "local":
        machine = this_machine()
        command += ["--config", f"cpus={machine.cpus}", f"memory_mb={machine.memory_mb}", f"gpus={machine.gpus}"]
        command += ["--cores", str(machine.cpus)]
        limits = [f"mem_mb={machine.memory_mb}", f"gpu={machine.gpus}", *([f"jobs_at_once={jobs}"] if jobs else [])]
        return [*command, "--resources", *limits]
    slurm = study.slurm
    command += ["--executor", "slurm", "--jobs", str(jobs or SLURM_JOBS), "--latency-wait", "60"]
    command += ["--slurm-jobname-prefix", job_prefix(study), "--slurm-logdir", str(Path("logs") / "slurm")]
    command += ["--seconds-between-status-checks", str(slurm.poll_seconds)]
    command += ["--slurm-init-seconds-before-status-checks", str(slurm.poll_seconds)]
    command += ["--slurm-requeue"] if slurm.requeue else ["--slurm-no-requeue"]
    command += ["--slurm-no-account"] if slurm.account is None else []
    return [*command, "--slurm-status-command", "sacct" if slurm.accounting else "squeue"]


def last_problem(log: Path) -> str:
    """The last lines of Snakemake's log that tell of an error, in one line."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-200:]
    except OSError:
        return ""
    wanted = [line for line in lines if "rror" in line and not line.startswith("    ")]
    wanted += [line for line in lines if line.startswith("    message: ") and not line.endswith(" None")]
    telling = [line.strip() for line in wanted]
    return f"{' '.join(telling[-2:])[:400]}." if telling else "it left no error."
