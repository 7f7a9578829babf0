"""Write results as files that appear together: JSON, tables and their manifest."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nnunet_spine.cases import Fold
from nnunet_spine.errors import NotWritable
from nnunet_spine.evaluation.masks import locate_predictions, volumes_by_case
from nnunet_spine.evaluation.measures import MEASURE_COLUMNS
from nnunet_spine.evaluation.probabilities import probability_file
from nnunet_spine.evaluation.results import EVALUATION_FILE, CaseResult, Evaluation, Figures, Group
from nnunet_spine.evaluation.summary import summarise
from nnunet_spine.files import csv_text, json_text, make_folder, sha256
from nnunet_spine.manifest import MANIFEST_FILE

PER_CASE_FILE = "per_case.csv"
PER_FOLD_FILE = "per_fold.csv"
SUMMARY_FILE = "summary.csv"

PER_CASE_COLUMNS = (*[f.name for f in fields(CaseResult) if f.name != "measures"], "missing", *MEASURE_COLUMNS)
_COUNTS = tuple(f.name for f in fields(Group) if f.name != "figures")
PER_FOLD_COLUMNS = ("fold", *_COUNTS, "specificity", *[f.name for f in fields(Figures)])


def write_together(folder: Path, texts: Mapping[str, str]) -> None:
    """Write several text files into `folder`; none is in place before all are complete.

    Files of these names are replaced, so that a command can be repeated; other files stay.

    Parameters
    ----------
    folder
        Created where absent.
    texts
        Content by file name.

    Raises
    ------
    NotWritable
        Where the folder cannot be created or written.
    """
    staging = Path(tempfile.mkdtemp(prefix=".partial.", dir=make_folder(folder)))
    try:
        for name, text in texts.items():
            (staging / name).write_text(text, encoding="utf-8")
        for name in texts:
            (staging / name).replace(folder / name)
    except OSError as error:
        raise NotWritable(
            f"Cannot write into {folder}: {error.strerror or error}. Nothing was left half written."
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


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
    return {f"{role}/{case}": sha256(path) for role, paths in roles.items() for case, path in sorted(paths.items())}


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
    )
    return content
