"""Tests of pairs: Wilcoxon's signed-rank test with Pratt's zeros, Hodges-Lehmann, McNemar, Holm. Pure functions.

The null distribution of the signed ranks is enumerated, given the ranks that the data have: it is exact with ties, with
zeros and at any number of pairs, where scipy.stats.wilcoxon takes the normal approximation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr

from nnunet_spine.evaluation.intervals import CONFIDENCE, ConfidenceInterval, Values

DECIMALS = 12
"""Differences are rounded to so many decimals: 0.3 - 0.1 and 0.4 - 0.2 tie, though not as floating-point numbers."""


@dataclass(frozen=True)
class SignedRank:
    """Result of Wilcoxon's signed-rank test.

    Parameters
    ----------
    pairs, zeros
        All pairs, and those without a difference.
    positive, negative
        Sums of the ranks of positive and of negative differences; zeros take the lowest ranks and are in neither.
    p
        Exact two-sided p value; 1 where no pair differs.
    rank_biserial
        Matched-pairs rank-biserial correlation, (positive - negative) / (positive + negative), -1 to 1; 0 where no pair
        differs.
    """

    pairs: int
    zeros: int
    positive: float
    negative: float
    p: float
    rank_biserial: float


def signed_rank(differences: Values) -> SignedRank:
    """Wilcoxon's signed-rank test of paired differences, zeros handled as Pratt does.

    Parameters
    ----------
    differences
        One for each independent unit (patient), shape (n,).

    Source
    ------
    Wilcoxon F, Biometrics Bulletin 1(6):80-83, 1945. Pratt JW, "Remarks on zeros and ties in the Wilcoxon signed rank
    procedures", JASA 54(287):655-667, 1959: zeros are ranked, and their ranks then dropped. Effect size: King BM,
    Rosopa PJ, Minium EW, Statistical Reasoning in the Behavioral Sciences, 2018.

    Examples
    --------
    >>> signed_rank(np.array([0.0, 1.0, 2.0, 3.0])).p  # all three that differ have one sign: 2 of 8 assignments
    0.25
    """
    rounded = np.round(differences, DECIMALS)
    differing = rounded != 0
    doubled = _doubled_midranks(np.abs(rounded))[differing]
    positive = int(doubled[rounded[differing] > 0].sum())
    total = int(doubled.sum())
    null = signed_rank_distribution(doubled)
    tail = min(null[: positive + 1].sum(), null[positive:].sum())
    return SignedRank(
        pairs=int(rounded.size),
        zeros=int((~differing).sum()),
        positive=positive / 2,
        negative=(total - positive) / 2,
        p=float(min(1.0, 2 * tail)),
        rank_biserial=(2 * positive - total) / total if total else 0.0,
    )


def signed_rank_distribution(ranks: npt.NDArray[np.int64]) -> Values:
    """Probability of each sum of ranks, 0 to their total, where each rank is in the sum with probability a half."""
    probabilities = np.zeros(int(ranks.sum()) + 1)
    probabilities[0] = 1.0
    for rank in ranks:
        probabilities *= 0.5
        probabilities[rank:] += probabilities[: probabilities.size - rank].copy()
    return probabilities


@dataclass(frozen=True)
class Location:
    """Hodges-Lehmann estimate with its interval; None where not defined."""

    estimate: float | None
    interval: ConfidenceInterval | None


def hodges_lehmann(differences: Values, *, confidence: float = CONFIDENCE) -> Location:
    """Median difference by Hodges and Lehmann, with the interval that belongs to the signed-rank test.

    Parameters
    ----------
    differences
        One for each independent unit (patient), shape (n,); zeros count as the differences that they are.
    confidence
        Nominal coverage.

    Returns
    -------
    Location
        The median of the means of all pairs of differences, each with itself too (Walsh averages), and an order
        statistic of these at each end. No estimate without a difference, no interval with fewer than 6 at 95 %.

    Source
    ------
    Hollander M, Wolfe DA, Nonparametric Statistical Methods, sections 3.2 and 3.3.
    """
    n = differences.size
    if n == 0:
        return Location(None, None)
    first, second = np.triu_indices(n)
    walsh = np.sort((differences[first] + differences[second]) / 2)
    cumulative = np.cumsum(signed_rank_distribution(np.arange(1, n + 1)))
    outside = int(np.searchsorted(cumulative, (1 - confidence) / 2))
    interval = ConfidenceInterval(float(walsh[outside - 1]), float(walsh[-outside])) if outside else None
    return Location(float(np.median(walsh)), interval)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p value of McNemar's test; 1 without a discordant pair.

    Parameters
    ----------
    only_first, only_second
        Pairs in which only the one, and only the other succeeded.

    Source
    ------
    McNemar Q, Psychometrika 12(2):153-157, 1947, with the binomial distribution in the place of chi-square.
    """
    return float(min(1.0, 2 * bdtr(min(only_first, only_second), only_first + only_second, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values of several tests, in their order.

    Source
    ------
    Holm S, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2):65-70,
    1979.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * np.asarray(p_values)[order]))
    return [float(p) for p in adjusted]


def _doubled_midranks(values: Values) -> npt.NDArray[np.int64]:
    """Twice the rank of each value, ties sharing the middle one, as integers."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    doubled: npt.NDArray[np.int64] = (2 * np.cumsum(counts) - counts + 1)[place]
    return doubled
