"""Prediction of new images with the folds of a trained model: what nnUNetv2_predict gives, a case in a process."""

from __future__ import annotations

import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

from nnunet_spine.cases import CHANNEL, SPLITS_FILE, read_splits
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable, WorkFailed
from nnunet_spine.files import (
    check_output,
    folder_content,
    read_object,
    replacing,
    sha256,
    staging_beside,
    system_reason,
)
from nnunet_spine.images import SUFFIXES, check_whole, is_volume_file, volume_stem
from nnunet_spine.locks import LOCK_NAME, sole_writer_in
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, recorded_departures, recorded_step, write_manifest
from nnunet_spine.nnunet.checkpoint_reading import TRUST_WARNING, check_archive
from nnunet_spine.nnunet.environment import (
    CONFIGURATION,
    CPUS_VARIABLE,
    DEFAULT_TRAINER,
    PLANS_NAME,
    Workspace,
    allocated_cpus,
    is_trusted,
    plans_option,
)
from nnunet_spine.nnunet.input_images import find_images, forms_warning, orientation_warning
from nnunet_spine.nnunet.model_folder import CHECKPOINT, FoldName, chosen_folds, fold_name
from nnunet_spine.nnunet.orientation import Orientation, of_plans
from nnunet_spine.nnunet.plans_check import check_configuration, check_name, read_dataset_json, read_plans
from nnunet_spine.nnunet.runtime import choose_device, quiet
from nnunet_spine.progress import Progress, silent
from nnunet_spine.worker_processes import prepare_processes, worker_pool

FILE_ENDING = ".nii.gz"
PROBABILITIES_ENDING = ".npz"

WORKER_IMPORTS = ("nnunet_spine.nnunet.whole_case", "nibabel")
"""The modules whose imports the worker processes share."""

STAGING = "nnunet-spine-predict"
"""The folder of unfinished results is named by it: .nnunet-spine-predict.partial.XXXX, in the output."""

MOST_PROCESSES = 4
"""Cases predicted side by side on a CPU: each takes the memory of a forward pass."""

logger = logging.getLogger(__name__)


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
        """Where its folds are.

        Raises
        ------
        BadInput
            If a name is not one that a folder can have.
        """
        for name in (self.trainer, self.plans_name, self.configuration):
            check_name(name)
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
    warnings
        What was warned of, in sentences.
    """

    output: Path
    done: tuple[str, ...]
    kept: tuple[str, ...]
    folds: tuple[FoldName, ...]
    warnings: tuple[str, ...] = ()


def predict_folder(
    model: Model,
    images: Path,
    output: Path,
    workspace: Workspace,
    *,
    folds: Sequence[FoldName] = (),
    device: str = "auto",
    save_probabilities: bool = False,
    trust_model: bool = False,
    progress: Progress = silent,
) -> Predicted:
    """Segment every image of a folder that has no segmentation yet.

    Images may be stored in any order of axes; each segmentation is on the grid of its image.

    Parameters
    ----------
    model
        The trained model.
    images
        Folder of CASE_0000.nii.gz, .nii, .nrrd or .mha.
    output
        Folder for CASE.nii.gz (or what else the data set's files end with), each complete or not at all.
    workspace
        nnU-Net's folders.
    folds
        Folds whose scores are averaged; none given means all numbered ones that are trained, else `ALL`.
    device
        See `choose_device`.
    save_probabilities
        Whether to write nnU-Net's CASE.npz beside each segmentation: `probabilities` (classes, z, y, x). An image that
        has a segmentation without it is predicted again.
    trust_model
        Whether code in the model may run; see `checkpoint_reading.TRUST_WARNING`.
    progress
        Told of each image.

    Raises
    ------
    BadInput, NotFound, NotWritable
        If there is no image, no trained fold, or the model cannot be used; if the output cannot be written, another
        process writes it, or it holds what a prediction by this model did not put there.
    """
    cases, warnings = find_images(images)
    folder = model.folder(workspace)
    used = chosen_folds(folder, folds)
    trusted = trust_model or is_trusted()
    if trusted:
        logger.warning(TRUST_WARNING)
    about = _about(folder, model.configuration, workspace, trusted=trusted)
    workspace.apply()
    endings = (PROBABILITIES_ENDING, about.ending) if save_probabilities else (about.ending,)
    with sole_writer_in(output), _no_manifest_alone(output):
        prepare_processes(*WORKER_IMPORTS, keep_memory=True)  # they get ready while files are hashed
        checkpoints = {fold_name(fold): _sound(folder / fold_name(fold) / CHECKPOINT) for fold in used}
        _refuse_other_results(output, cases, endings, checkpoints)
        kept, damaged = _earlier_results(output, cases, endings)
        warnings += damaged
        missing = {case: path for case, path in cases.items() if case not in kept}
        for name in [f"{case}{ending}" for case in missing for ending in endings] + [MANIFEST_FILE] * bool(missing):
            check_output(output / name)
        warnings += _orientation_warnings(missing, about) if missing else []
        for warning in warnings:
            logger.warning(warning)
        if missing:
            _write_manifest(output, model, folder, used, checkpoints)
            with staging_beside(output / STAGING) as staging:
                work = _Work(
                    folder, used, device, allocated_cpus(), staging, about.orientation, save_probabilities, trusted
                )
                _predict(work, missing, output, endings, progress)
    return Predicted(output, tuple(missing), kept, used, tuple(warnings))


def _earlier_results(output: Path, cases: Iterable[str], endings: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Cases that have all their results, whole, and a sentence on each result that is not."""
    kept, warnings = [], []
    for case in cases:
        paths = [output / f"{case}{ending}" for ending in endings]
        there = [path for path in paths if path.is_file()]
        damaged = [path for path in there if not _is_whole(path)]
        warnings += [
            f"{path.name} in {output} is empty or damaged: {case} is predicted again, and the file is replaced."
            for path in damaged
        ]
        if len(there) == len(paths) and not damaged:
            kept.append(case)
    return tuple(kept), warnings


def _is_whole(result: Path) -> bool:
    """Whether a segmentation, or a file of probabilities, can be read to its end."""
    try:
        if result.name.endswith(PROBABILITIES_ENDING):
            with zipfile.ZipFile(result) as archive:
                return archive.testzip() is None
        check_whole(result)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError):
        return False
    return True


