"""What an evaluation says beyond its table: strata, worst cases, calibration; as keys, tables and files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnunet_spine.cases import Case, Fold
from nnunet_spine.evaluation import calibration, strata, worst_cases
from nnunet_spine.evaluation.evaluate import evaluate
from nnunet_spine.evaluation.facts import CaseFacts, PlanningTables, gather
from nnunet_spine.evaluation.masks import locate_predictions
from nnunet_spine.evaluation.observation import Observer
from nnunet_spine.evaluation.results import Evaluation
from nnunet_spine.files import csv_text
from nnunet_spine.progress import Progress, silent
from nnunet_spine.protocol import PROTOCOL, Criterion

FILES = (
    strata.STRATA_FILE,
    worst_cases.WORST_CASES_FILE,
    calibration.CALIBRATION_FILE,
    calibration.UNCERTAINTY_FILE,
)


@dataclass(frozen=True)
class Insight:
    """Strata, worst cases and calibration of one evaluation."""

    strata: strata.Strata
    worst_cases: worst_cases.WorstCases
    calibration: calibration.Calibration

    def to_json(self) -> dict[str, Any]:
        """Further keys of evaluation.json."""
        return {
            "strata": self.strata.to_json(),
            "worst_cases": self.worst_cases.to_json(),
            "calibration": self.calibration.to_json(),
        }

    def csv_files(self) -> dict[str, str]:
        """Content by file name; a table without rows has its header, so that none of an earlier run stays."""
        bins, cases = self.calibration.bin_rows(), self.calibration.case_rows()
        return {
            strata.STRATA_FILE: csv_text(strata.STRATA_COLUMNS, self.strata.csv_rows()),
            worst_cases.WORST_CASES_FILE: csv_text(worst_cases.COLUMNS, self.worst_cases.csv_rows()),
            calibration.CALIBRATION_FILE: csv_text(calibration.BIN_COLUMNS, bins),
            calibration.UNCERTAINTY_FILE: csv_text(calibration.CASE_COLUMNS, cases),
        }


def evaluate_with_insight(
    reference: Path,
    predictions: Path,
    folds: Sequence[Fold],
    *,
    cases: Sequence[Case] | None = None,
    images: Mapping[str, Path] | None = None,
    planned: PlanningTables | None = None,
    criterion: Criterion = PROTOCOL.criterion,
    progress: Progress = silent,
) -> tuple[Evaluation, Insight]:
    """Judge each test case of each fold, and say where the model does well and where it does not.

    Parameters
    ----------
    reference, predictions, folds, cases, criterion, progress
        As for `nnunet_spine.evaluation.evaluate.evaluate`, whose errors are raised. Probabilities that nnU-Net saved
        beside predictions are read.
    images
        Image by case, from `images_by_case`; None leaves the look of lesions unknown.
    planned
        What the plans' tables say of the cases.

    Returns
    -------
    evaluation
        With a problem for each image or file of probabilities that could not be used.
    insight
        Strata, worst cases and calibration.
    """
    located = locate_predictions(predictions, {case: fold.number for fold in folds for case in fold.test})
    observer = Observer(images, located.paths)
    evaluation = evaluate(
        reference, predictions, folds, cases=cases, criterion=criterion, progress=progress, witness=observer
    )
    evaluation = replace(evaluation, problems=(*evaluation.problems, *observer.problems()))
    facts = gather(evaluation, observer.seen, folds, cases=cases, planned=planned)
    return evaluation, look_into(facts, with_images=images is not None)


def look_into(facts: Sequence[CaseFacts], *, with_images: bool) -> Insight:
    """Strata, worst cases and calibration of the judged cases.

    Parameters
    ----------
    facts
        From `nnunet_spine.evaluation.facts.gather`.
    with_images
        Whether images were given.
    """
    return Insight(
        strata.stratify(facts, with_images=with_images),
        worst_cases.find_worst(facts),
        calibration.calibrate(facts),
    )
