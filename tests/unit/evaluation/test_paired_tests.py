from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from nnunet_spine.evaluation.paired_tests import hodges_lehmann, holm, mcnemar, signed_rank

# Hollander and Wolfe, Nonparametric Statistical Methods, example 3.1: Hamilton depression scores of nine patients.
BEFORE = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
AFTER = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def enumerated_p(differences: np.ndarray) -> float:
    """Two-sided p of Pratt's signed-rank test by all assignments of signs, with scipy's ranks."""
    ranks = stats.rankdata(np.abs(differences))[differences != 0]
    observed = ranks[differences[differences != 0] > 0].sum()
    sums = np.array([np.dot(signs, ranks) for signs in product((0, 1), repeat=ranks.size)])
    return min(1.0, 2 * min((sums <= observed).mean(), (sums >= observed).mean()))


def test_signed_rank_is_as_published():
    result = signed_rank(AFTER - BEFORE)
    assert (result.positive, result.negative) == (5, 40)
    assert result.p == pytest.approx(0.0390625)  # 2 x 10 / 512
    assert result.rank_biserial == pytest.approx(-35 / 45)


def test_zeros_are_ranked_and_then_dropped():
    # Ranks of the four that differ: 3, 4, 5, 6. Sums of at most 5: none, 3, 4, 5, which is 4 of 16. With the zeros
    # dropped first the ranks would be 1, 2, 3, 4, and five of the sums at most 3.
    result = signed_rank(np.array([0, 0, 1, 2, -3, 4.0]))
    assert (result.pairs, result.zeros, result.positive, result.negative) == (6, 2, 13, 5)
    assert result.p == pytest.approx(2 * 4 / 16)
    assert result.rank_biserial == pytest.approx(8 / 18)


def test_signed_rank_agrees_with_enumeration_and_with_scipys_permutations():
    random = np.random.default_rng(3)
    for size in range(1, 11):
        differences = random.integers(-4, 5, size) / 4.0
        p = signed_rank(differences).p
        assert p == pytest.approx(enumerated_p(differences))
        if size > 1 and np.any(differences):
            exact = stats.PermutationMethod(n_resamples=np.inf)
            assert p == pytest.approx(stats.wilcoxon(differences, zero_method="pratt", method=exact).pvalue)


def test_signed_rank_of_58_without_ties_is_scipys_exact_and_with_ties_near_its_approximation():
    random = np.random.default_rng(5)
    plain = random.normal(0.05, 0.2, 58)
    assert signed_rank(plain).p == pytest.approx(stats.wilcoxon(plain, method="exact").pvalue)
    tied = np.round(plain, 1)
    assert np.count_nonzero(tied == 0) > 5
    approximate = stats.wilcoxon(tied, zero_method="pratt", method="asymptotic").pvalue
    assert signed_rank(tied).p == pytest.approx(approximate, abs=0.01)


def test_ties_are_those_of_the_decimal_numbers():
    differences = np.array([0.3 - 0.1, -(0.4 - 0.2), 0.1 + 0.2 - 0.3])
    result = signed_rank(differences)
    assert (result.zeros, result.positive, result.negative, result.p) == (1, 2.5, 2.5, 1.0)


@pytest.mark.parametrize("size", [0, 4])
def test_no_difference_is_no_evidence(size):
    result = signed_rank(np.zeros(size))
    assert (result.zeros, result.p, result.rank_biserial) == (size, 1.0, 0.0)


def test_hodges_lehmann_is_as_published():
    location = hodges_lehmann(AFTER - BEFORE)
    assert location.estimate == pytest.approx(-0.46)
    assert (location.interval.low, location.interval.high) == pytest.approx((-0.786, -0.010))


def test_hodges_lehmann_by_hand():
    # Of six differences only the outermost Walsh averages make an interval of 95 %: 1 - 2 / 64 = 96.9 %.
    location = hodges_lehmann(np.array([0, 1, 2, 3, 4, 50.0]))
    assert (location.interval.low, location.interval.high) == (0, 50)
    assert hodges_lehmann(np.arange(5.0)).interval is None
    assert hodges_lehmann(np.arange(5.0)).estimate == 2
    assert hodges_lehmann(np.array([])).estimate is None


def test_mcnemar_by_hand_and_with_statsmodels():
    # exact2x2's worked example: 9 and 2 discordant pairs, 2 x (1 + 11 + 55) / 2048.
    assert mcnemar(9, 2) == pytest.approx(0.0654296875)
    assert mcnemar(0, 0) == 1.0
    for first in range(8):
        for second in range(8):
            expected = statsmodels_mcnemar([[5, first], [second, 3]], exact=True).pvalue if first + second else 1.0
            assert mcnemar(first, second) == pytest.approx(expected)


def test_holm_by_hand_and_with_statsmodels():
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and 0.04, which must not be below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    random = np.random.default_rng(0)
    for size in range(1, 7):
        p_values = random.random(size) ** 2
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