@contextmanager
def _no_manifest_alone(output: Path) -> Iterator[None]:
    """Remove the manifest of a prediction that came to no result."""
    before = _content(output)
    try:
        yield
    except BaseException:
        if _content(output) - before == {MANIFEST_FILE}:
            (output / MANIFEST_FILE).unlink()
        raise


def _content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK_NAME}


@dataclass(frozen=True)
class _About:
    """What must be known of a model before it predicts."""

    ending: str
    orientation: Orientation


def _about(folder: Path, configuration: str, workspace: Workspace, *, trusted: bool) -> _About:
    """Read a model's plans and description, and refuse a model that does not predict single volumes."""
    plans_file = folder / "plans.json"
    plans, dataset_json = read_plans(plans_file, trusted=trusted), read_dataset_json(folder / "dataset.json")
    found = check_configuration(plans, configuration, str(plans_file), trusted=trusted)
    ending: str = dataset_json["file_ending"]
    if ending not in SUFFIXES:
        raise BadInput(
            f"{folder} is a model of {ending} files, which are no volumes with a place in space. Predict with "
            "nnUNetv2_predict."
        )
    channels = dataset_json["modality" if "modality" in dataset_json else "channel_names"]
    if len(channels) != 1:
        raise BadInput(
            f"{folder} is a model of {len(channels)} channels ({', '.join(channels.values())}), and this command gives "
            "it one. Predict with nnUNetv2_predict."
        )
    return _About(ending, of_plans(plans, found, workspace.raw / plans["dataset_name"] / "imagesTr"))


def _sound(checkpoint: Path) -> str:
    """SHA-256 of a checkpoint that is whole."""
    check_archive(checkpoint)
    return sha256(checkpoint)


def _is_result(path: Path) -> bool:
    return is_volume_file(path) and not volume_stem(path).endswith(CHANNEL)  # images may lie there


def _refuse_other_results(
    output: Path, cases: Iterable[str], endings: Sequence[str], checkpoints: dict[str, str]
) -> None:
    """Refuse a folder whose segmentations or manifest are not of a prediction by this model; they would be replaced."""
    path = output / MANIFEST_FILE
    if os.path.lexists(path):
        if recorded_step(output) != "predict":
            raise NotWritable(
                f"{path} is not the manifest of a prediction, which would replace it. Choose another output folder, or "
                "move that file away."
            )
        if read_object(path).get("inputs") != checkpoints and any(map(_is_result, folder_content(output))):
            raise NotWritable(
                f"{output} holds predictions of another model or of other folds (see {MANIFEST_FILE} there). "
                "Choose another folder, or remove them."
            )
        return
    for case in cases:
        for there in (output / f"{case}{ending}" for ending in endings):
            if os.path.lexists(there):
                raise NotWritable(
                    f"{there} is there already, and without a {MANIFEST_FILE} nothing says that this model predicted "
                    "it. Choose another output folder, or move the file away."
                )


