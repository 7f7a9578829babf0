"""The plots of a report, each light and dark, with words for those who do not see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from nnunet_spine.evaluation.results import Evaluation
from nnunet_spine.reporting.figures import DARK, LIGHT, Theme
from nnunet_spine.reporting.paired_plot import paired_plot_png
from nnunet_spine.reporting.strip_plot import strip_plot_png
from nnunet_spine.reporting.volume_plots import agreement_of, agreement_plot_png, size_plot_png

_FIGURES_ELSEWHERE = "the figures are in the tables of results and cases"


@dataclass(frozen=True)
class Plot:
    """A plot.

    Parameters
    ----------
    name
        Of its files, without theme and suffix.
    light, dark
        PNG.
    alt
        What it shows, in words.
    caption
        How to read it.
    """

    name: str
    light: bytes
    dark: bytes
    alt: str
    caption: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as the PNG's header has them."""
        return int.from_bytes(self.light[16:20]), int.from_bytes(self.light[20:24])

    def files(self) -> dict[str, bytes]:
        """PNG by file name."""
        return {f"{self.name}_light.png": self.light, f"{self.name}_dark.png": self.dark}


def result_plots(models: Mapping[str, Evaluation]) -> list[Plot]:
    """Dice per fold, Dice by size, agreement of volume of each model.

    Parameters
    ----------
    models
        Evaluation by the key of a model.
    """
    of = " by model" if len(models) > 1 else ""
    return [
        _plot(
            "dice_by_fold",
            lambda theme: strip_plot_png(models, theme),
            f"Strip plot of Dice by fold{of}, a marker for each case; {_FIGURES_ELSEWHERE}.",
            "Dice per fold. A marker is a case, hollow where it was missed; a line is the mean over all cases of the "
            "fold.",
        ),
        _plot(
            "dice_by_size",
            lambda theme: size_plot_png(models, theme),
            f"Dice against the volume of the reference{of}, a marker for each case; {_FIGURES_ELSEWHERE}.",
            "Dice by size. A marker is a case, hollow where it was missed; volume is on a logarithmic scale.",
        ),
        *(_agreement_plot(place, key, models) for place, key in enumerate(models)),
    ]


def comparison_plots(models: Mapping[str, Evaluation]) -> list[Plot]:
    """Difference of Dice of each case, each other model against the first."""
    baseline = next(iter(models))
    return [_paired_plot(baseline, key, models) for key in islice(models, 1, None)]


def _paired_plot(baseline: str, key: str, models: Mapping[str, Evaluation]) -> Plot:
    return _plot(
        f"difference_{key}_minus_{baseline}",
        lambda theme: paired_plot_png(models[baseline], models[key], theme, names=(baseline, key)),
        f"Difference of Dice of each case, {key} minus {baseline}, sorted; {_FIGURES_ELSEWHERE}.",
        f"Difference of Dice, {key} minus {baseline}. A bar is a case: up where {key} is better (triangle), down "
        f"where {baseline} is better (circle), a ring where both are equal.",
    )


def _agreement_plot(place: int, key: str, models: Mapping[str, Evaluation]) -> Plot:
    several, evaluation = len(models) > 1, models[key]
    whose = f" of {key}" if several else ""
    agreement = agreement_of(evaluation)
    words = agreement.describe() if agreement else "fewer than two cases have both volumes."
    return _plot(
        f"volume_agreement_{key}" if several else "volume_agreement",
        lambda theme: agreement_plot_png(evaluation, theme, model=place),
        f"Bland-Altman plot of volume{whose}: {words}",
        f"Agreement of volume{whose} (Bland-Altman): prediction minus reference against the mean of both. Solid line: "
        f"mean difference; dashed lines: mean ± 1.96 SD. {words[0].upper()}{words[1:]} A case is hollow where it was "
        "missed.",
    )


def _plot(name: str, draw: Callable[[Theme], bytes], alt: str, caption: str) -> Plot:
    return Plot(name, draw(LIGHT), draw(DARK), alt, caption)
