"""Plots of volume: Dice by size of the reference, and Bland and Altman's agreement of prediction and reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.reporting.figures import Theme, blank_figure, dress, figure_png, in_plain_style
from nnunet_spine.reporting.strip_plot import Style, style_of

LIMITS_SD = 1.96
_SIZE_INCHES = (5.6, 3.4)


@dataclass(frozen=True)
class Agreement:
    """Agreement of volumes, in ml.

    Parameters
    ----------
    cases
        Those with both volumes.
    mean_difference, sd
        Of prediction minus reference; the SD has ddof 1.

    Source
    ------
    Bland and Altman, Lancet 327, 307-310, 1986.
    """

    cases: int
    mean_difference: float
    sd: float

    @property
    def limits(self) -> tuple[float, float]:
        """Between which 95 % of normally distributed differences lie."""
        return self.mean_difference - LIMITS_SD * self.sd, self.mean_difference + LIMITS_SD * self.sd

    def describe(self) -> str:
        """One sentence."""
        low, high = self.limits
        return (
            f"mean difference {self.mean_difference:+.2f} ml, limits of agreement {low:+.2f} to {high:+.2f} ml "
            f"(n = {self.cases})."
        )


def agreement_of(evaluation: Evaluation) -> Agreement | None:
    """Agreement over the cases that have both volumes; None where these are fewer than two."""
    differences = [pair[1] - pair[0] for _, pair in _volume_pairs(evaluation)]
    if len(differences) < 2:
        return None
    return Agreement(len(differences), float(np.mean(differences)), float(np.std(differences, ddof=1)))


@in_plain_style
def size_plot_png(models: Mapping[str, Evaluation], theme: Theme) -> bytes:
    """PNG of Dice against the reference's volume on a logarithmic scale; equal inputs give equal bytes."""
    figure = blank_figure(_SIZE_INCHES, theme)
    axes = figure.add_subplot(facecolor=theme.background)
    for i, (key, evaluation) in enumerate(models.items()):
        style = style_of(i)
        axes.plot([], [], linestyle="", label=key, color=style.colour, marker=style.marker)
        for result in evaluation.results:
            if result.dice is not None and result.reference_volume_ml:
                _draw_case(axes, result.reference_volume_ml, result.dice, result, style)
    axes.set_ylim(-0.04, 1.0)
    axes.set_ylabel("Dice")
    _logarithmic(axes, "volume of the reference, ml")
    dress(axes, theme, with_legend=len(models) > 1)
    return figure_png(figure)


@in_plain_style
def agreement_plot_png(evaluation: Evaluation, theme: Theme, *, model: int = 0) -> bytes:
    """PNG of Bland and Altman's plot, the mean of both volumes on a logarithmic scale; equal inputs give equal bytes.

    Parameters
    ----------
    evaluation
        Of one model.
    theme
        Colours.
    model
        Place of the model, from 0, by which it is drawn in all plots.
    """
    figure = blank_figure(_SIZE_INCHES, theme)
    axes = figure.add_subplot(facecolor=theme.background)
    style = style_of(model)
    for result, (reference, prediction) in _volume_pairs(evaluation):
        _draw_case(axes, (reference + prediction) / 2, prediction - reference, result, style)
    if agreement := agreement_of(evaluation):
        axes.axhline(agreement.mean_difference, color=theme.ink, linewidth=1.5)
        for limit in agreement.limits:
            axes.axhline(limit, color=theme.ink, linewidth=1.2, linestyle=(0, (5, 3)))
    axes.set_ylabel("prediction - reference, ml")
    _logarithmic(axes, "mean of both volumes, ml")
    dress(axes, theme, with_legend=False)
    return figure_png(figure)


def _volume_pairs(evaluation: Evaluation) -> list[tuple[CaseResult, tuple[float, float]]]:
    """Cases with both volumes (reference, prediction) in ml, of which the reference is not empty."""
    return [
        (r, (r.reference_volume_ml, r.prediction_volume_ml))
        for r in evaluation.results
        if r.reference_volume_ml and r.prediction_volume_ml is not None
    ]


def _draw_case(axes: Axes, x: float, y: float, result: CaseResult, style: Style) -> None:
    axes.plot(
        x, y, marker=style.marker, markersize=5, markerfacecolor=style.colour if result.detected else "none",
        markeredgecolor=style.colour, alpha=0.85, linestyle="", clip_on=False, zorder=3,
    )  # fmt: skip


def _logarithmic(axes: Axes, label: str) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)
