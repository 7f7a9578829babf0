"""Models to report, from evaluations that were made before: their predictions and references must be the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.evaluation.compare import COMPARISON_FILE, label_models
from nnunet_spine.evaluation.masks import volumes_by_case
from nnunet_spine.evaluation.output import hash_of
from nnunet_spine.evaluation.results import EVALUATION_FILE, name_some
from nnunet_spine.files import is_folder, is_regular_file
from nnunet_spine.json_entries import read_entry
from nnunet_spine.manifest import MANIFEST_FILE, recorded_inputs
from nnunet_spine.reporting.report import ReportModel


def models_of_evaluations(
    evaluations: Sequence[Path], predictions: Sequence[Path], references: Path, *, labels: Sequence[str] | None = None
) -> list[ReportModel]:
    """Models to report.

    Parameters
    ----------
    evaluations
        Folders of evaluations, or their evaluation.json.
    predictions
        The predictions that each was made from, in the same order.
    references
        Folder of CASE.nii.gz.
    labels
        One for each; None takes the names of the evaluations' folders.

    Raises
    ------
    NotFound, BadInput
        Where a folder or file is absent or cannot be used, there is not one folder of predictions for each evaluation,
        or a mask is not the one that was judged, by the SHA-256 in the evaluation's manifest.
    """
    if len(predictions) != len(evaluations):
        raise BadInput(
            f"{len(evaluations)} evaluations and {len(predictions)} folders of predictions were given. Give one "
            "--predictions for each --evaluation, in the same order."
        )
    if not is_folder(references):
        raise NotFound(f"There is no folder {references} with references. Check the path.")
    files = [path / EVALUATION_FILE if is_folder(path) else path for path in evaluations]
    judged = label_models(files, labels)
    models = [
        ReportModel(label, evaluation, folder, file.parent)
        for (label, evaluation), file, folder in zip(judged.items(), files, predictions, strict=True)
    ]
    for model, file in zip(models, files, strict=True):
        _check_same_masks(model, _recorded_hashes(file.parent), references)
    return models


@dataclass(frozen=True)
class EarlierComparison:
    """What of a comparison is not in the evaluations.

    Parameters
    ----------
    notes
        Its caveats.
    methods
        Method of each model, or None.
    """

    notes: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None


def earlier_comparison(folder: Path, models: Sequence[ReportModel]) -> EarlierComparison:
    """Notes and methods of the comparison in `folder`, as `nnunet-spine compare` wrote it.

    Raises
    ------
    NotFound, BadInput
        Where it is absent or cannot be read, or was not made of these evaluations in this order.
    """
    path = folder / COMPARISON_FILE
    if not is_regular_file(path):
        raise NotFound(f"There is no {COMPARISON_FILE} in {folder}. Give the folder that `nnunet-spine compare` wrote.")
    recorded = _recorded_hashes(folder)
    content = read_entry(path, "Compare again.")
    method_of = {key.text(): name for name, keys in content.get("methods").members().items() for key in keys.items()}
    labels = {model.get("key").text(): model.get("label").text() for model in content.get("models").items()}
    if method_of and set(method_of) != set(labels):
        raise content.get("methods").refuse("does not name each model once")
    notes = tuple(note.text() for note in content.get("notes").items())
    earlier = EarlierComparison(notes, tuple(method_of[key] for key in labels if method_of) or None)
    made_of = {labels.get(key): value for key, value in recorded.items()}
    now = {model.label: hash_of(model.folder / EVALUATION_FILE) for model in models if model.folder}
    if list(labels.values()) != list(now) or made_of != now:
        raise BadInput(
            f"{folder} compares {name_some(list(labels.values()))}, and not these evaluations as they are now: "
            f"{name_some(list(now))}. Give the same ones with the same labels, in the same order, or compare again."
        )
    return earlier


def _recorded_hashes(folder: Path) -> Mapping[str, str]:
    path = folder / MANIFEST_FILE
    if not is_regular_file(path):
        raise NotFound(
            f"There is no {MANIFEST_FILE} in {folder}: what it was made from cannot be checked. Make it again, or give "
            "the folder that `nnunet-spine evaluate` or `nnunet-spine compare` wrote."
        )
    return recorded_inputs(folder)


def _check_same_masks(model: ReportModel, recorded: Mapping[str, str], references: Path) -> None:
    """Refuse masks that are not those that were judged; one that was missing then must be missing now."""
    for role, paths in (("prediction", model.paths()), ("reference", volumes_by_case(references))):
        cases = [result.case for result in model.evaluation.results]
        other = [case for case in cases if recorded.get(f"{role}/{case}") != _hash(paths.get(case))]
        if other:
            raise BadInput(
                f"These {role}s are not those that {model.label} was judged on, by the hashes in its manifest: "
                f"{name_some(other)}. Give the folder that it was evaluated with, or evaluate again."
            )


def _hash(path: Path | None) -> str | None:
    return hash_of(path) if path and is_regular_file(path) else None
