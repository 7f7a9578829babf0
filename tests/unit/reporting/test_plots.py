import pytest
from matplotlib import rc_context

from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.reporting.figures import DARK, LIGHT
from nnunet_spine.reporting.paired_plot import dice_differences, paired_plot_png
from nnunet_spine.reporting.plots import comparison_plots, result_plots
from nnunet_spine.reporting.volume_plots import agreement_of, agreement_plot_png, size_plot_png


def evaluation(*rows: tuple[float | None, float | None, float | None]) -> Evaluation:
    """Of cases given as Dice, volume of the reference, volume of the prediction."""
    state = MaskState.PRESENT
    results = [
        CaseResult(f"c{i}", f"c{i}", 0, dice, None if dice is None else dice > 0, state, state, reference, prediction)
        for i, (dice, reference, prediction) in enumerate(rows)
    ]
    return Evaluation(tuple(results), (0,))


ONE = evaluation((0.5, 1.0, 2.0), (0.2, 4.0, 3.0), (0.0, 2.0, 0.0), (None, 0.0, 5.0), (0.0, 2.0, None))
OTHER = evaluation((0.7, 1.0, 1.0), (0.2, 4.0, 4.0), (0.0, 2.0, 1.0), (None, 0.0, 0.0), (0.5, 2.0, 2.0))


def test_limits_of_agreement_by_hand():
    agreement = agreement_of(ONE)
    # Differences +1, -1, -2: mean -2/3, SD (ddof 1) sqrt(7/3) = 1.527525. An empty reference and a missing volume are
    # left out.
    assert agreement.cases == 3
    assert agreement.mean_difference == pytest.approx(-2 / 3)
    assert agreement.sd == pytest.approx(1.527525, abs=1e-6)
    assert agreement.limits == pytest.approx((-3.660616, 2.327283), abs=1e-5)
    assert agreement.describe() == "mean difference -0.67 ml, limits of agreement -3.66 to +2.33 ml (n = 3)."


def test_no_agreement_of_fewer_than_two_cases():
    assert agreement_of(evaluation((0.5, 1.0, 2.0))) is None
    assert agreement_plot_png(evaluation(), LIGHT).startswith(b"\x89PNG")


def test_differences_are_paired_by_case_and_sorted():
    assert dice_differences(ONE, OTHER) == pytest.approx([0.0, 0.0, 0.2, 0.5])


def test_equal_inputs_give_equal_pictures_and_other_inputs_others():
    pictures = [
        lambda a, b, theme: size_plot_png({"A": a, "B": b}, theme),
        lambda a, b, theme: agreement_plot_png(a, theme),
        lambda a, b, theme: paired_plot_png(a, b, theme, names=("A", "B")),
    ]
    for draw in pictures:
        assert draw(ONE, OTHER, LIGHT) == draw(ONE, OTHER, LIGHT)
        assert len({draw(ONE, OTHER, LIGHT), draw(OTHER, ONE, LIGHT), draw(ONE, OTHER, DARK)}) == 3


def test_what_other_libraries_set_does_not_change_a_picture():
    plain = [size_plot_png({"A": ONE}, LIGHT), paired_plot_png(ONE, OTHER, LIGHT, names=("A", "B"))]
    with rc_context({"font.size": 25.0, "axes.labelsize": 30.0, "lines.linewidth": 5.0, "axes.facecolor": "red"}):
        assert [size_plot_png({"A": ONE}, LIGHT), paired_plot_png(ONE, OTHER, LIGHT, names=("A", "B"))] == plain


def test_each_plot_says_what_it_shows():
    plots = [*result_plots({"A": ONE, "B": OTHER}), *comparison_plots({"A": ONE, "B": OTHER})]
    assert [plot.name for plot in plots] == [
        "dice_by_fold",
        "dice_by_size",
        "volume_agreement_A",
        "volume_agreement_B",
        "difference_B_minus_A",
    ]
    assert "mean difference -0.67 ml" in plots[2].alt
    assert "B minus A" in plots[4].alt
