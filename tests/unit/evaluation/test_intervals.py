import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation import intervals
from nnunet_spine.evaluation.intervals import bca_of_mean, clopper_pearson


# Newcombe RG, Statistics in Medicine 17:857-872 (1998), table I, method 5.
@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_clopper_pearson_is_as_published(count, total, low, high):
    interval = clopper_pearson(count, total)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_clopper_pearson_agrees_with_statsmodels():
    for total in (1, 13, 15, 58):
        for count in range(total + 1):
            interval = clopper_pearson(count, total)
            expected = proportion_confint(count, total, method="beta")
            assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)


def test_no_trial_has_no_interval_and_more_successes_than_trials_are_refused():
    assert clopper_pearson(0, 0) is None
    for count in (-1, 3):
        with pytest.raises(BadInput, match=f"{count} in 2"):
            clopper_pearson(count, 2)


@pytest.mark.parametrize(("size", "at_once"), [(3, 10**9), (15, 10**9), (58, 10**9), (58, 1000)])
def test_bca_agrees_with_scipy_on_the_same_resamples(size, at_once, monkeypatch):
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", at_once)
    random = np.random.default_rng(size)
    values = random.beta(2, 2, size) * (random.random(size) > 0.33)
    ours = bca_of_mean(values, resamples=2000, rng=np.random.default_rng(7))
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(7)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=1e-9)


def test_bca_is_the_same_each_time():
    values = np.linspace(0, 1, 20) ** 2
    assert bca_of_mean(values) == bca_of_mean(values)


@pytest.mark.parametrize("values", [[], [0.5], [0.1, 0.9], [0.0] * 15, [0.4] * 3])
def test_without_spread_or_patients_there_is_no_bca_interval(values):
    assert bca_of_mean(np.array(values)) is None
