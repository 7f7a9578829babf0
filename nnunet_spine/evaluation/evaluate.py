"""Judge the predictions of a cross-validation against their references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from nnunet_spine.cases import Case, Fold
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound
from nnunet_spine.evaluation.masks import MaskVolume, locate_predictions, read_mask, reason_of, volumes_by_case
from nnunet_spine.evaluation.measures import CaseScores, score_case
from nnunet_spine.evaluation.policy import VERDICTS, MaskState, Verdict
from nnunet_spine.evaluation.results import EMPTY_PREDICTION, CaseResult, Evaluation, ReferenceGrid, name_some
from nnunet_spine.evaluation.surfaces import tool_with_version
from nnunet_spine.files import is_folder
from nnunet_spine.grids import difference, rounding_note
from nnunet_spine.images import volume_stem
from nnunet_spine.manifest import MANIFEST_FILE, predicted_by
from nnunet_spine.nnunet.environment import allocated_cpus
from nnunet_spine.nnunet.model_folder import ALL
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL, Criterion

Witness = Callable[[CaseResult, MaskVolume | None, MaskVolume | None], None]
"""Called with a case's result and its masks (reference, prediction; None where unusable), from several threads."""


MOST_EXTRA, EXTRA_NAMED = 20, 5
"""Predictions of no test case that get a line each, and how many are named if there are more."""


@dataclass(frozen=True)
class _Job:
    case: str
    patient: str
    fold: int
    reference: Path | None
    prediction: Path | None


@dataclass(frozen=True, eq=False)
class _Found:
    """A mask, or why there is none."""

    state: MaskState
    mask: MaskVolume | None = None
    remark: str = ""
    note: str = ""


def evaluate(
    reference: Path,
    predictions: Path,
    folds: Sequence[Fold],
    *,
    cases: Sequence[Case] | None = None,
    criterion: Criterion = PROTOCOL.criterion,
    progress: Progress = silent,
    witness: Witness | None = None,
) -> Evaluation:
    """Judge each test case of each fold.

    Parameters
    ----------
    reference
        Folder of CASE.nii.gz, such as nnU-Net's labelsTr.
    predictions
        Folder of CASE.nii.gz, or nnU-Net's trained-model folder; see `locate_predictions`.
    folds
        Folds of the cross-validation.
    cases
        Patient of each case; None takes each case as its own patient.
    criterion
        When a case counts as detected.
    progress
        Told after each case.
    witness
        Shown each case while its masks are in memory.

    Returns
    -------
    Evaluation
        With every test case: one without a usable prediction is a miss, and is named.

    Raises
    ------
    NotFound
        Where a folder is absent, or holds no file of any test case.
    BadInput
        If `cases` lacks a test case, or the predictions are by folds that trained on test cases.
    """
    fold_of = {case: fold.number for fold in folds for case in fold.test}
    references = _references(reference, fold_of)
    located = locate_predictions(predictions, fold_of)
    _check_unseen(predictions, folds, located.paths)
    patients = _patients(cases, fold_of)
    jobs = [
        _Job(case, patients.get(case, case), number, references.get(case), located.paths.get(case))
        for case, number in sorted(fold_of.items(), key=lambda item: (item[1], item[0]))
    ]
    untested = sorted(set(references) - set(fold_of))
    return Evaluation(
        results=tuple(_judge_all(jobs, criterion, progress, witness)),
        fold_numbers=tuple(fold.number for fold in folds),
        criterion=criterion,
        problems=(*_leaks(folds, patients), *_extra(located.extra, jobs)),
        notes=tuple(_notes(cases, untested)),
        tools={"HD95 and NSD": tool_with_version()},
    )


def _check_unseen(predictions: Path, folds: Sequence[Fold], predicted: Mapping[str, Path]) -> None:
    """Refuse what `nnunet-spine predict` made of test cases with folds that trained on them, as its manifest says."""
    used = predicted_by(predictions)
    if ALL in used:
        trained = {case for fold in folds for case in (*fold.train, *fold.test)}
    else:
        trained = {case for fold in folds if fold.number in used for case in fold.train}
    if seen := trained & set(predicted):
        names = ", ".join(str(one) for one in used)
        raise BadInput(
            f"The predictions in {predictions} are by the folds {names} of a model (its {MANIFEST_FILE}), which "
            f"trained on {len(seen)} of the {len(predicted)} cases: their Dice says nothing about new patients. Give "
            "the folder of the model, whose folds hold predictions of their own test cases. If they are other patients "
            f"with names of cases, move the {MANIFEST_FILE} away."
        )


def _references(folder: Path, fold_of: Mapping[str, int]) -> dict[str, Path]:
    if not is_folder(folder):
        raise NotFound(f"There is no folder {folder} with references. Check the path.")
    references = volumes_by_case(folder)
    if not set(references) & set(fold_of):
        raise NotFound(
            f"{folder} holds no reference of any of the {len(fold_of)} test cases. "
            "Expected CASE.nii.gz, as in nnU-Net's labelsTr."
        )
    return references


def _patients(cases: Sequence[Case] | None, fold_of: Mapping[str, int]) -> dict[str, str]:
    if cases is None:
        return {}
    patients = {case.case: case.patient for case in cases}
    unknown = sorted(set(fold_of) - set(patients))
    if unknown:
        raise BadInput(
            f"The table of cases has no row for {name_some(unknown)}, which the folds test. Add the rows, or leave the "
            "table out: each case is then its own patient."
        )
    return patients


