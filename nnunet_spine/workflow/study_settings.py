"""What a study file says, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.errors import BadInput
from nnunet_spine.nnunet.environment import DEFAULT_TRAINER, PLANS_NAME, Workspace
from nnunet_spine.protocol import PROTOCOL

NNUNET_PLANS = "nnUNetPlans"
"""Name of the plans that nnU-Net makes by itself."""

STEP_KINDS = ("convert", "plan", "preprocess", "train", "evaluate", "compare", "report")
"""Kinds of steps in the order of the work."""


def number_text(value: float) -> str:
    """A number as commands and names have it: short if that loses nothing."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


@dataclass(frozen=True)
class PlanSettings:
    """Plans that models share.

    Parameters
    ----------
    name
        nnU-Net's name of the plans.
    bias, gamma, memory_gib
        Options of `nnunet-spine plan`; None for its own.
    """

    name: str = PLANS_NAME
    bias: str | None = None
    gamma: float | None = None
    memory_gib: float | None = None

    @property
    def by_nnunet(self) -> bool:
        """Whether nnU-Net makes these plans by itself."""
        return self.name == NNUNET_PLANS


@dataclass(frozen=True)
class ModelSettings:
    """One model of a study.

    Parameters
    ----------
    label
        Its name in the study.
    trainer
        nnU-Net's name of the trainer.
    plans
        The plans that it follows.
    epochs
        None for the trainer's own.
    seed
        Seed of weights and order.
    precision
        Of training on a CPU; None for the trainer's own.
    method
        Models of one method are seeds of it, or None.
    line
        Where it stands in the study file.
    """

    label: str
    trainer: str = DEFAULT_TRAINER
    plans: PlanSettings = PlanSettings()
    epochs: int | None = None
    seed: int = PROTOCOL.seed
    precision: str | None = None
    method: str | None = None
    line: int = 0


@dataclass(frozen=True)
class AskedResources:
    """What the study file asks for a kind of step; None where it leaves it open.

    Parameters
    ----------
    cpus, gpus
        Of one step.
    memory_gib, hours
        Of one step.
    partition
        SLURM's partition.
    """

    cpus: int | None = None
    gpus: int | None = None
    memory_gib: float | None = None
    hours: float | None = None
    partition: str | None = None


@dataclass(frozen=True)
class SlurmSettings:
    """How jobs are given to SLURM.

    Parameters
    ----------
    partition, account, qos, constraint
        As sbatch takes them, or None.
    accounting
        Whether SLURM keeps accounts, so that sacct tells how jobs ended.
    requeue
        Whether a job may be put back into the queue, by a pre-emption or at the end of its time.
    stop_before_seconds
        How long before the end of its time a job stops itself.
    poll_seconds
        How often the driver asks SLURM about its jobs.
    extra
        Further options of sbatch.
    """

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    accounting: bool = True
    requeue: bool = True
    stop_before_seconds: int = 60
    poll_seconds: int = 20
    extra: str | None = None


@dataclass(frozen=True)
class StudySettings:
    """A whole study.

    Parameters
    ----------
    file
        The study file.
    output
        Folder of all that the study makes.
    root
        Folder that holds nnUNet_raw and nnUNet_preprocessed, or None for the variables of these names.
    source
        What `convert` reads, or None where the data set was converted before.
    dataset, name
        Number and name of the data set.
    folds, seed
        Of the conversion; the seed is also the models' where they name none.
    threads
        CPU threads of each training.
    device
        See `choose_device`.
    tensorboard
        Whether trainings write event files.
    models
        In the order of the file, the baseline first.
    resources
        What is asked for each kind of step.
    slurm
        How jobs are given to SLURM.
    notes
        Caveats that comparison and report show.
    allow_partial
        Whether studies or rows that cannot be converted are left out.
    lines
        Where the keys stand in the file.
    """

    file: Path
    output: Path
    root: Path | None
    source: Path | None
    dataset: int
    name: str
    folds: int = PROTOCOL.folds
    seed: int = PROTOCOL.seed
    threads: int = 1
    device: str = "auto"
    tensorboard: bool = False
    models: tuple[ModelSettings, ...] = ()
    resources: Mapping[str, AskedResources] = field(default_factory=dict)
    slurm: SlurmSettings = SlurmSettings()
    notes: tuple[str, ...] = ()
    allow_partial: bool = False
    lines: Mapping[str, int] = field(default_factory=dict)

    def refuse(self, key: str, problem: str) -> BadInput:
        """The error about a key; `problem` says what was found and what was expected, and never names the source."""
        where = f", line {self.lines[key]}: {key}" if key in self.lines else ""
        return BadInput(f"{self.file}{where}: {problem}")

    @property
    def plans(self) -> tuple[PlanSettings, ...]:
        """Plans of the models, each once, in the order of their first model."""
        return tuple(dict.fromkeys(model.plans for model in self.models))

    def model(self, label: str) -> ModelSettings:
        """The model of a label."""
        return next(model for model in self.models if model.label == label)

    def workspace(self, model: ModelSettings | None = None) -> Workspace:
        """nnU-Net's folders; each model has results of its own, since nnU-Net names them by trainer and plans alone."""
        shared = Workspace.from_environment(self.root)
        results = self.output / "models" / model.label if model else shared.results
        return Workspace(shared.raw, shared.preprocessed, results)

    def own_places(self) -> tuple[Path, ...]:
        """The study file and the folders that the study writes."""
        shared = self.workspace()
        return (self.file, self.output, shared.raw, shared.preprocessed)

    def dataset_name(self) -> str:
        """Full name of the data set."""
        if self.source is not None:
            return f"Dataset{self.dataset:03d}_{self.name}"
        return self.workspace().dataset_name(str(self.dataset))
