"""Whether probabilities keep what they promise: bins, expected calibration error, Brier score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

VOXEL_EDGES = tuple(k / 10 for k in range(11))
"""Bins of voxels: ten of equal width, each with its lower edge, the last with both."""

GROUPS, FEWEST_PER_GROUP = 5, 5
"""Bins of cases: at most five of equal number, each of at least five cases."""


@dataclass(frozen=True)
class Bin:
    """One bin of a reliability diagram.

    Parameters
    ----------
    low, high
        Its range of confidence.
    n
        How many are in it.
    confidence_sum, observed
        Sum of their confidences, and how many of them are so.
    """

    low: float
    high: float
    n: int
    confidence_sum: float
    observed: int

    @property
    def mean_confidence(self) -> float | None:
        """Mean confidence; None for an empty bin."""
        return self.confidence_sum / self.n if self.n else None

    @property
    def frequency(self) -> float | None:
        """Observed frequency; None for an empty bin."""
        return self.observed / self.n if self.n else None


@dataclass(frozen=True)
class Reliability:
    """Bins and the sum of squared errors; those of several cases add up.

    Parameters
    ----------
    bins
        Ascending.
    squared_error
        Sum of (confidence - outcome)^2.
    """

    bins: tuple[Bin, ...]
    squared_error: float

    def __add__(self, other: Reliability) -> Reliability:
        """Both together, of the same edges."""
        bins = tuple(
            Bin(a.low, a.high, a.n + b.n, a.confidence_sum + b.confidence_sum, a.observed + b.observed)
            for a, b in zip(self.bins, other.bins, strict=True)
        )
        return Reliability(bins, self.squared_error + other.squared_error)

    @property
    def n(self) -> int:
        """How many there are."""
        return sum(b.n for b in self.bins)

    @property
    def ece(self) -> float | None:
        """Expected calibration error: mean of |frequency - mean confidence| weighted by n; None without any.

        Source: Naeini MP et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.
        """
        return sum(abs(b.observed - b.confidence_sum) for b in self.bins) / self.n if self.n else None

    @property
    def brier(self) -> float | None:
        """Mean squared error; None without any. Source: Brier GW, Monthly Weather Review 78(1):1-3, 1950."""
        return self.squared_error / self.n if self.n else None

    def to_json(self) -> dict[str, Any]:
        """Figures and bins."""
        return {
            "n": self.n,
            "ece": self.ece,
            "brier": self.brier,
            "bins": [
                {
                    "low": b.low,
                    "high": b.high,
                    "n": b.n,
                    "mean_confidence": b.mean_confidence,
                    "observed_frequency": b.frequency,
                }
                for b in self.bins
            ],
        }


def reliability_of_voxels(probability: npt.NDArray[Any], truth: npt.NDArray[np.bool_]) -> Reliability:
    """Reliability in the bins of `VOXEL_EDGES`.

    Parameters
    ----------
    probability, truth
        Arrays of one shape: probability 0 to 1, and whether it is so.
    """
    p, y = probability.astype(np.float64).ravel(), truth.ravel()
    number = np.searchsorted(VOXEL_EDGES[1:-1], p, side="right")
    bins = len(VOXEL_EDGES) - 1
    n, sums, observed = (np.bincount(number, weights, minlength=bins) for weights in (None, p, y))
    rows = zip(pairwise(VOXEL_EDGES), n, sums, observed, strict=True)
    found = tuple(Bin(*edges, int(count), float(total), int(positive)) for edges, count, total, positive in rows)
    return Reliability(found, float(((p - y) ** 2).sum()))


def reliability_of_cases(confidence: Sequence[float], outcome: Sequence[bool]) -> Reliability | None:
    """Reliability in groups of equal number, by ascending confidence.

    Parameters
    ----------
    confidence, outcome
        One of each for each case.

    Returns
    -------
    Reliability
        None where there are fewer than `FEWEST_PER_GROUP` cases.
    """
    groups = min(GROUPS, len(confidence) // FEWEST_PER_GROUP)
    if not groups:
        return None
    p, y = np.asarray(confidence, float), np.asarray(outcome, bool)
    order = np.argsort(p, kind="stable")
    bins = tuple(
        Bin(float(p[part].min()), float(p[part].max()), len(part), float(p[part].sum()), int(y[part].sum()))
        for part in np.array_split(order, groups)
    )
    return Reliability(bins, float(((p - y) ** 2).sum()))
