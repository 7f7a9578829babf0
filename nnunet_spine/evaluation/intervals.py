"""Confidence intervals: Clopper-Pearson for a rate, the BCa bootstrap for a mean.

scipy.stats has both and takes 0.6 s to import, which is most of what an evaluation takes; a test holds these to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, ndtr, ndtri

from nnunet_spine.errors import BadInput

CONFIDENCE = 0.95
RESAMPLES = 9999
BOOTSTRAP_SEED = 0
FEWEST_FOR_BOOTSTRAP = 3
_DRAWN_AT_ONCE = 250_000

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ConfidenceInterval:
    """Lower and upper bound of a two-sided interval."""

    low: float
    high: float


def clopper_pearson(count: int, total: int, *, confidence: float = CONFIDENCE) -> ConfidenceInterval | None:
    """Exact interval of a proportion.

    It is chosen over Wilson's since its coverage is never below the nominal one. Wilson's is right on average only,
    and with 13 patients in a fold the average hides rates at which it covers too little.

    Parameters
    ----------
    count, total
        Successes and trials.
    confidence
        Nominal coverage.

    Returns
    -------
    ConfidenceInterval or None
        None without a trial.

    Raises
    ------
    BadInput
        Where `count` is not between 0 and `total`.

    Source
    ------
    Clopper CJ, Pearson ES, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26(4):404-413, 1934.

    Examples
    --------
    >>> interval = clopper_pearson(8, 13)
    >>> f"{interval.low:.3f} {interval.high:.3f}"
    '0.316 0.861'
    """
    if not 0 <= count <= total:
        raise BadInput(f"A proportion of {count} in {total} was given. Expected a count from 0 to the total.")
    if total == 0:
        return None
    tail = (1 - confidence) / 2
    low = float(betaincinv(count, total - count + 1, tail)) if count else 0.0
    high = float(betaincinv(count + 1, total - count, 1 - tail)) if count < total else 1.0
    return ConfidenceInterval(low, high)


def bca_of_mean(
    values: Values,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    rng: np.random.Generator | None = None,
) -> ConfidenceInterval | None:
    """Bias-corrected and accelerated bootstrap interval of a mean.

    Parameters
    ----------
    values
        One for each independent unit (patient), shape (n,).
    confidence
        Nominal coverage.
    resamples
        Number of bootstrap samples.
    rng
        Source of the samples; None takes one with a fixed seed, so that equal values give equal intervals.

    Returns
    -------
    ConfidenceInterval or None
        None with fewer than 3 values, and where all are equal: resampling then cannot see any spread, and an interval
        of width 0 would claim a certainty that nobody has.

    Source
    ------
    Efron B, "Better bootstrap confidence intervals", JASA 82(397):171-185, 1987; the acceleration by the jackknife.
    """
    n = values.size
    if n < FEWEST_FOR_BOOTSTRAP or np.ptp(values) == 0:
        return None
    mean = values.mean()
    means = _resampled_means(values, resamples, rng or np.random.default_rng(BOOTSTRAP_SEED))
    bias = ndtri(((means < mean).mean() + (means <= mean).mean()) / 2)
    influence = values - mean  # of a mean, the jackknife's differences are proportional to these
    acceleration = (influence**3).sum() / (6 * (influence**2).sum() ** 1.5)
    z = bias + ndtri(np.array([(1 - confidence) / 2, (1 + confidence) / 2]))
    low, high = np.percentile(means, 100 * ndtr(bias + z / (1 - acceleration * z)))
    return ConfidenceInterval(float(low), float(high))


def _resampled_means(values: Values, resamples: int, rng: np.random.Generator) -> Values:
    """Means of `resamples` samples with replacement, drawn in parts so that memory does not grow with the cases."""
    n = values.size
    part = max(1, _DRAWN_AT_ONCE // n)
    counts = [min(part, resamples - start) for start in range(0, resamples, part)]
    return np.concatenate([values[rng.integers(0, n, (count, n))].mean(axis=1) for count in counts])
