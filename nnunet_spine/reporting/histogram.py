"""Histograms of log intensity in tissue, before and after a correction, with the classes that were fitted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from nnunet_spine.preprocessing.mixture import Classes
from nnunet_spine.reporting.figures import MODEL_COLOURS, Theme, blank_figure, figure_png, in_plain_style

FloatArray = npt.NDArray[np.float64]

BINS = 72
SHOWN_QUANTILES = (0.002, 0.998)
_SIZE_INCHES = (4.6, 3.0)
_STEPS = (1.0, 2.0, 3.0, 5.0, 7.0)
_BAR, _CLASS = MODEL_COLOURS[5], MODEL_COLOURS[1]


@dataclass(frozen=True, eq=False)
class LogIntensities:
    """Log intensities of the tissue samples, shape (samples,), before and after; the classes of the latter, or None."""

    before: FloatArray
    after: FloatArray
    classes: Classes | None


@in_plain_style
def histogram_png(logs: LogIntensities, theme: Theme) -> bytes:
    """PNG of both histograms, one above the other; equal inputs give equal bytes."""
    low, high = np.quantile(np.concatenate([logs.before, logs.after]), SHOWN_QUANTILES)
    edges = np.linspace(low, max(high, low + 0.1), BINS + 1)
    figure = blank_figure(_SIZE_INCHES, theme)
    upper, lower = figure.subplots(2, sharex=True, sharey=True)
    for axes, values, title in ((upper, logs.before, "before"), (lower, logs.after, "after")):
        density, _ = np.histogram(values, edges)
        axes.stairs(density / (values.size * np.diff(edges)), edges, fill=True, color=_BAR)
        _dress(axes, title, theme)
    upper.tick_params(bottom=False)
    if logs.classes is not None:
        _draw_classes(lower, logs.classes, np.linspace(edges[0], edges[-1], 400), theme)
    ticks = nice_intensities(float(edges[0]), float(edges[-1]))
    lower.set_xlim(edges[0], edges[-1])
    lower.set_xticks(np.log(ticks), [f"{tick:g}" for tick in ticks])
    lower.set_xlabel("intensity in tissue, logarithmic", color=theme.ink)
    return figure_png(figure)


def class_densities(classes: Classes, at: FloatArray) -> FloatArray:
    """Density of each class at log intensities, times its weight; shape (classes, places)."""
    off = at - classes.means[:, None]
    variances = classes.variances[:, None]
    density = np.exp(-0.5 * off**2 / variances) / np.sqrt(2 * np.pi * variances)
    return np.asarray(classes.weights[:, None] * density, np.float64)


def nice_intensities(low: float, high: float) -> list[float]:
    """Round numbers between exp(low) and exp(high), fewer where they are many; both ends where there are none."""
    powers = range(int(np.floor(low / np.log(10))), int(np.ceil(high / np.log(10))) + 1)
    nice = [step * 10.0**power for power in powers for step in _STEPS if low <= np.log(step * 10.0**power) <= high]
    return nice[:: 1 + len(nice) // 9] if len(nice) > 1 else [float(f"{np.exp(end):.3g}") for end in (low, high)]


def _draw_classes(axes: Axes, classes: Classes, at: FloatArray, theme: Theme) -> None:
    each = class_densities(classes, at)
    axes.plot(at, each.T, color=_CLASS, linewidth=1.2)
    axes.plot(at, each.sum(axis=0), color=theme.ink, linewidth=1.2, linestyle="--")


def _dress(axes: Axes, title: str, theme: Theme) -> None:
    axes.set_facecolor(theme.background)
    axes.set_yticks([])
    axes.set_ylabel(title, color=theme.ink)
    axes.tick_params(colors=theme.ink, labelsize=9)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(theme.grid)
