"""The steps of a study: each takes what it needs, does only what is missing, and returns where its result is.

A step that finds its result complete and made from the same inputs does
nothing, so a study can be run again after any interruption.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, read_cases, read_fold, read_splits
from nnunet_spine.errors import MissingDependency, WorkFailed
from nnunet_spine.evaluation.insight import evaluate_with_insight
from nnunet_spine.evaluation.observation import images_by_case
from nnunet_spine.evaluation.output import hash_masks, write_evaluation
from nnunet_spine.evaluation.results import EVALUATION_FILE, Evaluation, read_evaluation
from nnunet_spine.evaluation.schedule import TRAINING_KEY, recorded_training
from nnunet_spine.files import make_folder, read_json, sha256
from nnunet_spine.manifest import MANIFEST_FILE, make_manifest, recorded_departures
from nnunet_spine.nnunet.environment import CONFIGURATION, Workspace, allocated_cpus
from nnunet_spine.nnunet.planning import PLAIN_NNUNET_PLANS, plan_dataset
from nnunet_spine.nnunet.prediction import Model, out_of_fold_predictions
from nnunet_spine.progress import Progress, silent
from nnunet_spine.training.run import is_complete


@dataclass(frozen=True)
class Study:
    """A converted data set and where its results go.

    Parameters
    ----------
    dataset
        Full name of the data set.
    workspace
        nnU-Net's folders.
    output
        Folder of evaluations, comparison and report.
    """

    dataset: str
    workspace: Workspace
    output: Path

    @property
    def raw(self) -> Path:
        """The raw data set."""
        return self.workspace.raw / self.dataset

    @property
    def preprocessed(self) -> Path:
        """The data set's folder below nnUNet_preprocessed."""
        return self.workspace.preprocessed / self.dataset

    @property
    def fold_numbers(self) -> list[int]:
        """Numbers of the folds."""
        return [fold.number for fold in read_splits(self.preprocessed / SPLITS_FILE)]


def ensure_plans(study: Study, plans_name: str, progress: Progress = silent) -> Path:
    """Plans of the documented protocol; made where there are none."""
    plans = study.preprocessed / f"{plans_name}.json"
    if not plans.is_file():
        plan_dataset(study.dataset, study.workspace, plans_name=plans_name, progress=progress)
    return plans


def ensure_nnunet_plans(study: Study, logs: Path) -> None:
    """nnU-Net's own plans and preprocessed cases, by its own command."""
    cases = study.preprocessed / f"{PLAIN_NNUNET_PLANS}_{CONFIGURATION}"
    expected = len(list((study.raw / "labelsTr").glob("*.nii.gz")))
    if (study.preprocessed / f"{PLAIN_NNUNET_PLANS}.json").is_file() and len(list(cases.glob("*.pkl"))) == expected:
        return
    workers = str(allocated_cpus())
    number = str(int(study.dataset[7:10]))
    arguments = ["-d", number, "-c", CONFIGURATION, "-npfp", workers, "-np", workers]
    run_nnunet("nnUNetv2_plan_and_preprocess", arguments, study.workspace, logs / "nnunet_plan.log")


def ensure_nnunet_fold(study: Study, model: Model, fold: int, logs: Path, *, device: str) -> bool:
    """One fold trained and validated by nnU-Net's own command, going on from whatever is there.

    Returns
    -------
    trained
        Whether anything was left to do.
    """
    if is_complete(model.folder(study.workspace) / f"fold_{fold}", read_fold(study.preprocessed / SPLITS_FILE, fold)):
        return False
    arguments = [study.dataset, model.configuration, str(fold), "-tr", model.trainer, "-p", model.plans_name]
    arguments += ["--c", "-device", device]
    run_nnunet("nnUNetv2_train", arguments, study.workspace, logs / f"nnunet_train_fold_{fold}.log")
    return True


def run_nnunet(command: str, arguments: Sequence[str], workspace: Workspace, log: Path) -> None:
    """Run one of nnU-Net's commands as a process of its own, its lines going to a log.

    Raises
    ------
    MissingDependency
        Where the command is neither beside this Python nor on the path.
    WorkFailed
        Where it ends with an error; the log is named.
    """
    beside = Path(sys.executable).with_name(command)
    program = beside if beside.is_file() else shutil.which(command)
    if program is None:
        raise MissingDependency(f"There is no command {command}. Install nnunetv2 into the environment of this Python.")
    make_folder(log.parent)
    with log.open("ab") as stream:
        done = subprocess.run(
            [str(program), *arguments],
            env={**os.environ, **workspace.variables()},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode != 0:
        raise WorkFailed(f"{command} ended with code {done.returncode}. Its last lines are in {log}.")


def ensure_evaluation(study: Study, model: Model, label: str, progress: Progress = silent) -> Evaluation:
    """Evaluation of a model's out-of-fold predictions; made anew where any input changed."""
    out_of_fold_predictions(model, study.workspace)  # refuses a fold that is not finished
    folder = study.output / label
    references, predictions = study.raw / "labelsTr", model.folder(study.workspace)
    folds = read_splits(study.preprocessed / SPLITS_FILE)
    images = images_by_case(study.raw / "imagesTr")
    inputs = {
        "splits": sha256(study.preprocessed / SPLITS_FILE),
        "cases": sha256(study.raw / CASES_FILE),
        **hash_masks(references, predictions, folds, images),
    }
    if _made_from(folder, inputs) and (folder / EVALUATION_FILE).is_file():
        return read_evaluation(folder)
    cases = read_cases(study.raw / CASES_FILE)
    evaluation, insight = evaluate_with_insight(
        references, predictions, folds, cases=cases, images=images, progress=progress
    )
    parameters = {
        "criterion": evaluation.criterion.value,
        "trainer": model.trainer,
        "plans": model.plans_name,
        TRAINING_KEY: recorded_training(predictions),
    }
    different = recorded_departures(predictions)
    manifest = make_manifest("evaluate", parameters=parameters, inputs=inputs, departures=different)
    write_evaluation(folder, evaluation, manifest, more=insight.to_json(), more_files=insight.csv_files())
    return evaluation


def _made_from(folder: Path, inputs: Mapping[str, str]) -> bool:
    """Whether a folder's manifest names exactly these inputs."""
    manifest = folder / MANIFEST_FILE
    return manifest.is_file() and read_json(manifest)["inputs"] == dict(inputs)
