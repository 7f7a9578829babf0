"""Write results as files that appear together: JSON, tables and their manifest."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nnunet_spine.cases import Fold
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.evaluation.masks import locate_predictions, volumes_by_case
from nnunet_spine.evaluation.measures import MEASURE_COLUMNS
from nnunet_spine.evaluation.probabilities import probability_file
from nnunet_spine.evaluation.results import EVALUATION_FILE, NESTED, CaseResult, Evaluation, Figures, Group, name_some
from nnunet_spine.evaluation.summary import summarise
from nnunet_spine.files import (
    check_output,
    csv_text,
    is_regular_file,
    json_text,
    make_folder,
    sha256,
    system_reason,
    writable_text,
)
from nnunet_spine.locks import sole_writer_in
from nnunet_spine.manifest import MANIFEST_FILE, recorded_step

PER_CASE_FILE = "per_case.csv"
PER_FOLD_FILE = "per_fold.csv"
SUMMARY_FILE = "summary.csv"
STEP = "evaluate"
FILES = (PER_CASE_FILE, PER_FOLD_FILE, SUMMARY_FILE, MANIFEST_FILE, EVALUATION_FILE)

PER_CASE_COLUMNS = (*[f.name for f in fields(CaseResult) if f.name not in NESTED], "missing", *MEASURE_COLUMNS)
_COUNTS = tuple(f.name for f in fields(Group) if f.name != "figures")
PER_FOLD_COLUMNS = ("fold", *_COUNTS, "specificity", *[f.name for f in fields(Figures)])


@contextmanager
def results_folder(folder: Path, step: str, names: Collection[str]) -> Iterator[Path]:
    """Hold a folder for the results of a step, and check that they can be written before they are worked out.

    If the block raises, the folder is removed if it was made for this and is empty.

    Parameters
    ----------
    folder
        Created where absent.
    step
        That makes the results, by its name in the manifest: results of this step are replaced.
    names
        Files that the step writes.

    Raises
    ------
    NotWritable
        If another process is at work in it, it cannot be written, or one of the files is there and was not made by
        this step.
    """
    with sole_writer_in(folder):
        _check_replaced(folder, step, names)
        yield folder


def _check_replaced(folder: Path, step: str, names: Collection[str]) -> None:
    for name in names:
        check_output(folder / name)
    there = sorted(name for name in names if (folder / name).exists())
    made_by = recorded_step(folder)
    if there and made_by != step:
        whose = "no manifest.json of this program" if made_by is None else f"the manifest.json of `{made_by}`"
        raise NotWritable(
            f"{folder} holds {name_some(there)} and {whose}: `nnunet-spine {step}` did not write that, and leaves it "
            "alone. Choose another folder, or move that away."
        )


def write_together(folder: Path, texts: Mapping[str, str], *, step: str) -> None:
    """Write several text files into `folder`; none is in place before all are complete.

    Files of these names are replaced, so that a command can be repeated; other files stay.

    Parameters
    ----------
    folder
        Created where absent.
    texts
        Content by file name, the manifest among them.
    step
        As for `results_folder`.

    Raises
    ------
    NotWritable
        As for `results_folder`.
    """
    _check_replaced(make_folder(folder), step, texts)
    try:
        with tempfile.TemporaryDirectory(prefix=".partial.", dir=folder, ignore_cleanup_errors=True) as name:
            staging = Path(name)
            for name, text in texts.items():
                (staging / name).write_text(writable_text(text), encoding="utf-8")
            for name in texts:
                (staging / name).replace(folder / name)
    except OSError as error:
        raise NotWritable(
            f"Cannot write into {folder}: {system_reason(error)}. Nothing was left half written."
        ) from error


def hash_masks(
    reference: Path, predictions: Path, folds: Sequence[Fold], images: Mapping[str, Path] | None = None
) -> dict[str, str]:
    """SHA-256 of every mask, image and file of probabilities that an evaluation reads, for its manifest.

    Parameters
    ----------
    reference, predictions, folds
        As for `nnunet_spine.evaluation.evaluate.evaluate`.
    images
        Image by case, where they are read.

    Returns
    -------
    dict
        By "reference/CASE", "prediction/CASE", "image/CASE" and "probabilities/CASE", sorted.
    """
    fold_of = {case: fold.number for fold in folds for case in fold.test}
    references = {case: path for case, path in volumes_by_case(reference).items() if case in fold_of}
    located = locate_predictions(predictions, fold_of).paths
    beside = {case: found for case, path in located.items() if (found := probability_file(path))}
    used = {case: path for case, path in (images or {}).items() if case in references}
    roles = {"reference": references, "prediction": located, "image": used, "probabilities": beside}
    return {
        f"{role}/{case}": hash_of(path)
        for role, paths in roles.items()
        for case, path in sorted(paths.items())
        if is_regular_file(path)  # anything else was judged unusable
    }


def hash_of(path: Path) -> str:
    """SHA-256 of a file that was judged or is to be shown; `BadInput` if it cannot be read."""
    try:
        return sha256(path)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {system_reason(error)}. Check its permissions.") from error


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    manifest: Mapping[str, Any],
    *,
    more: Mapping[str, Any] = MappingProxyType({}),
    more_files: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write evaluation.json, per_case.csv, per_fold.csv, summary.csv, manifest.json, and what else was computed.

    Parameters
    ----------
    folder
        Created where absent.
    evaluation
        What to write.
    manifest
        From `nnunet_spine.manifest.make_manifest`.
    more
        Further keys of evaluation.json.
    more_files
        Further text files by name.

    Returns
    -------
    dict
        Content of evaluation.json.
    """
    summary = summarise(evaluation)
    content = {**evaluation.to_json(), "summary": summary.to_json(), **more}
    average = content["average"]
    rows = [
        *content["folds"],
        {"fold": "mean of folds", **average["mean_of_folds"]},
        {"fold": "pooled", **average["pooled"]},
    ]
    write_together(
        folder,
        {
            PER_CASE_FILE: csv_text(PER_CASE_COLUMNS, content["cases"]),
            SUMMARY_FILE: csv_text(list(summary.rows()[0]), summary.rows()),
            PER_FOLD_FILE: csv_text(PER_FOLD_COLUMNS, rows),
            **more_files,
            MANIFEST_FILE: json_text(manifest),
            EVALUATION_FILE: json_text(content),
        },
        step=STEP,
    )
    return content