_UNKNOWN_ORIENTATION = (
    "In which order of axes this model's training images are stored is not known, or they are stored in several. "
    "Images are given to it as they are stored: if that is another order, the segmentations are wrong. Look at some."
)


def _orientation_warnings(cases: dict[str, Path], about: _About) -> list[str]:
    found = [forms_warning(case, path) for case, path in cases.items()]
    if about.orientation.axes is None:
        found.append(_UNKNOWN_ORIENTATION)
    else:
        found += [orientation_warning(case, path, about.orientation) for case, path in cases.items()]
    return [warning for warning in found if warning]


def _write_manifest(
    output: Path, model: Model, folder: Path, used: Sequence[FoldName], checkpoints: dict[str, str]
) -> None:
    """Write the manifest before the first image, so that what an interruption leaves says which model it is of."""
    parameters = {"trainer": model.trainer, "plans": model.plans_name, "configuration": model.configuration}
    folds = [folder / fold_name(fold) for fold in used]
    try:
        departures = recorded_departures(*folds)
    except (KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"The {MANIFEST_FILE} in {folder} was not written by this package: its departures cannot be read. "
            "Remove it."
        ) from error
    write_manifest(
        output,
        make_manifest(
            "predict", parameters={**parameters, "folds": list(used)}, inputs=checkpoints, departures=departures
        ),
    )


@dataclass(frozen=True)
class _Work:
    """What a worker process predicts with, and where to."""

    folder: Path
    folds: tuple[FoldName, ...]
    device: str
    threads: int
    staging: Path
    orientation: Orientation
    save_probabilities: bool
    trusted: bool


def _predict(work: _Work, cases: dict[str, Path], output: Path, endings: Sequence[str], progress: Progress) -> None:
    """Predict cases in worker processes and move each result into place, the segmentation last.

    On a CPU several processes, each with a case, wait less than one. Each has all the threads: sums are split among
    threads, and with another number of them than nnU-Net's a voxel here and there would be another class.
    """
    processes = min(allocated_cpus(), len(cases), MOST_PROCESSES)
    try:
        with worker_pool(1) as pool:
            device = pool.submit(choose_device, work.device).result()
        if device != "cpu":
            processes = 1
        work = replace(work, device=device)
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


def _predict_case(work: _Work, case: str, image: Path) -> None:
    """Predict one case in a worker; the case is named if it fails."""
    import torch

    torch.set_num_threads(work.threads)
    with quiet():
        segment = _predictor(work)
        try:
            segment(image, work.staging / case)
        except NnunetSpineError as error:
            kind = BadInput if isinstance(error, BadInput) else type(error)
            raise kind(f"{case} cannot be predicted: {error}") from None
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "memory" not in str(error):
                raise
            raise WorkFailed(
                f"{case} cannot be predicted: there is not enough memory for an image of its size. Use a machine with "
                f"more, or fewer cases side by side (the variable {CPUS_VARIABLE})."
            ) from None
        except OSError as error:
            raise NotWritable(
                f"{case} cannot be predicted: its result cannot be written ({system_reason(error)}). The finished "
                "cases are kept: free space or choose another output folder, and run the command again."
            ) from None


@lru_cache(maxsize=1)
def _predictor(work: _Work) -> Callable[[Path, Path], None]:
    """A function that segments an image file: ours if the model and the device allow, else nnU-Net's."""
    from nnunet_spine.nnunet.trained_model import nnunet_scores, read_model
    from nnunet_spine.nnunet.whole_case import whole_case_model

    orientation, trusted = work.orientation, work.trusted
    model = read_model(work.folder, work.folds, orientation=orientation, trusted=trusted, checked=True)
    whole = whole_case_model(model) if work.device == "cpu" else None
    if whole is not None:
        return partial(whole.predict, save_probabilities=work.save_probabilities)
    scores = nnunet_scores(model, work.device)
    return partial(model.segment, scores, save_probabilities=work.save_probabilities)


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
