"""The strip plot of Dice: a dot for each case, by fold and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.reporting.figures import MODEL_COLOURS, Theme, blank_figure, dress, figure_png, in_plain_style

MARKERS = ("o", "s", "^", "D", "v", "P")
_BIN = 0.04
_SIZE_INCHES = (5.6, 3.4)


@dataclass(frozen=True)
class Style:
    """How the cases of a model are drawn."""

    colour: str
    marker: str


def style_of(model: int) -> Style:
    """Style of a model by its place, from 0."""
    return Style(MODEL_COLOURS[model % len(MODEL_COLOURS)], MARKERS[model % len(MARKERS)])


@in_plain_style
def strip_plot_png(models: Mapping[str, Evaluation], theme: Theme) -> bytes:
    """PNG of the plot; equal inputs give equal bytes.

    Parameters
    ----------
    models
        Evaluation by the key of a model.
    theme
        Colours.
    """
    figure = blank_figure(_SIZE_INCHES, theme)
    axes = figure.add_subplot(facecolor=theme.background)
    folds = sorted({k for evaluation in models.values() for k in evaluation.fold_numbers})
    width = 0.8 / len(models)
    for i, (key, evaluation) in enumerate(models.items()):
        style = style_of(i)
        axes.plot([], [], linestyle="", label=key, color=style.colour, marker=style.marker)
        for place, fold in enumerate(folds):
            centre = place - 0.4 + (i + 0.5) * width
            _draw_strip(axes, centre, width, [r for r in evaluation.results if r.fold == fold], style)
    _dress(axes, folds, theme, with_legend=len(models) > 1)
    return figure_png(figure)


def swarm(values: Sequence[float], width: float) -> list[float]:
    """Sideways offset of each value, so that near values stand beside one another; symmetric within `width`.

    Parameters
    ----------
    values
        Dice, 0 to 1.
    width
        In units of the axis.
    """
    bins: dict[int, list[int]] = {}
    for index in sorted(range(len(values)), key=lambda i: values[i]):
        bins.setdefault(int(values[index] / _BIN), []).append(index)
    fullest = max(map(len, bins.values()), default=1)
    step = min(0.09, 0.9 * width / fullest)
    offsets = [0.0] * len(values)
    for members in bins.values():
        for place, index in enumerate(members):
            offsets[index] = (place - (len(members) - 1) / 2) * step
    return offsets


def _draw_strip(axes: Axes, centre: float, width: float, results: Sequence[CaseResult], style: Style) -> None:
    judged = [(r.dice, bool(r.detected)) for r in results if r.dice is not None]
    if not judged:
        return
    values = [value for value, _ in judged]
    for (value, detected), offset in zip(judged, swarm(values, width), strict=True):
        face = style.colour if detected else "none"
        axes.plot(
            centre + offset,
            value,
            marker=style.marker,
            markersize=5,
            markerfacecolor=face,
            markeredgecolor=style.colour,
            alpha=0.85,
            linestyle="",
            clip_on=False,
            zorder=3,
        )
    mean = sum(values) / len(values)
    axes.plot([centre - 0.42 * width, centre + 0.42 * width], [mean, mean], color=style.colour, linewidth=2, zorder=2)


def _dress(axes: Axes, folds: Sequence[int], theme: Theme, *, with_legend: bool) -> None:
    axes.set_xticks(range(len(folds)), [f"fold {k}" for k in folds])
    axes.set_xlim(-0.5, max(len(folds), 1) - 0.5)
    axes.set_ylim(-0.04, 1.0)
    axes.set_ylabel("Dice")
    dress(axes, theme, with_legend=with_legend)
