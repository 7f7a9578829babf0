"""The plot of two models, paired: a bar for the difference of Dice of each case, sorted."""

from __future__ import annotations

from nnunet_spine.evaluation.pairing import difference, pairs_of
from nnunet_spine.evaluation.results import Evaluation
from nnunet_spine.reporting.figures import Theme, blank_figure, dress, figure_png, in_plain_style
from nnunet_spine.reporting.strip_plot import style_of

_SIZE_INCHES = (5.6, 3.0)


def dice_differences(baseline: Evaluation, model: Evaluation) -> list[float]:
    """Model minus baseline of each case that both have a Dice for, ascending."""
    return sorted(d for a, b in pairs_of(baseline, model) if (d := difference(a, b)) is not None)


@in_plain_style
def paired_plot_png(baseline: Evaluation, model: Evaluation, theme: Theme, *, names: tuple[str, str]) -> bytes:
    """PNG of the plot; equal inputs give equal bytes.

    Parameters
    ----------
    baseline, model
        Judged on the same cases.
    theme
        Colours.
    names
        Keys of baseline and model.
    """
    figure = blank_figure(_SIZE_INCHES, theme)
    axes = figure.add_subplot(facecolor=theme.background)
    worse, better = style_of(0).colour, style_of(1).colour
    for place, gain in enumerate(dice_differences(baseline, model), start=1):
        colour = better if gain > 0 else worse if gain < 0 else theme.ink
        marker = "^" if gain > 0 else "o"
        face = colour if gain else "none"
        axes.plot([place, place], [0, gain], color=colour, linewidth=1.5)
        axes.plot(place, gain, marker=marker, markersize=5, color=colour, markerfacecolor=face, linestyle="")
    axes.axhline(0, color=theme.ink, linewidth=1)
    axes.set_xlabel("cases, sorted")
    axes.set_ylabel(f"Dice of {names[1]} - Dice of {names[0]}")
    axes.set_xticks([])
    reach = max((abs(y) for y in axes.get_ylim()), default=0.05)
    axes.set_ylim(-max(reach, 0.05), max(reach, 0.05))
    dress(axes, theme, with_legend=False)
    return figure_png(figure)