def _leaks(folds: Sequence[Fold], patients: Mapping[str, str]) -> list[str]:
    """One line for each fold that tests a patient it was trained on."""
    lines = []
    for fold in folds:
        trained, tested = ({patients[c] for c in cases if c in patients} for cases in (fold.train, fold.test))
        if both := sorted(trained & tested):
            lines.append(
                f"fold {fold.number} tests patients that it was trained on: {name_some(both)}. Its figures flatter."
            )
    return lines


def _extra(extra: Sequence[str], jobs: Sequence[_Job]) -> list[str]:
    """One line for each prediction that no test case asked for, and the missing one that it may be; one for many."""
    if len(extra) > MOST_EXTRA:
        some = name_some(extra, EXTRA_NAMED)
        return [f"{len(extra)} predictions were not used, since their folds test no case of these names: {some}."]
    missing = [job.case for job in jobs if job.prediction is None]
    lines = []
    for name in extra:
        near = get_close_matches(volume_stem(Path(name)), missing, 1)
        guess = f" It may be the missing {near[0]} under another name: rename it if so." if near else ""
        lines.append(f"the prediction {name} was not used: its fold tests no case of this name.{guess}")
    return lines


def _notes(cases: Sequence[Case] | None, untested: Sequence[str]) -> list[str]:
    notes = []
    if cases is None:
        notes.append("no table of cases was given: each case counts as its own patient.")
    if untested:
        notes.append(f"no fold tests these references: {name_some(untested, EXTRA_NAMED)}.")
    return notes


def _judge_all(
    jobs: Sequence[_Job], criterion: Criterion, progress: Progress, witness: Witness | None
) -> list[CaseResult]:
    with ThreadPoolExecutor(allocated_cpus()) as pool:
        futures = [pool.submit(_judge, job, criterion, witness) for job in jobs]
        for done, _ in enumerate(as_completed(futures), start=1):
            progress(done, len(jobs))
        return [future.result() for future in futures]


def _judge(job: _Job, criterion: Criterion, witness: Witness | None) -> CaseResult:
    reference = _find(job.reference, "reference")
    prediction = _on_grid_of(reference, _find(job.prediction, "prediction"))
    verdict = VERDICTS[reference.state, prediction.state]
    scored = _score(reference, prediction, verdict, criterion)
    remarks = [reference.remark, prediction.remark]
    if verdict is Verdict.MISS and prediction.state is MaskState.EMPTY:
        remarks.append(EMPTY_PREDICTION)
    result = CaseResult(
        case=job.case,
        patient=job.patient,
        fold=job.fold,
        dice=scored.dice if scored else None,
        detected=scored.detected if scored else None,
        reference=reference.state,
        prediction=prediction.state,
        reference_volume_ml=reference.mask.volume_ml if reference.mask else None,
        prediction_volume_ml=prediction.mask.volume_ml if prediction.mask else None,
        problem=" ".join(filter(None, remarks)),
        note=" ".join(filter(None, [_NOTES.get(verdict, "").format(reference.state), prediction.note])),
        measures=scored.measures if scored else None,
        reference_grid=_grid_of(reference.mask),
    )
    if witness:
        witness(result, reference.mask, prediction.mask)
    return result


def _grid_of(reference: MaskVolume | None) -> ReferenceGrid | None:
    return ReferenceGrid(int(np.count_nonzero(reference.mask)), reference.geometry) if reference else None


_NOTES = {
    Verdict.NEGATIVE: "the reference is empty: the case counts towards specificity alone.",
    Verdict.EXCLUDED: "excluded from all figures: the reference is {}.",
}


def _score(reference: _Found, prediction: _Found, verdict: Verdict, criterion: Criterion) -> CaseScores | None:
    if verdict is Verdict.EXCLUDED or not reference.mask:
        return None
    predicted = prediction.mask.mask if prediction.mask else None
    spacing = reference.mask.geometry.spacing_zyx_mm
    return score_case(reference.mask.mask, predicted, spacing, verdict=verdict, criterion=criterion)


def _find(path: Path | None, role: str) -> _Found:
    if path is None:
        return _Found(MaskState.MISSING, remark=f"the {role} is missing.")
    try:
        mask = read_mask(path)
    except NnunetSpineError as error:
        return _Found(MaskState.UNUSABLE, remark=f"the {role} {path.name} is unusable: {reason_of(error, path)}")
    remark = ""
    if mask.unexpected_labels:
        labels = name_some([str(label) for label in mask.unexpected_labels])
        remark = f"the {role} holds labels besides 0 and 1: {labels}. All labels above 0 were taken as tumor."
    return _Found(MaskState.PRESENT if mask.mask.any() else MaskState.EMPTY, mask, remark)


def _on_grid_of(reference: _Found, prediction: _Found) -> _Found:
    """`prediction`, or an unusable one if its grid is not the reference's; nothing is resampled."""
    if not reference.mask or not prediction.mask:
        return prediction
    wanted, found = reference.mask.geometry, prediction.mask.geometry
    if wanted.same_grid(found):
        note = rounding_note(found, wanted)
        return replace(prediction, note=f"prediction and reference: {note}." if note else "")
    both = f"(prediction: {found.describe()}; reference: {wanted.describe()})"
    if found.is_turned(wanted):
        remark = (
            f"the prediction has the voxels of the reference in another order of axes {both}. Nothing is turned or "
            "resampled here: write it in the order of the reference, as `nnunet-spine predict` does."
        )
    else:
        remark = (
            f"the prediction is on another grid than the reference: {difference(found, wanted)} {both}. Predict on the "
            "images that belong to the references."
        )
    return _Found(MaskState.UNUSABLE, remark=remark)
