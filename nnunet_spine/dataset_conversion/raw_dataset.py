"""nnU-Net's raw data set: its names, its files, and what must not be in the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import CASES_FILE, CHANNEL, Case, Split, write_cases
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import write_json

DATASET_FILE = "dataset.json"
FILE_ENDING = ".nii.gz"
CHANNEL_NAMES = {"0": "T1 post-contrast"}
"""A name that nnU-Net does not know, so that it takes z-scores for its own configurations."""

FOLDERS = {Split.TRAIN: ("imagesTr", "labelsTr"), Split.TEST: ("imagesTs", "labelsTs")}
"""nnU-Net's folders of images and labels."""

LABELS = {"background": 0, "tumor": 1}

_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Target:
    """The data set to make.

    Parameters
    ----------
    number
        1 to 999.
    name
        Letters, digits and underscores.
    raw, preprocessed
        nnU-Net's folders of these names.
    """

    number: int
    name: str
    raw: Path
    preprocessed: Path

    def __post_init__(self) -> None:
        if not 1 <= self.number <= 999:
            raise BadInput(f"The data set number is {self.number}. Expected 1 to 999.")
        if not _NAME.fullmatch(self.name):
            raise BadInput(
                f"The data set name {self.name[:40]!r} cannot be used. Expected letters, digits and underscores only."
            )

    @property
    def full_name(self) -> str:
        """Name of the data set's folder, such as Dataset058_IntraduralSpineTumor."""
        return f"Dataset{self.number:03d}_{self.name}"

    @property
    def folder(self) -> Path:
        """Folder of the raw data set."""
        return self.raw / self.full_name

    @property
    def preprocessed_folder(self) -> Path:
        """Folder of the folds, and later of the preprocessed cases."""
        return self.preprocessed / self.full_name


def check_number_is_free(target: Target, folders: Iterable[Path]) -> None:
    """Check that no data set of another name has the number, which nnU-Net would refuse.

    Parameters
    ----------
    target
        The data set to make.
    folders
        nnU-Net's folders: raw, preprocessed and results.

    Raises
    ------
    NotWritable
        Naming the other data set.
    """
    for folder in folders:
        others = sorted(p.name for p in folder.glob(f"Dataset{target.number:03d}_*") if p.name != target.full_name)
        if others:
            raise NotWritable(
                f"{folder} already holds {others[0]}, which has the same number as {target.full_name}; nnU-Net refuses "
                "two names for one number. Choose another number with --dataset, or the same name with --name."
            )


def file_names(case: str) -> tuple[str, str]:
    """Names of a case's image and label file."""
    return f"{case}{CHANNEL}{FILE_ENDING}", f"{case}{FILE_ENDING}"


def case_paths(folder: Path, split: Split, case: str) -> tuple[Path, Path]:
    """Image and label of a case of the data set in `folder`."""
    (images, labels), (image, label) = FOLDERS[split], file_names(case)
    return folder / images / image, folder / labels / label


def history_folder(folder: Path, split: Split, case: str) -> Path:
    """Where the earlier references of a case are kept, numbered from 1; nnU-Net does not look there."""
    return folder / f"{FOLDERS[split][1]}_history" / case


def write_dataset_files(folder: Path, *, training: int, cases: Sequence[Case]) -> None:
    """Write dataset.json and the pseudonymous cases.csv.

    Parameters
    ----------
    folder
        Of the raw data set.
    training
        Number of training cases.
    cases
        All cases, test cases included.
    """
    content: dict[str, Any] = {
        "channel_names": CHANNEL_NAMES,
        "labels": LABELS,
        "numTraining": training,
        "file_ending": FILE_ENDING,
    }
    write_json(folder / DATASET_FILE, content)
    write_cases(folder / CASES_FILE, cases)
