"""nnU-Net's folders and variables, and the CPUs that this process may use. Imports nothing heavy."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import BadInput, NotFound

HOME_VARIABLE = "NNUNET_SPINE_HOME"
DEFAULT_ROOT = "nnunet_spine_data"

EPOCHS_VARIABLE = "NNUNET_SPINE_EPOCHS"
SEED_VARIABLE = "NNUNET_SPINE_SEED"
PRECISION_VARIABLE = "NNUNET_SPINE_PRECISION"
TENSORBOARD_VARIABLE = "NNUNET_SPINE_TENSORBOARD"
CASES_VARIABLE = "NNUNET_SPINE_CASES_MIB"
"""Memory for the cases of a training, training and test cases together."""

TRUST_VARIABLE = "NNUNET_SPINE_TRUST_MODEL"
"""1: models may hold more than data, which runs whatever their makers put into them."""

TRUST_OPTION = "--trust-model"
"""The option that stands for `TRUST_VARIABLE`."""

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container's CPU quota stands (cgroup v2)."""

PLANS_NAME = "nnUNetSpinePlans"
CONFIGURATION = "3d_fullres"
DEFAULT_TRAINER = "nnUNetTrainerSpine"

MOST_DIGITS, MOST_CPUS = 18, 1024
"""Of numbers that people write; no text of more digits is read as one."""

CPUS_VARIABLE = "NNUNET_SPINE_CPUS"
"""CPUs of one job where several share a machine or an allocation."""

_FOLDER_VARIABLES = {"raw": "nnUNet_raw", "preprocessed": "nnUNet_preprocessed", "results": "nnUNet_results"}
_DATASET_FOLDER = re.compile(r"Dataset\d{3}_.+")


@dataclass(frozen=True)
class Workspace:
    """nnU-Net's three folders.

    Parameters
    ----------
    raw, preprocessed, results
        Absolute paths; they need not exist yet.
    """

    raw: Path
    preprocessed: Path
    results: Path

    @classmethod
    def from_environment(cls, root: Path | None = None) -> Workspace:
        """Folders by nnU-Net's variables.

        `root` overrides them all. A variable that is not set means the folder of its name below the variable
        NNUNET_SPINE_HOME, or below ./nnunet_spine_data where that is not set either.

        Raises
        ------
        BadInput
            Where a folder begins with the ~name of nobody.
        """
        base = root or Path(os.environ.get(HOME_VARIABLE) or DEFAULT_ROOT)
        folders = {
            name: Path(os.environ.get(variable) or base / variable) if root is None else base / variable
            for name, variable in _FOLDER_VARIABLES.items()
        }
        try:
            return cls(**{name: folder.expanduser().absolute() for name, folder in folders.items()})
        except RuntimeError as error:
            paths = ", ".join(str(folder) for folder in folders.values())
            raise BadInput(f"One of {paths} begins with the ~ of no user. Give the folder in full.") from error

    def variables(self) -> dict[str, str]:
        """All variables that nnU-Net's own commands need to work with this package.

        Worker counts follow the CPUs that this process may use; a count that is already set stays.
        """
        cpus = str(allocated_cpus())
        own = str(trainers_folder())
        known = [folder for folder in os.environ.get("nnUNet_extTrainer", "").split(os.pathsep) if folder]
        return {
            "nnUNet_raw": str(self.raw),
            "nnUNet_preprocessed": str(self.preprocessed),
            "nnUNet_results": str(self.results),
            "nnUNet_extTrainer": os.pathsep.join(known if own in known else [*known, own]),
            "nnUNet_n_proc_DA": os.environ.get("nnUNet_n_proc_DA") or cpus,
            "nnUNet_def_n_proc": os.environ.get("nnUNet_def_n_proc") or cpus,
            # Threads that spin while they wait take the CPU from whoever else is on it: two to four times slower steps.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY") or "PASSIVE",
        }

    def apply(self) -> None:
        """Set the variables for this process and its children; to be called before torch and nnunetv2 are imported."""
        os.environ.update(self.variables())

    def dataset_name(self, dataset: str) -> str:
        """Full name of a data set, such as Dataset058_IntraduralSpineTumor, from its number or its name.

        Raises
        ------
        BadInput
            Where `dataset` is neither a number from 1 to 999 nor a full name, or two names have that number.
        NotFound
            Where there is no such data set.
        """
        names = sorted(set(self._dataset_names()))
        if dataset in names:
            return dataset
        if not 0 < (whole_number(dataset) or 0) < 1000:
            raise BadInput(
                f"{dataset[:60]!r} is no data set. Give its number (1 to 999) or its full name; "
                f"found {', '.join(names) or 'none'} under {self.raw}."
            )
        matching = [name for name in names if name.startswith(f"Dataset{int(dataset):03d}_")]
        if not matching:
            raise NotFound(
                f"There is no data set number {dataset} under {self.raw} (found: {', '.join(names) or 'none'}). "
                "Make it with `nnunet-spine convert`, or set nnUNet_raw to where it is."
            )
        if len(matching) > 1:
            raise BadInput(
                f"Two data sets have the number {dataset}: {', '.join(matching)}. Rename one; nnU-Net refuses."
            )
        return matching[0]

    def _dataset_names(self) -> Iterator[str]:
        for folder in (self.raw, self.preprocessed, self.results):
            if folder.is_dir():
                yield from (p.name for p in folder.iterdir() if p.is_dir() and _DATASET_FOLDER.fullmatch(p.name))

    def model_folder(self, dataset_name: str, trainer: str, plans: str, configuration: str) -> Path:
        """Where nnU-Net keeps the folds of a trained model."""
        return self.results / dataset_name / f"{trainer}__{plans}__{configuration}"


def whole_number(text: str) -> int | None:
    """The number that a text of at most 18 digits is; None for any other text."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None


def whole_variable(name: str, default: int) -> int:
    """Whole number, 0 or above, of an environment variable."""
    text = os.environ.get(name, "")
    if not text:
        return default
    value = whole_number(text)
    if value is None:
        raise BadInput(f"The variable {name} is {text[:40]!r}; expected a whole number.")
    return value


def positive_variable(name: str, default: int) -> int:
    """Whole number, 1 or above, of an environment variable."""
    value = whole_variable(name, default)
    if value < 1:
        raise BadInput(f"The variable {name} is {value}; expected at least 1.")
    return value


def is_trusted() -> bool:
    """Whether the user lets models hold more than data."""
    return whole_variable(TRUST_VARIABLE, 0) > 0


def plans_option(plans_name: str) -> str:
    """What names the plans in a command, with the space before it; nothing for the default name."""
    return "" if plans_name == PLANS_NAME else f" --plans {plans_name}"


def trainers_folder() -> Path:
    """Folder that nnU-Net is to search for our trainers."""
    return Path(__file__).resolve().parents[1] / "trainers"


def allocated_cpus() -> int:
    """CPUs that this process may use: its share, else what SLURM gave, else what the scheduler and a cgroup allow."""
    for variable in (CPUS_VARIABLE, "SLURM_CPUS_PER_TASK"):
        given = whole_number(os.environ.get(variable, ""))
        if given:
            return min(given, MOST_CPUS)
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _cgroup_cpus() or allowed))


def _cgroup_cpus() -> int | None:
    """CPUs by the quota of a container (cgroup v2), or None where there is none."""
    try:
        quota, period = CGROUP_QUOTA.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return None if quota == "max" else max(1, int(quota) // int(period))
