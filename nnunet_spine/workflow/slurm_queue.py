"""A study's jobs in SLURM's queue, found by their names."""

from __future__ import annotations

import getpass
import hashlib
import subprocess
import time
from pathlib import Path

from nnunet_spine.errors import WorkFailed
from nnunet_spine.workflow.study_settings import StudySettings

WAIT_SECONDS = 180.0
POLL_SECONDS = 1.0


def job_prefix(study: StudySettings) -> str:
    """What the names of a study's jobs begin with."""
    return f"nnunetspine-{hashlib.sha256(str(Path(study.output)).encode()).hexdigest()[:12]}"


def queued_jobs(prefix: str) -> list[str]:
    """Numbers of the jobs in the queue whose names begin with a prefix.

    Raises
    ------
    WorkFailed
        Where SLURM does not answer.
    """
    command = ["squeue", "--noheader", "--user", getpass.getuser(), "--format", "%i %j"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WorkFailed(f"SLURM does not answer squeue: {error}. Try again when it does.") from error
    if done.returncode != 0:
        raise WorkFailed(f"SLURM does not answer squeue: {done.stderr.strip()}. Try again when it does.")
    pairs = [line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line]
    return [number for number, name in pairs if name.startswith(prefix)]


def cancel_jobs(prefix: str) -> list[str]:
    """Cancel jobs that a driver which was killed has left in the queue, and wait until they are gone.

    Returns
    -------
    cancelled
        Their numbers. A training loses no more than its running epoch.

    Raises
    ------
    WorkFailed
        Where they do not end.
    """
    cancelled = queued_jobs(prefix)
    if not cancelled:
        return []
    subprocess.run(["scancel", *cancelled], capture_output=True, timeout=60, check=False)
    deadline = time.monotonic() + WAIT_SECONDS
    while left := queued_jobs(prefix):
        if time.monotonic() > deadline:
            raise WorkFailed(f"SLURM jobs {', '.join(left)} of an earlier run do not end. Cancel them and run again.")
        time.sleep(POLL_SECONDS)
    return cancelled
