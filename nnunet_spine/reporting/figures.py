"""What the report's plots have in common: colours, light and dark; an empty figure; its PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MODEL_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of the Okabe-Ito palette, which those with a colour vision deficiency can tell apart."""

_DOTS_PER_INCH = 180

Drawn = ParamSpec("Drawn")


@dataclass(frozen=True)
class Theme:
    """Colours of a plot besides the data's."""

    ink: str
    grid: str
    background: str


LIGHT = Theme("#1f2428", "#d5dade", "#ffffff")
DARK = Theme("#e6e9ec", "#3d444b", "#1b1f23")


def in_plain_style(draw: Callable[Drawn, bytes]) -> Callable[Drawn, bytes]:
    """Make a function draw in matplotlib's own style, whatever a library, or the user's matplotlibrc, has set.

    nnU-Net changes the size of fonts for the whole process, as seaborn's `set` does.
    """

    @wraps(draw)
    def drawn(*values: Drawn.args, **named: Drawn.kwargs) -> bytes:
        with style.context("default"):
            return draw(*values, **named)

    return drawn


def blank_figure(size_inches: tuple[float, float], theme: Theme) -> Figure:
    """Figure without axes, width x height in inches."""
    figure = Figure(figsize=size_inches, dpi=_DOTS_PER_INCH, layout="constrained", facecolor=theme.background)
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, theme: Theme, *, with_legend: bool) -> None:
    """Colours, grid and legend that all plots share."""
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_color(theme.ink)
    axes.tick_params(colors=theme.ink, length=0, which="both")
    axes.grid(axis="y", color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if with_legend:
        axes.legend(frameon=False, labelcolor=theme.ink, loc="lower left", bbox_to_anchor=(0, 1), ncols=6)


def figure_png(figure: Figure) -> bytes:
    """PNG of a figure; equal figures give equal bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
