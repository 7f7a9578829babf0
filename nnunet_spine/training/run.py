"""Training of one fold: nnU-Net's run with this package's defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import SPLITS_FILE, Fold, read_fold
from nnunet_spine.environment_variables import variables_set
from nnunet_spine.errors import BadInput, MissingDependency, NotFound
from nnunet_spine.files import make_folder, read_json
from nnunet_spine.nnunet.environment import (
    CONFIGURATION,
    DEFAULT_TRAINER,
    EPOCHS_VARIABLE,
    PLANS_NAME,
    PRECISION_VARIABLE,
    SEED_VARIABLE,
    TENSORBOARD_VARIABLE,
    Workspace,
    allocated_cpus,
    plans_option,
)
from nnunet_spine.nnunet.prediction import CHECKPOINT, FILE_ENDING, PROBABILITIES_ENDING, Model
from nnunet_spine.nnunet.runtime import choose_device, quiet
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import VARIANTS
from nnunet_spine.training.fold_lock import sole_trainer
from nnunet_spine.training.stopping import STOP
from nnunet_spine.training.tracking import check_installed


@dataclass(frozen=True)
class TrainingJob:
    """Which fold of which model to train, and how.

    Parameters
    ----------
    dataset
        Number or full name of the data set.
    fold
        nnU-Net's number of the fold.
    trainer, plans_name, configuration
        nnU-Net's names.
    epochs, seed
        None for the trainer's own.
    device
        See `choose_device`; "auto" takes a GPU where there is one.
    threads
        CPU threads of torch; None for the CPUs that this process may use.
    precision
        Of training on a CPU, by `protocol.Precision`; None for the trainer's own.
    save_probabilities
        Whether nnU-Net's CASE.npz is written beside each prediction of a test case.
    tensorboard
        Whether TensorBoard's event files are written below the fold's folder, by this package's trainers.
    """

    dataset: str
    fold: int
    trainer: str = DEFAULT_TRAINER
    plans_name: str = PLANS_NAME
    configuration: str = CONFIGURATION
    epochs: int | None = None
    seed: int | None = None
    device: str = "auto"
    threads: int | None = None
    precision: str | None = None
    save_probabilities: bool = False
    tensorboard: bool = False


@dataclass(frozen=True)
class Trained:
    """A trained fold.

    Parameters
    ----------
    folder
        The fold's folder below nnUNet_results.
    was_complete
        Whether it had been trained and validated before, and nothing was done.
    """

    folder: Path
    was_complete: bool


def fold_folder(job: TrainingJob, workspace: Workspace) -> Path:
    """Where nnU-Net keeps this fold."""
    model = Model(job.dataset, job.trainer, job.plans_name, job.configuration)
    return model.folder(workspace) / f"fold_{job.fold}"


def is_complete(folder: Path, fold: Fold, *, with_probabilities: bool = False) -> bool:
    """Whether a fold has its final checkpoint, its validation summary, and a prediction for each test case."""
    validation = folder / "validation"
    endings = (FILE_ENDING, PROBABILITIES_ENDING) if with_probabilities else (FILE_ENDING,)
    return (
        (folder / CHECKPOINT).is_file()
        and (validation / "summary.json").is_file()
        and all((validation / f"{case}{ending}").is_file() for case in fold.test for ending in endings)
    )


def train_fold(job: TrainingJob, workspace: Workspace, *, progress: Progress = silent, echo: bool = False) -> Trained:
    """Train a fold, going on from whatever is there, then predict its test cases with the final checkpoint.

    Parameters
    ----------
    job
        What to train.
    workspace
        nnU-Net's folders.
    progress
        Told of each epoch, for this package's trainers.
    echo
        Whether nnU-Net's own lines go to the console.

    Raises
    ------
    BadInput, NotFound
        Where the data set, plans, preprocessed cases, fold or trainer do not exist, or an option makes no sense.
    NotWritable
        Where the results cannot be written, as on a full disk; earlier checkpoints are kept.
    WorkFailed
        Where another process trains the fold, no checkpoint can be read, or the loss is no longer a number.
    Stopped
        By SIGTERM or SIGUSR1; run again, it goes on from the last finished epoch.
    """
    name = workspace.dataset_name(job.dataset)
    fold = _check(job, workspace.preprocessed / name)
    folder = fold_folder(job, workspace)
    if is_complete(folder, fold, with_probabilities=job.save_probabilities):
        return Trained(folder, was_complete=True)
    workspace.apply()
    if job.tensorboard:
        check_installed()
    variables = {
        EPOCHS_VARIABLE: job.epochs,
        SEED_VARIABLE: job.seed,
        PRECISION_VARIABLE: job.precision,
        TENSORBOARD_VARIABLE: int(job.tensorboard) or None,
    }
    with variables_set(variables), sole_trainer(make_folder(folder)), STOP.listening():
        if not is_complete(folder, fold, with_probabilities=job.save_probabilities):  # by who held it before
            _train(job, name, progress, echo=echo)
    return Trained(folder, was_complete=False)


def _check(job: TrainingJob, folder: Path) -> Fold:
    """The fold of a job whose inputs are all there."""
    for option, value, least in (("epochs", job.epochs, 1), ("seed", job.seed, 0), ("threads", job.threads, 1)):
        if value is not None and value < least:
            raise BadInput(f"--{option} is {value}; expected at least {least}.")
    if not (folder / f"{job.plans_name}.json").is_file():
        raise NotFound(
            f"There are no plans {job.plans_name} in {folder}. Make them with `nnunet-spine plan {job.dataset}`."
        )
    cases = folder / _data_identifier(folder / f"{job.plans_name}.json", job.configuration)
    fold = read_fold(folder / SPLITS_FILE, job.fold)
    if not fold.train or not fold.test:
        raise BadInput(
            f"Fold {job.fold} of {folder / SPLITS_FILE} has {len(fold.train)} training and {len(fold.test)} test "
            "cases; at least one of each is needed. Convert again with fewer folds or more cases."
        )
    absent = [case for case in sorted((*fold.train, *fold.test)) if not (cases / f"{case}.pkl").is_file()]
    if absent:
        raise NotFound(
            f"{len(absent)} cases of fold {job.fold} are not preprocessed in {cases}: {', '.join(absent[:5])}. "
            f"Make them with `nnunet-spine preprocess {job.dataset}{plans_option(job.plans_name)}`."
        )
    return fold


def _data_identifier(plans_file: Path, configuration: str) -> str:
    """Name of the folder of a configuration's preprocessed cases, its own or inherited."""
    configurations = read_json(plans_file).get("configurations", {})
    name, seen = configuration, set[str]()
    while name in configurations and name not in seen:
        if "data_identifier" in configurations[name]:
            return str(configurations[name]["data_identifier"])
        seen.add(name)
        name = configurations[name].get("inherits_from", "")
    raise BadInput(f"{plans_file} has no configuration {configuration}; it has {', '.join(configurations) or 'none'}.")


