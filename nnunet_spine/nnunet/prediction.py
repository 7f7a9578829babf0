"""Prediction of new images with the folds of a trained model: what nnUNetv2_predict gives, a case in a process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from nnunet_spine.cases import CHANNEL, SPLITS_FILE, read_splits
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable, WorkFailed
from nnunet_spine.files import make_folder, read_json, replacing, sha256
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, recorded_departures, write_manifest
from nnunet_spine.nnunet.environment import (
    CONFIGURATION,
    CPUS_VARIABLE,
    DEFAULT_TRAINER,
    PLANS_NAME,
    Workspace,
    allocated_cpus,
    plans_option,
)
from nnunet_spine.nnunet.runtime import choose_device, quiet
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import prepare_processes, worker_pool

CHECKPOINT = "checkpoint_final.pth"
FILE_ENDING = ".nii.gz"
PROBABILITIES_ENDING = ".npz"
CHANNEL_ENDING = f"{CHANNEL}{FILE_ENDING}"

WORKER_IMPORTS = "nnunet_spine.nnunet.whole_case"
"""The module whose imports the worker processes share."""

MOST_PROCESSES = 4
"""Cases predicted side by side on a CPU: each takes the memory of a forward pass."""


@dataclass(frozen=True)
class Model:
    """A trained model by nnU-Net's names.

    Parameters
    ----------
    dataset
        Number or full name of the data set.
    trainer, plans_name, configuration
        nnU-Net's names.
    """

    dataset: str
    trainer: str = DEFAULT_TRAINER
    plans_name: str = PLANS_NAME
    configuration: str = CONFIGURATION

    def folder(self, workspace: Workspace) -> Path:
        """Where its folds are."""
        name = workspace.dataset_name(self.dataset)
        return workspace.model_folder(name, self.trainer, self.plans_name, self.configuration)


@dataclass(frozen=True)
class Predicted:
    """Result of a prediction.

    Parameters
    ----------
    output
        Folder of the segmentations.
    done, kept
        Cases predicted now, and that were there already.
    folds
        Folds whose scores were averaged.
    """

    output: Path
    done: tuple[str, ...]
    kept: tuple[str, ...]
    folds: tuple[int, ...]


def predict_folder(
    model: Model,
    images: Path,
    output: Path,
    workspace: Workspace,
    *,
    folds: Sequence[int] = (),
    device: str = "auto",
    save_probabilities: bool = False,
    progress: Progress = silent,
) -> Predicted:
    """Segment every image of a folder that has no segmentation yet.

    Parameters
    ----------
    model
        The trained model.
    images
        Folder of CASE_0000.nii.gz, as nnU-Net wants them.
    output
        Folder for CASE.nii.gz, each complete or not at all.
    workspace
        nnU-Net's folders.
    folds
        Folds whose scores are averaged; none given means all that are trained.
    device
        See `choose_device`.
    save_probabilities
        Whether to write nnU-Net's CASE.npz beside each segmentation: `probabilities` (classes, z, y, x). An image that
        has a segmentation without it is predicted again.
    progress
        Told of each image.

    Raises
    ------
    BadInput, NotFound, NotWritable
        Where there is no image, no trained fold, or the output cannot be written or holds another model's predictions.
    """
    cases = _cases(images)
    folder = model.folder(workspace)
    used = _folds(folder, folds)
    workspace.apply()
    prepare_processes(WORKER_IMPORTS, keep_memory=True)  # they get ready while files are hashed
    make_folder(output)
    endings = (PROBABILITIES_ENDING, FILE_ENDING) if save_probabilities else (FILE_ENDING,)
    kept = tuple(case for case in cases if all((output / f"{case}{ending}").is_file() for ending in endings))
    missing = [case for case in cases if case not in kept]
    checkpoints = {f"fold_{fold}": sha256(folder / f"fold_{fold}" / CHECKPOINT) for fold in used}
    if kept:
        _refuse_other_model(output, checkpoints)
    if missing:
        parameters = {"trainer": model.trainer, "plans": model.plans_name, "configuration": model.configuration}
        # Written before the first image, so that what an interruption leaves says which model it comes from.
        manifest = make_manifest(
            "predict",
            parameters={**parameters, "folds": list(used)},
            inputs=checkpoints,
            departures=recorded_departures(*[folder / f"fold_{fold}" for fold in used]),
        )
        write_manifest(output, manifest)
        work = _Work(folder, used, device, allocated_cpus(), output / ".partial", save_probabilities)
        _predict(work, {case: cases[case] for case in missing}, output, endings, progress)
    return Predicted(output, tuple(missing), kept, used)


def _refuse_other_model(output: Path, checkpoints: dict[str, str]) -> None:
    path = output / MANIFEST_FILE
    manifest = read_json(path) if path.is_file() else {}
    if manifest.get("step") == "predict" and manifest["inputs"] != checkpoints:
        raise NotWritable(
            f"{output} holds predictions of another model or of other folds (see {MANIFEST_FILE} there). "
            "Choose another folder, or remove them."
        )


def _cases(images: Path) -> dict[str, Path]:
    """Image by case identifier."""
    if not images.is_dir():
        raise NotFound(f"There is no folder {images}. Give a folder of images named CASE{CHANNEL_ENDING}.")
    cases = {path.name.removesuffix(CHANNEL_ENDING): path for path in sorted(images.glob(f"*{CHANNEL_ENDING}"))}
    if not cases:
        raise BadInput(
            f"No image in {images}: nnU-Net's names end in {CHANNEL_ENDING}. "
            "Convert DICOM with `nnunet-spine convert`, or rename NIfTI files."
        )
    return cases


def _folds(folder: Path, asked: Sequence[int]) -> tuple[int, ...]:
    trained = sorted(
        int(path.parent.name.removeprefix("fold_"))
        for path in folder.glob(f"fold_*/{CHECKPOINT}")
        if path.parent.name.removeprefix("fold_").isdecimal()
    )
    absent = [fold for fold in asked if fold not in trained]
    if not trained or absent:
        found = ", ".join(map(str, trained)) or "none"
        raise NotFound(
            f"{folder} has no finished fold {absent or ''} (finished: {found}). Train with `nnunet-spine train`."
        )
    return tuple(asked or trained)


@dataclass(frozen=True)
class _Work:
    """What a worker process predicts with, and where to."""

    folder: Path
    folds: tuple[int, ...]
    device: str
    threads: int
    staging: Path
    save_probabilities: bool


def _predict(work: _Work, cases: dict[str, Path], output: Path, endings: Sequence[str], progress: Progress) -> None:
    """Predict cases in worker processes and move each result into place, the segmentation last.

    On a CPU several processes, each with a case, wait less than one. Each has all the threads: sums are split among
    threads, and with another number of them than nnU-Net's a voxel here and there would be another class.
    """
    processes = min(allocated_cpus(), len(cases), MOST_PROCESSES)
    with worker_pool(1) as pool:
        device = pool.submit(choose_device, work.device).result()
    if device != "cpu":
        processes = 1
    work = replace(work, device=device)
    make_folder(work.staging)
    try:
        with worker_pool(processes) as pool:
            jobs = {pool.submit(_predict_case, work, case, image): case for case, image in cases.items()}
            for number, job in enumerate(as_completed(jobs), start=1):
                job.result()
                for ending in endings:  # the segmentation last: it says that the case is done
                    with replacing(output / f"{jobs[job]}{ending}") as temporary:
                        (work.staging / f"{jobs[job]}{ending}").replace(temporary)
                progress(number, len(cases), jobs[job])
    except BrokenProcessPool as error:
        raise WorkFailed(
            "A worker process was ended from outside, most often for want of memory. The finished cases are kept: "
            f"run the command again, with fewer CPUs (the variable {CPUS_VARIABLE}) or more memory."
        ) from error
    finally:
        shutil.rmtree(work.staging, ignore_errors=True)


def _predict_case(work: _Work, case: str, image: Path) -> None:
    """Predict one case in a worker; the case is named where it fails."""
    import torch

    torch.set_num_threads(work.threads)
    try:
        with quiet():
            _predictor(work)(image, work.staging / case)
    except NnunetSpineError as error:
        raise type(error)(f"{case} cannot be predicted: {error}") from None


@lru_cache(maxsize=1)
def _predictor(work: _Work) -> Callable[[Path, Path], None]:
    """A function that segments an image file: ours where the model and the device allow, else nnU-Net's."""
    import torch

    from nnunet_spine.nnunet.whole_case import load_model

    model = load_model(work.folder, work.folds, CHECKPOINT) if work.device == "cpu" else None
    if model is not None:
        return partial(model.predict, save_probabilities=work.save_probabilities)
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(device=torch.device(work.device), allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(work.folder), work.folds, CHECKPOINT)
    return lambda image, output: predictor.predict_from_files_sequential(
        [[str(image)]], [str(output)], save_probabilities=work.save_probabilities
    )


def out_of_fold_predictions(model: Model, workspace: Workspace) -> dict[str, Path]:
    """Prediction of each cross-validation case by the fold that did not train on it.

    Raises
    ------
    NotFound
        Where a fold has not predicted all its test cases; fold and cases are named.
    """
    name = workspace.dataset_name(model.dataset)
    folder = model.folder(workspace)
    found = {}
    for fold in read_splits(workspace.preprocessed / name / SPLITS_FILE):
        paths = {case: folder / f"fold_{fold.number}" / "validation" / f"{case}{FILE_ENDING}" for case in fold.test}
        absent = [case for case, path in paths.items() if not path.is_file()]
        if absent:
            raise NotFound(
                f"Fold {fold.number} of {folder} has no prediction of {', '.join(absent[:5])}. "
                f"Finish it with `nnunet-spine train {model.dataset} {fold.number}{plans_option(model.plans_name)}`."
            )
        found.update(paths)
    return found
