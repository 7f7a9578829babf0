"""Whether a model's confidence can be trusted: over voxels, over cases, and as a forecast of each case's Dice."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from nnunet_spine.evaluation.certainty import REGION_MM, Certainty
from nnunet_spine.evaluation.facts import FEWEST, CaseFacts
from nnunet_spine.evaluation.reliability import VOXEL_EDGES, Reliability, reliability_of_cases
from nnunet_spine.evaluation.tables import UNDEFINED, number

CALIBRATION_FILE, UNCERTAINTY_FILE = "calibration.csv", "uncertainty.csv"
BIN_COLUMNS = ("level", "low", "high", "n", "mean_confidence", "observed_frequency")
CASE_COLUMNS = (
    "case",
    "patient",
    "fold",
    "dice",
    "detected",
    "detection_confidence",
    "expected_dice",
    "entropy_bits",
    "voxel_brier",
    "voxel_ece",
)
BIN_HEADER = ("confidence", "n", "mean confidence", "observed")
_Z = 1.959963984540054
"""97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of a certainty with Dice over cases.

    Parameters
    ----------
    name
        Of the certainty.
    n
        Cases that have both.
    rho
        -1 to 1; None where n is under `FEWEST`, or all values of one side are the same.
    low, high
        95 % interval; None where rho is.
    """

    name: str
    n: int
    rho: float | None = None
    low: float | None = None
    high: float | None = None

    def describe(self) -> str:
        """As "expected Dice +0.62 (95 % +0.41 to +0.77, n = 58)"."""
        if self.rho is None or self.low is None or self.high is None:
            reason = f"not judged, n = {self.n}" if self.n < FEWEST else f"not defined, n = {self.n}, no spread"
            return f"{self.name} {reason}"
        return f"{self.name} {self.rho:+.2f} (95 % {self.low:+.2f} to {self.high:+.2f}, n = {self.n})"

    def to_json(self) -> dict[str, Any]:
        """The fields."""
        return {"certainty": self.name, "n": self.n, "rho": self.rho, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class CaseUncertainty:
    """What the probabilities of one case say."""

    facts: CaseFacts
    certainty: Certainty
    voxels: Reliability


@dataclass(frozen=True)
class Calibration:
    """Calibration of one model over the judged cases whose probabilities were saved.

    Parameters
    ----------
    cases
        In the evaluation's order.
    judged
        Number of judged cases, with probabilities or without.
    """

    cases: tuple[CaseUncertainty, ...]
    judged: int

    @property
    def voxels(self) -> Reliability | None:
        """Reliability of all voxels of all cases, large lesions weighing more; None without cases."""
        return reduce(add, [case.voxels for case in self.cases]) if self.cases else None

    @property
    def detection(self) -> Reliability | None:
        """Confidence of detection against detection; None below 5 cases."""
        pairs = [(case.certainty.detection, bool(case.facts.result.detected)) for case in self.cases]
        return reliability_of_cases([p for p, _ in pairs], [y for _, y in pairs])

    @property
    def dice_gap(self) -> float | None:
        """Mean of expected minus actual Dice: above 0, the model promises too much. None below `FEWEST` cases."""
        gaps = [c.certainty.expected_dice - c.facts.dice for c in self.cases if c.certainty.expected_dice is not None]
        return float(np.mean(gaps)) if len(gaps) >= FEWEST else None

    @property
    def correlations(self) -> tuple[Correlation, ...]:
        """Of each certainty with Dice."""
        dice = [case.facts.dice for case in self.cases]
        sure = [case.certainty for case in self.cases]
        return (
            rank_correlation("expected Dice", [c.expected_dice for c in sure], dice),
            rank_correlation("entropy", [c.entropy_bits for c in sure], dice),
            rank_correlation("detection confidence", [c.detection for c in sure], dice),
        )

    def to_json(self) -> dict[str, Any] | None:
        """Value of the key "calibration" in evaluation.json; None where no probabilities were saved."""
        if not self.cases:
            return None
        return {
            "definition": definition(),
            "sentences": list(self.sentences()),
            "cases_with_probabilities": len(self.cases),
            "cases_judged": self.judged,
            "voxels": self.voxels.to_json() if self.voxels else None,
            "detection": self.detection.to_json() if self.detection else None,
            "expected_minus_actual_dice": self.dice_gap,
            "rank_correlations_with_dice": [c.to_json() for c in self.correlations],
            "cases": self.case_rows(),
        }

    def bin_rows(self) -> list[dict[str, Any]]:
        """Rows of calibration.csv."""
        levels = {"voxel": self.voxels, "case": self.detection}
        return [{"level": k, **row} for k, found in levels.items() if found for row in found.to_json()["bins"]]

    def case_rows(self) -> list[dict[str, Any]]:
        """Rows of uncertainty.csv."""
        return [
            {
                **{name: getattr(case.facts.result, name) for name in CASE_COLUMNS[:5]},
                "detection_confidence": case.certainty.detection,
                "expected_dice": case.certainty.expected_dice,
                "entropy_bits": case.certainty.entropy_bits,
                "voxel_brier": case.voxels.brier,
                "voxel_ece": case.voxels.ece,
            }
            for case in self.cases
        ]

    def table_rows(self) -> list[tuple[str, ...]]:
        """Rows of voxels below `BIN_HEADER`."""
        return bin_cells(self.voxels.to_json()["bins"]) if self.voxels else []

    def sentences(self) -> Iterator[str]:
        """What to read below the table."""
        if self.voxels is None:
            return
        yield (
            f"Voxels of {len(self.cases)} of {self.judged} cases within {REGION_MM:.0f} mm of reference or prediction: "
            f"expected calibration error {number(self.voxels.ece, 3)}, Brier score {number(self.voxels.brier, 3)}."
        )
        found = self.detection
        yield (
            f"Detection: expected calibration error {number(found.ece)}, Brier score {number(found.brier)} over "
            f"{len(found.bins)} groups of cases."
            if found
            else f"Detection: n < {FEWEST}, not judged."
        )
        gap = UNDEFINED if self.dice_gap is None else f"{self.dice_gap:+.2f}"
        yield (
            f"Expected minus actual Dice: {gap} on average. Rank correlation with Dice: "
            + "; ".join(correlation.describe() for correlation in self.correlations)
            + "."
        )


def bin_cells(bins: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows below `BIN_HEADER` of the bins in evaluation.json."""
    return [
        (
            f"{one['low']:.1f} to {one['high']:.1f}",
            str(one["n"]),
            number(one["mean_confidence"]),
            number(one["observed_frequency"]),
        )
        for one in bins
    ]


