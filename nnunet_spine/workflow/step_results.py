"""The record of a step that ended well: what it was made of, and what stands for its result in the steps after it."""

from __future__ import annotations

from typing import Any

from nnunet_spine.cases import CASES_FILE, SPLITS_FILE, read_splits
from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.files import sha256
from nnunet_spine.workflow.demands import plan_facts
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import Step, digest


def record_of(step: Step, study: StudySettings, wanted: str) -> dict[str, Any]:
    """Record of a step that has just ended well; no times, so that the same result gives the same bytes.

    Parameters
    ----------
    step, study
        What was done.
    wanted
        Fingerprint of the step.

    Raises
    ------
    BadInput, NotFound
        Where a data set is not what the study says.
    """
    record = {"step": step.name, "fingerprint": wanted, "result": wanted}
    if step.kind == "convert":
        return {**record, "result": dataset_digest(study)}
    if step.kind == "plan":
        return {**record, "facts": plan_facts(step, study)}
    return record


def dataset_digest(study: StudySettings) -> str:
    """SHA-256 over the images, references, cases and folds of the data set.

    Raises
    ------
    BadInput, NotFound
        Where there are no folds, or not as many as the study says.
    """
    name = study.dataset_name()
    raw, splits = study.workspace().raw / name, study.workspace().preprocessed / name / SPLITS_FILE
    if not splits.is_file():
        raise NotFound(f"There are no folds {splits}. `nnunet-spine convert` writes them.")
    folds = len(read_splits(splits))
    if folds != study.folds:
        raise BadInput(f"{splits} has {folds} folds, and {study.file} says folds: {study.folds}. Make them agree.")
    files = [path for folder in ("imagesTr", "labelsTr") for path in sorted((raw / folder).glob("*.nii.gz"))]
    files += [path for path in (raw / "dataset.json", raw / CASES_FILE, splits) if path.is_file()]
    return digest({f"{path.parent.name}/{path.name}": sha256(path) for path in files})
