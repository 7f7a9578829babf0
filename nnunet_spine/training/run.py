"""Training of one fold: nnU-Net's run with this package's defaults."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_spine.cases import SPLITS_FILE, read_fold, read_splits
from nnunet_spine.environment_variables import variables_set
from nnunet_spine.errors import BadInput, MissingDependency, NotFound, NotWritable
from nnunet_spine.files import make_folder
from nnunet_spine.nnunet.environment import (
    CONFIGURATION,
    DEFAULT_TRAINER,
    EPOCHS_VARIABLE,
    MOST_CPUS,
    PLANS_NAME,
    PRECISION_VARIABLE,
    SEED_VARIABLE,
    TENSORBOARD_VARIABLE,
    TRUST_VARIABLE,
    Workspace,
    allocated_cpus,
    is_trusted,
    plans_option,
)
from nnunet_spine.nnunet.model_folder import ALL, CHECKPOINT, FoldName, fold_name
from nnunet_spine.nnunet.plans_check import check_configuration, find_plans, read_dataset_json
from nnunet_spine.nnunet.prediction import FILE_ENDING, PROBABILITIES_ENDING, Model
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
        nnU-Net's number of the fold, or `ALL`.
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
    trust_model
        Whether code in a checkpoint may run; see `checkpoint_reading.TRUST_WARNING`.
    """

    dataset: str
    fold: FoldName
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
    trust_model: bool = False


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
    return model.folder(workspace) / fold_name(job.fold)


def is_complete(folder: Path, cases: Sequence[str], *, with_probabilities: bool = False) -> bool:
    """Whether a fold has its final checkpoint, its validation summary, and a prediction for each of the cases."""
    validation = folder / "validation"
    endings = (FILE_ENDING, PROBABILITIES_ENDING) if with_probabilities else (FILE_ENDING,)
    return (
        (folder / CHECKPOINT).is_file()
        and (validation / "summary.json").is_file()
        and all((validation / f"{case}{ending}").is_file() for case in cases for ending in endings)
    )


def train_fold(job: TrainingJob, workspace: Workspace, *, progress: Progress = silent, echo: bool = False) -> Trained:
    """Train a fold, going on from whatever is there, then predict its test cases with the final checkpoint.

    The fold `ALL` trains on every case and has no test cases. As in nnU-Net, its training cases are predicted, since
    nnU-Net's export wants the summary of that. Their Dice says nothing about new patients.

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
    inputs = _check(job, workspace.preprocessed / name)
    folder = fold_folder(job, workspace)
    if is_complete(folder, inputs.predicted, with_probabilities=job.save_probabilities):
        return Trained(folder, was_complete=True)
    workspace.apply()
    if job.tensorboard:
        check_installed()
    variables = {
        EPOCHS_VARIABLE: job.epochs,
        SEED_VARIABLE: job.seed,
        PRECISION_VARIABLE: job.precision,
        TENSORBOARD_VARIABLE: int(job.tensorboard) or None,
        TRUST_VARIABLE: int(job.trust_model) or None,
    }
    with variables_set(variables), sole_trainer(make_folder(folder)), STOP.listening():
        _check_no_links(folder)
        done = is_complete(folder, inputs.predicted, with_probabilities=job.save_probabilities)
        if not done:  # by who held it before
            _train(job, inputs, progress, echo=echo)
    return Trained(folder, was_complete=False)


def _check_no_links(folder: Path) -> None:
    """Refuse links in a fold's folder, and among the files beside it: nnU-Net would write to where they lead."""
    beside = [path for path in folder.parent.iterdir() if path.is_symlink() and not path.is_dir()]
    within = [path for path in folder.rglob("*") if path.is_symlink()]
    if links := sorted([*beside, *within]):
        raise NotWritable(
            f"{links[0]} is a link, and training would write to where it leads; expected files and folders. Remove "
            f"{'it' if len(links) == 1 else f'the {len(links)} links of the model'}, or put the files themselves there."
        )


