"""The main job on a synthetic cohort: a DICOM export that is made here, and the study file by which all else is done.

The demo trains for far fewer epochs than documented, and nnU-Net's own configuration for a few iterations. It shows
that the way works; its figures say nothing about either method.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import is_regular_file, read_text, write_text
from nnunet_spine.locks import empty_folders_removed
from nnunet_spine.phantoms.cohort import write_cohort
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.workflow.study_places import is_system_folder

STUDY_FILE = "study.yaml"
FIRST_LINE = (
    "# The demo as a study, by `nnunet-spine demo`, which writes this file anew. Watch it with `nnunet-spine status`."
)
EXPORT = "export"
BASELINE_TRAINER = "nnUNetTrainerSpineDemoBaseline"

DEFAULT_CASES = 24
DEFAULT_EPOCHS = 30

DOCUMENTED = "documented"
AUTO_CONFIGURED = "nnunet-auto"


@dataclass(frozen=True)
class DemoSettings:
    """What the demo is to do.

    Parameters
    ----------
    output
        Folder for everything that it makes.
    cases
        Cases of the cohort.
    seed
        Seed of the cohort and of the training.
    epochs
        Epochs of the documented training; the protocol has 400.
    background
        Folder of real volumes into which the lesions are implanted, or None.
    device
        See `choose_device`.
    """

    output: Path
    cases: int = DEFAULT_CASES
    seed: int = PROTOCOL.seed
    epochs: int = DEFAULT_EPOCHS
    background: Path | None = None
    device: str = "auto"


def check_settings(settings: DemoSettings) -> None:
    """Check what can be checked before anything is written.

    Raises
    ------
    BadInput
        Where the number of epochs or the seed makes no sense.
    """
    if settings.epochs < 1:
        raise BadInput(f"--epochs is {settings.epochs}; expected at least 1.")
    if settings.seed < 0:
        raise BadInput(f"--seed is {settings.seed}; expected a whole number, 0 or above.")


def prepare_demo(settings: DemoSettings, progress: Progress = silent) -> Path:
    """Make the cohort where it is missing, and write the study file; `nnunet-spine run` does the rest.

    Parameters
    ----------
    settings
        What to do.
    progress
        Told of each case of the cohort.

    Returns
    -------
    path
        The study file.

    Raises
    ------
    BadInput, NotWritable
        Where the cohort cannot be made as asked for, or the output cannot be written.
    """
    path = settings.output / STUDY_FILE
    _require_own(settings.output, path)
    with empty_folders_removed(settings.output):  # if the cohort cannot be made
        write_cohort(
            settings.output / EXPORT,
            cases=settings.cases,
            seed=settings.seed,
            background=settings.background,
            progress=progress,
        )
        write_text(path, study_text(settings))
    return path


def _require_own(output: Path, study: Path) -> None:
    """Refuse folders of the system, and a study file that the demo did not write."""
    if is_system_folder(output.resolve()):
        raise BadInput(f"{output} is a folder of the system or your home folder. Name one below it with --output.")
    if os.path.lexists(study) and not (is_regular_file(study) and read_text(study).startswith(FIRST_LINE)):
        raise NotWritable(f"{study} was not written by the demo, and is left alone. Give another folder with --output.")


def study_text(settings: DemoSettings) -> str:
    """Text of the demo's study file."""
    notes = "\n".join(f"  - {json.dumps(note)}" for note in _notes(settings))
    return f"""\
{FIRST_LINE}
source: {EXPORT}
output: .
seed: {settings.seed}
threads: 1                # so that as many folds train at once as there are CPUs
device: {settings.device}
models:
  {DOCUMENTED}:
    epochs: {settings.epochs}           # documented: {PROTOCOL.epochs}
  {AUTO_CONFIGURED}:
    trainer: {BASELINE_TRAINER}   # nnU-Net's own training, stopped after a few iterations
    plans: nnUNetPlans
resources:
  train: {{hours: 1}}
notes:
{notes}
"""


def _notes(settings: DemoSettings) -> Sequence[str]:
    anatomy = "synthetic anatomy" if settings.background is None else "synthetic lesions in real volumes"
    return [
        (
            "far from trained: no conclusion. "
            f"The documented protocol was trained for {settings.epochs} epochs instead of {PROTOCOL.epochs}, and "
            "nnU-Net's own configuration for a few iterations that cost about as much."
        ),
        f"The cohort is made up: {anatomy}. Its figures say nothing about patients.",
    ]