def _train(job: TrainingJob, dataset_name: str, progress: Progress, *, echo: bool) -> None:
    import torch
    from batchgenerators.utilities.file_and_folder_operations import load_json
    from nnunetv2.paths import nnUNet_preprocessed
    from nnunetv2.run.run_training import maybe_load_checkpoint

    from nnunet_spine.training.durable import DurableTraining
    from nnunet_spine.training.trainer import SpineTrainer

    device = choose_device(job.device)
    torch.set_num_threads(job.threads or allocated_cpus())
    folder = Path(nnUNet_preprocessed) / dataset_name
    plans = load_json(str(folder / f"{job.plans_name}.json"))
    trainer_class = find_trainer(job.trainer)
    if job.precision is not None and not issubclass(trainer_class, SpineTrainer):
        raise BadInput(f"{job.trainer} has no choice of precision; only this package's trainers of the protocol do.")
    # Only this package's trainers tell their progress; of any other, nnU-Net's lines are all there is to see.
    with quiet(not echo and issubclass(trainer_class, DurableTraining)):
        trainer = trainer_class(
            plans={**plans, "continue_training": True},
            configuration=job.configuration,
            fold=job.fold,
            dataset_json=load_json(str(folder / "dataset.json")),
            device=torch.device(device),
        )
        trainer.progress = progress
        maybe_load_checkpoint(trainer, continue_training=True, validation_only=False)
        trainer.run_training()
        trainer.perform_actual_validation(save_probabilities=job.save_probabilities)


def find_trainer(name: str) -> Any:
    """Trainer class by its name: ours from the table, others as nnU-Net finds them.

    Raises
    ------
    NotFound
        Where nobody has it.
    MissingDependency
        Where nnU-Net's trainers cannot be imported, as with a torchvision that does not belong to the torch.
    """
    from nnunet_spine.training import variants

    own = getattr(variants, name, None)
    if own is not None and name.startswith("nnUNetTrainer") and name != "nnUNetTrainer":
        return own
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    try:
        with quiet():
            return recursive_find_trainer_class_by_name(name)
    except ImportError as error:
        raise MissingDependency(_import_advice(error)) from error
    except RuntimeError as error:
        if "torchvision" in str(error):
            raise MissingDependency(_import_advice(error)) from error
        ours = ", ".join(VARIANTS)
        raise NotFound(f"There is no trainer {name[:80]!r}. Ours are {ours}; others are nnU-Net's.") from error


def _import_advice(error: Exception) -> str:
    return (
        f"nnU-Net's trainers cannot be imported ({error}). Most often torch and torchvision do not belong together: "
        "install both with this project's constraints.txt (`pip install -c constraints.txt .`)."
    )