@dataclass(frozen=True)
class _Inputs:
    """What a training is made of, read and checked.

    Parameters
    ----------
    plans, dataset_json
        nnU-Net's.
    predicted
        Cases that are predicted after the training.
    """

    plans: dict[str, Any]
    dataset_json: dict[str, Any]
    predicted: tuple[str, ...]


def _check(job: TrainingJob, folder: Path) -> _Inputs:
    """The inputs of a job, which must all be there."""
    for option, value, least in (("epochs", job.epochs, 1), ("seed", job.seed, 0), ("threads", job.threads, 1)):
        if value is not None and value < least:
            raise BadInput(f"--{option} is {value}; expected at least {least}.")
    if job.threads is not None and job.threads > MOST_CPUS:
        raise BadInput(f"--threads is {str(job.threads)[:20]}; expected at most {MOST_CPUS}.")
    trusted = job.trust_model or is_trusted()
    plans = find_plans(folder, job.plans_name, job.dataset, trusted=trusted)
    where = str(folder / f"{job.plans_name}.json")
    cases = folder / check_configuration(plans, job.configuration, where, trusted=trusted)["data_identifier"]
    train, test = _cases(job, folder, cases)
    absent = [case for case in sorted({*train, *test}) if not (cases / f"{case}.pkl").is_file()]
    if absent or not train:
        count = f"{len(absent)} cases" if train else "The cases"
        raise NotFound(
            f"{count} of fold {job.fold} are not preprocessed in {cases}: {', '.join(absent[:5]) or 'none is there'}. "
            f"Make them with `nnunet-spine preprocess {job.dataset}{plans_option(job.plans_name)}`."
        )
    return _Inputs(plans, read_dataset_json(folder / "dataset.json"), test)


def _cases(job: TrainingJob, folder: Path, cases: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cases that a fold trains on, and those that it predicts after that."""
    if job.fold == ALL:
        # nnU-Net takes what is preprocessed; what the folds name must be among it.
        folds = read_splits(folder / SPLITS_FILE) if (folder / SPLITS_FILE).is_file() else []
        named = {case for fold in folds for case in (*fold.train, *fold.test)}
        every = tuple(sorted(named | {path.stem for path in cases.glob("*.pkl")}))
        return every, every
    if not isinstance(job.fold, int):
        raise BadInput(f"There is no fold {job.fold[:40]!r}; expected a number from 0, or {ALL}.")
    fold = read_fold(folder / SPLITS_FILE, job.fold)
    if not fold.train or not fold.test:
        raise BadInput(
            f"Fold {job.fold} of {folder / SPLITS_FILE} has {len(fold.train)} training and {len(fold.test)} test "
            "cases; at least one of each is needed. Convert again with fewer folds or more cases."
        )
    return fold.train, fold.test


def _train(job: TrainingJob, inputs: _Inputs, progress: Progress, *, echo: bool) -> None:
    import torch
    from nnunetv2.run.run_training import maybe_load_checkpoint
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    from nnunet_spine.nnunet.checkpoint_reading import loading_as_data
    from nnunet_spine.nnunet.planned_network import check_planned_network
    from nnunet_spine.training.durable import DurableTraining
    from nnunet_spine.training.trainer import SpineTrainer

    device = choose_device(job.device)
    torch.set_num_threads(job.threads or allocated_cpus())
    trainer_class = find_trainer(job.trainer)
    if job.precision is not None and not issubclass(trainer_class, SpineTrainer):
        raise BadInput(f"{job.trainer} has no choice of precision; only this package's trainers of the protocol do.")
    planned = PlansManager(inputs.plans)
    configuration = planned.get_configuration(job.configuration)
    check_planned_network(planned, configuration, inputs.dataset_json, trusted=is_trusted())
    durable = issubclass(trainer_class, DurableTraining)
    # Only this package's trainers tell their progress; of any other, nnU-Net's lines are all there is to see.
    with quiet(not echo and durable), nullcontext() if durable else loading_as_data():
        trainer = trainer_class(
            plans={**inputs.plans, "continue_training": True},
            configuration=job.configuration,
            fold=job.fold,
            dataset_json=inputs.dataset_json,
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
