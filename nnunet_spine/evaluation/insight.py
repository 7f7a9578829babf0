"""What an evaluation says beyond its table: strata, worst cases, calibration; as keys, tables and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine.evaluation import calibration, strata, worst_cases
from nnunet_spine.evaluation.facts import CaseFacts
from nnunet_spine.files import csv_text


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
