"""The command of each step: this package's own, as a user would type it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE
from nnunet_spine.nnunet.environment import CONFIGURATION, CPUS_VARIABLE, TENSORBOARD_VARIABLE
from nnunet_spine.workflow.study_settings import StudySettings, number_text
from nnunet_spine.workflow.study_steps import Step


def command_of(step: Step, study: StudySettings, cpus: int) -> list[str] | None:
    """Arguments of `nnunet-spine` for a step, or None where it only looks at what is there.

    Parameters
    ----------
    step
        The step.
    study
        Its study.
    cpus
        CPUs that it may use.
    """
    makers = {"plan": _plan, "preprocess": _preprocess, "train": _train}
    if step.kind == "convert":
        return _convert(study) if study.source is not None else None
    if step.kind in makers:
        return makers[step.kind](step, study, cpus)
    return {"evaluate": _evaluate, "compare": _compare, "report": _report}[step.kind](step, study)


def variables_of(step: Step, study: StudySettings, cpus: int) -> dict[str, str]:
    """Environment variables of a step: nnU-Net's folders, and workers by the CPUs of the step, not of the machine."""
    workspace = study.workspace(step.model)
    workers = str(cpus)
    variables = {
        "nnUNet_raw": str(workspace.raw),
        "nnUNet_preprocessed": str(workspace.preprocessed),
        "nnUNet_results": str(workspace.results),
        "nnUNet_n_proc_DA": workers,
        "nnUNet_def_n_proc": workers,
        CPUS_VARIABLE: workers,
        TENSORBOARD_VARIABLE: "1" if study.tensorboard and step.kind == "train" else "",
        "PYTHONUNBUFFERED": "1",
    }
    if step.kind == "train":
        variables["OMP_NUM_THREADS"] = str(study.threads)
    return variables


def model_folder(step: Step, study: StudySettings) -> Path:
    """nnU-Net's folder of a step's model."""
    if step.model is None:
        raise ValueError(f"{step.name} is about no model")
    return _folder_of(study, step.model.label)


def fold_folder(step: Step, study: StudySettings) -> Path:
    """nnU-Net's folder of a training."""
    return model_folder(step, study) / f"fold_{step.fold}"


def _folder_of(study: StudySettings, label: str) -> Path:
    model = study.model(label)
    return study.workspace(model).model_folder(study.dataset_name(), model.trainer, model.plans.name, CONFIGURATION)


def evaluation_folder(study: StudySettings, label: str) -> Path:
    """Where a model's evaluation goes."""
    return study.output / "evaluation" / label


def _convert(study: StudySettings) -> list[str]:
    options = ["--dataset", str(study.dataset), "--name", study.name]
    options += ["--folds", str(study.folds), "--seed", str(study.seed)]
    return ["convert", str(study.source), *options, *(["--allow-partial"] if study.allow_partial else [])]


def _plan(step: Step, study: StudySettings, cpus: int) -> list[str]:
    plans = step.plans
    if plans is None or plans.by_nnunet:
        options = ["-d", str(study.dataset), "-c", CONFIGURATION, "-npfp", str(cpus), "--no_pp"]
        return ["exec", "nnUNetv2_plan_and_preprocess", *options]
    options = ["--plans-name", plans.name]
    options += ["--bias", plans.bias] if plans.bias is not None else []
    options += ["--gamma", number_text(plans.gamma)] if plans.gamma is not None else []
    options += ["--memory-gib", number_text(plans.memory_gib)] if plans.memory_gib is not None else []
    return ["plan", study.dataset_name(), *options]


def _preprocess(step: Step, study: StudySettings, cpus: int) -> list[str]:
    plans = step.plans
    if plans is None or plans.by_nnunet:
        options = ["-d", str(study.dataset), "-plans_name", "nnUNetPlans", "-c", CONFIGURATION, "-np", str(cpus)]
        return ["exec", "nnUNetv2_preprocess", *options]
    return ["preprocess", study.dataset_name(), "--plans", plans.name]


def _train(step: Step, study: StudySettings, _cpus: int) -> list[str]:
    if step.model is None:
        raise ValueError(f"{step.name} is about no model")
    model = step.model
    options = ["--trainer", model.trainer, "--plans", model.plans.name]
    options += ["--epochs", str(model.epochs)] if model.epochs is not None else []
    options += ["--precision", model.precision] if model.precision is not None else []
    options += ["--seed", str(model.seed), "--threads", str(study.threads), "--device", study.device]
    return ["train", study.dataset_name(), str(step.fold), *options]


def _evaluate(step: Step, study: StudySettings) -> list[str]:
    raw = study.workspace().raw / study.dataset_name()
    preprocessed = study.workspace().preprocessed / study.dataset_name()
    model = step.model
    if model is None:
        raise ValueError(f"{step.name} is about no model")
    options = ["--reference", raw / "labelsTr", "--predictions", model_folder(step, study)]
    options += ["--splits", preprocessed / SPLITS_FILE, "--images", raw / "imagesTr"]
    options += ["--cases", raw / CASES_FILE] if (raw / CASES_FILE).is_file() else []
    if not model.plans.by_nnunet:
        options += ["--resize-ceiling", preprocessed / f"{model.plans.name}_resize_ceiling.csv"]
        options += ["--bias-fields", preprocessed / f"{model.plans.name}_bias_fields.csv"]
    options += ["--output", evaluation_folder(study, model.label)]
    return ["evaluate", *map(str, options), "--accept-empty"]


def _notes(study: StudySettings) -> list[str]:
    return [f"--note={note}" for note in study.notes]  # a note may begin with -


def _labels(study: StudySettings) -> list[str]:
    return ["--labels", *(model.label for model in study.models)]


def _compare(_step: Step, study: StudySettings) -> list[str]:
    folders = [str(evaluation_folder(study, model.label)) for model in study.models]
    methods: Sequence[str] = [model.method for model in study.models if model.method]
    options = [*_labels(study), *(["--methods", *methods] if methods else []), *_notes(study)]
    return ["compare", *folders, *options, "--output", str(study.output / "comparison")]


def _report(_step: Step, study: StudySettings) -> list[str]:
    raw = study.workspace().raw / study.dataset_name()
    options: list[str] = []
    for model in study.models:
        options += ["--evaluation", str(evaluation_folder(study, model.label))]
        options += ["--predictions", str(_folder_of(study, model.label))]
    options += ["--references", str(raw / "labelsTr"), "--images", str(raw / "imagesTr"), *_labels(study)]
    options += ["--comparison", str(study.output / "comparison")] if len(study.models) > 1 else []
    options += ["--title", study.name, *_notes(study)]
    return ["report", *options, "--output", str(study.output / "report")]