def calibrate(facts: Sequence[CaseFacts]) -> Calibration:
    """Calibration over the judged cases that have probabilities."""
    cases = tuple(
        CaseUncertainty(fact, fact.seen.certainty, fact.seen.voxels)
        for fact in facts
        if fact.seen.certainty is not None and fact.seen.voxels is not None
    )
    return Calibration(cases, len(facts))


def definition() -> str:
    """What the figures of calibration are."""
    return (
        f"Voxels: tumor probability in {len(VOXEL_EDGES) - 1} bins against the share of tumor, within "
        f"{REGION_MM:.0f} mm along each axis of reference or prediction. Cases: mean probability of the predicted "
        "voxels (where none is predicted, the highest of the image) against detection, in up to 5 groups of equal "
        "number. Expected Dice: 2 * sum of p over the prediction / (predicted voxels + sum of p over the image). "
        "Entropy: mean binary entropy of the predicted voxels, in bits."
    )


def rank_correlation(name: str, certainty: Sequence[float | None], dice: Sequence[float]) -> Correlation:
    """Spearman's correlation with the interval of Bonett and Wright.

    Parameters
    ----------
    name
        Of the certainty.
    certainty, dice
        One of each for each case; cases without a certainty are left out.

    Source
    ------
    Bonett DG, Wright TA, "Sample size requirements for estimating Pearson, Kendall and Spearman correlations",
    Psychometrika 65(1):23-28, 2000.
    """
    pairs = [(c, d) for c, d in zip(certainty, dice, strict=True) if c is not None]
    n = len(pairs)
    if n < FEWEST or any(len(set(side)) == 1 for side in zip(*pairs, strict=True)):
        return Correlation(name, n)
    from scipy.stats import spearmanr

    columns = np.array(pairs)
    rho = float(spearmanr(columns[:, 0], columns[:, 1]).statistic)
    if abs(rho) >= 1:
        return Correlation(name, n, math.copysign(1.0, rho), math.copysign(1.0, rho), math.copysign(1.0, rho))
    half = _Z * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return Correlation(name, n, rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))
