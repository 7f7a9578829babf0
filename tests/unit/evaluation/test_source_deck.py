import statistics

import pytest

from nnunet_spine.evaluation.results import Evaluation
from nnunet_spine.evaluation.source_deck import (
    AVERAGE,
    FOLDS,
    Column,
    Interval,
    footnotes,
    inconsistencies,
    overall_sd,
    published_rows,
    rows_beside,
)
from nnunet_spine.protocol import PROTOCOL


def test_table_is_the_decks():
    assert tuple(f.cases for f in FOLDS) == PROTOCOL.fold_sizes
    assert [f.detected for f in FOLDS] == [11, 12, 8, 8]
    assert AVERAGE.percent == 66.5


def test_exactly_three_figures_are_inconsistent():
    found = {(i.row, i.column): i for i in inconsistencies()}
    assert set(found) == {
        ("fold 3", Column.DICE_SD),
        ("average", Column.SENSITIVITY),
        ("average", Column.DICE_SD),
    }
    assert "67.00 (mean of the four printed percentages)" in found["average", Column.SENSITIVITY].describe()
    assert "67.24 (pooled 39/58)" in found["average", Column.SENSITIVITY].describe()
    assert "0.280 to 0.290 (mean of the four printed SDs)" in found["average", Column.DICE_SD].describe()


# Worked out by hand from p s^2 + p (1 - p) m^2 with m and s at the ends of their rounding intervals.
@pytest.mark.parametrize(
    ("index", "low", "high"), [(0, 0.272, 0.279), (1, 0.295, 0.304), (2, 0.217, 0.224), (3, 0.332, 0.339)]
)
def test_possible_overall_sds(index, low, high):
    interval = overall_sd(FOLDS[index])
    assert interval.low == pytest.approx(low, abs=6e-4)
    assert interval.high == pytest.approx(high, abs=6e-4)


def test_overall_sd_formula_against_values():
    """A fold of 15 with eight values of mean 0.33 and SD 0.20, the rest zeros: its SD lies in the interval."""
    values = [0.33 + 0.20 * sign for sign in (1, -1)] * 4
    everything = [*values, *[0.0] * 7]
    interval = overall_sd(FOLDS[2])
    assert interval.low < statistics.pstdev(everything) < interval.high


def test_ddof_1_does_not_fit_folds_1_and_4():
    for fold in (FOLDS[0], FOLDS[3]):
        assert not overall_sd(fold, ddof=1, true_positive_ddof=1).meets(Interval.rounding_to(fold.dice_sd))
        assert overall_sd(fold).meets(Interval.rounding_to(fold.dice_sd))


def test_one_decimal_for_fold_3_would_allow_its_sd():
    loose = overall_sd(FOLDS[2], sd=Interval.rounding_to(0.2, 1))
    assert loose.meets(Interval.rounding_to(0.24))


def test_overall_mean_is_the_product_in_each_fold():
    for fold in FOLDS:
        product = Interval.rounding_to(fold.true_positive_dice_mean).scaled(fold.detected / fold.cases)
        assert product.meets(Interval.rounding_to(fold.dice_mean))


def test_intervals():
    assert Interval.rounding_to(0.5, 1) == Interval(0.45, 0.55)
    assert Interval(0, 1).meets(Interval(1, 2))
    assert not Interval(0, 1).meets(Interval(1.1, 2))
    assert Interval(0, 2).common(Interval(1, 3)) == Interval(1, 2)
    assert Interval(0, 1).common(Interval(2, 3)) == Interval(0, 1)
    assert Interval(0.2171, 0.2244).describe(3) == "0.217 to 0.224"
    assert Interval(67, 67).describe(1) == "67.0"


def test_published_rows_carry_three_asterisks():
    rows = published_rows()
    assert rows[0] == ("deck fold 1", "15", "11/15 (73 %)", "0.35 ± 0.27", "0.47 ± 0.21")
    assert rows[2][3] == "0.18 ± 0.24*"
    assert rows[4] == ("deck average", "58", "66.5 %*", "0.33 ± 0.27*", "0.48 ± 0.22")
    assert sum(cell.endswith("*") for row in rows for cell in row) == 3
    assert sum(note.startswith("*") for note in footnotes()) == 3


def test_rows_beside_keep_every_row_where_fold_counts_differ():
    for folds in (2, 6):
        names = [row[0] for row in rows_beside(Evaluation((), tuple(range(folds))))]
        assert names[:4] == ["fold 0", "deck fold 1", "fold 1", "deck fold 2"]
        assert len(names) == folds + 4 + 2
        assert names[-2:] == ["average", "deck average"]
