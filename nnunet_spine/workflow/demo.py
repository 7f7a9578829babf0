"""The main job on a synthetic cohort, from a DICOM export to one report, on CPU in minutes.

The demo trains for far fewer epochs than documented, and nnU-Net's own
configuration for a few iterations. It shows that the way works; its figures
say nothing about either method.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.compare import Comparison, compare, write_comparison
from nnunet_spine.evaluation.results import EVALUATION_FILE, Evaluation
from nnunet_spine.evaluation.schedule import training_of
from nnunet_spine.files import make_folder, sha256
from nnunet_spine.manifest import make_manifest, recorded_departures
from nnunet_spine.nnunet.environment import DEFAULT_TRAINER, PLANS_NAME, Workspace, allocated_cpus
from nnunet_spine.nnunet.planning import PLAIN_NNUNET_PLANS
from nnunet_spine.nnunet.prediction import Model, out_of_fold_predictions
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.nnunet.runtime import choose_device
from nnunet_spine.phantoms.cohort import write_cohort
from nnunet_spine.progress import Progress
from nnunet_spine.protocol import PROTOCOL
from nnunet_spine.reporting.conversion_page import conversion_page
from nnunet_spine.reporting.report import INDEX_FILE, ReportModel, write_report
from nnunet_spine.training.run import TrainingJob, train_fold
from nnunet_spine.workflow.steps import Study, ensure_evaluation, ensure_nnunet_fold, ensure_nnunet_plans, ensure_plans

DATASET_NUMBER = 58
DATASET_NAME = "IntraduralSpineTumor"
BASELINE_TRAINER = "nnUNetTrainerSpineDemoBaseline"

DEFAULT_CASES = 24
DEFAULT_EPOCHS = 30

DOCUMENTED = "documented"
AUTO_CONFIGURED = "nnunet-auto"

StepProgress = Callable[[str], AbstractContextManager[Progress]]
"""From a step's title to a context that gives its progress."""


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


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Parameters
    ----------
    evaluations
        By the model's label, the documented one first.
    comparison
        Both models, paired.
    report
        The report's index.html.
    trained
        Folds that were trained now; none where all was complete.
    """

    evaluations: dict[str, Evaluation]
    comparison: Comparison
    report: Path
    trained: tuple[str, ...]


def run_demo(settings: DemoSettings, step: StepProgress) -> DemoResult:
    """Run the demo, going on from whatever is there.

    Parameters
    ----------
    settings
        What to do.
    step
        Told of each step.

    Raises
    ------
    NnunetSpineError
        As the steps raise it.
    """
    if settings.epochs < 1:
        raise BadInput(f"--epochs is {settings.epochs}; expected at least 1.")
    make_folder(settings.output)
    workspace = Workspace.from_environment(settings.output)
    workspace.apply()
    device = choose_device(settings.device)
    study = _prepare(settings, workspace, step)
    trained = _train_documented(settings, study, device, step)
    trained += _train_baseline(settings, study, device, step)
    models = {
        DOCUMENTED: Model(study.dataset, DEFAULT_TRAINER, PLANS_NAME),
        AUTO_CONFIGURED: Model(study.dataset, BASELINE_TRAINER, PLAIN_NNUNET_PLANS),
    }
    evaluations = {}
    for label, model in models.items():
        with step(f"evaluate {label}") as progress:
            evaluations[label] = ensure_evaluation(study, model, label, progress)
    notes = _notes(settings)
    trainings = {label: training_of(study.output / label) for label in models}
    comparison = compare(evaluations, notes=notes, trainings=trainings)
    inputs = {label: sha256(study.output / label / EVALUATION_FILE) for label in models}
    write_comparison(
        study.output / "comparison", comparison, make_manifest("compare", parameters={"notes": notes}, inputs=inputs)
    )
    with step("report") as progress:
        report = _report(study, models, evaluations, comparison, notes, progress)
    return DemoResult(evaluations, comparison, report, tuple(trained))


def _prepare(settings: DemoSettings, workspace: Workspace, step: StepProgress) -> Study:
    """Cohort, raw data set, plans, preprocessed cases."""
    export = settings.output / "export"
    with step("phantoms") as progress:
        write_cohort(
            export, cases=settings.cases, seed=settings.seed, background=settings.background, progress=progress
        )
    with step("convert") as progress:
        conversion = convert(
            export,
            dataset=DATASET_NUMBER,
            name=DATASET_NAME,
            raw=workspace.raw,
            preprocessed=workspace.preprocessed,
            results=workspace.results,
            seed=settings.seed,
            processes=allocated_cpus(),
            progress=progress,
            page=conversion_page,
        )
    study = Study(conversion.folder.name, workspace, settings.output / "evaluation")
    with step("plan") as progress:
        ensure_plans(study, PLANS_NAME, progress)
    with step("preprocess") as progress:
        preprocess_dataset(study.dataset, workspace, progress=progress)
    return study


def _train_documented(settings: DemoSettings, study: Study, device: str, step: StepProgress) -> list[str]:
    trained = []
    for fold in study.fold_numbers:
        job = TrainingJob(study.dataset, fold, epochs=settings.epochs, seed=settings.seed, device=device)
        with step(f"train fold {fold}") as progress:
            if not train_fold(job, study.workspace, progress=progress).was_complete:
                trained.append(f"{DOCUMENTED} fold {fold}")
    return trained


def _train_baseline(settings: DemoSettings, study: Study, device: str, step: StepProgress) -> list[str]:
    """nnU-Net's own configuration by its own commands, on the same data set and folds."""
    logs = settings.output / "logs"
    model = Model(study.dataset, BASELINE_TRAINER, PLAIN_NNUNET_PLANS)
    folds = study.fold_numbers
    trained = []
    with step("baseline nnU-Net") as progress:
        ensure_nnunet_plans(study, logs)
        for fold in folds:
            progress(fold, len(folds))
            if ensure_nnunet_fold(study, model, fold, logs, device=device):
                trained.append(f"{AUTO_CONFIGURED} fold {fold}")
        progress(len(folds), len(folds))
    return trained


def _notes(settings: DemoSettings) -> list[str]:
    anatomy = "synthetic anatomy" if settings.background is None else "synthetic lesions in real volumes"
    return [
        (
            "far from trained: no conclusion. "
            f"The documented protocol was trained for {settings.epochs} epochs instead of {PROTOCOL.epochs}, and "
            "nnU-Net's own configuration for a few iterations that cost about as much."
        ),
        f"The cohort is made up: {anatomy}. Its figures say nothing about patients.",
    ]


def _report(
    study: Study,
    models: dict[str, Model],
    evaluations: dict[str, Evaluation],
    comparison: Comparison,
    notes: list[str],
    progress: Progress,
) -> Path:
    folder = study.output.parent / "report"
    write_report(
        folder,
        title="Demo: the documented protocol beside nnU-Net's own configuration",
        models=[
            ReportModel(
                label, evaluations[label], out_of_fold_predictions(model, study.workspace), study.output / label
            )
            for label, model in models.items()
        ],
        comparison=comparison,
        images=study.raw / "imagesTr",
        references=study.raw / "labelsTr",
        notes=notes,
        departures={label: _departures(study, model) for label, model in models.items()},
        comparison_folder=study.output / "comparison",
        progress=progress,
    )
    return folder / INDEX_FILE


def _departures(study: Study, model: Model) -> list[str]:
    """Departures of all folds of a model, each once."""
    return [departure.describe() for departure in recorded_departures(model.folder(study.workspace))]
