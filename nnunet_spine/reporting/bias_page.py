"""One self-contained HTML page of bias-field corrections: slice, field, corrected slice and histograms of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_spine.files import writable_text, write_text
from nnunet_spine.images import Volume
from nnunet_spine.manifest import versions
from nnunet_spine.preprocessing.advice import Findings
from nnunet_spine.preprocessing.bias import BiasCorrection
from nnunet_spine.protocol import BiasMethod
from nnunet_spine.reporting import field_picture, panels
from nnunet_spine.reporting.bias_words import HEADER, cells, figures_line, gamma_note, sentence
from nnunet_spine.reporting.display_slice import DisplaySlice, middle_slice
from nnunet_spine.reporting.figures import DARK, LIGHT
from nnunet_spine.reporting.histogram import LogIntensities, histogram_png
from nnunet_spine.reporting.page import embedded, render

TEMPLATE = "bias.html.j2"
TITLE = "Bias fields"
_START_BYTES = 4096
"""The title stands within."""

_METHOD_NAMES = {
    BiasMethod.VAN_LEEMPUT: "Van Leemput's method: a tissue mixture and a polynomial, fitted together",
    BiasMethod.N4: "N4 (Tustison et al. 2010)",
    BiasMethod.NONE: "no method: nothing was estimated",
}


@dataclass(frozen=True)
class FieldPanel:
    """A picture of the shown slice: title, PNG in base64, what it shows in words, whether its colours need a scale."""

    title: str
    picture: str
    alt: str
    has_scale: bool = False


@dataclass(frozen=True)
class Histogram:
    """Both histograms as PNG in base64, light and dark, with words for those who do not see them."""

    light: str
    dark: str
    alt: str
    caption: str


@dataclass(frozen=True)
class BiasCase:
    """An image on the page.

    Parameters
    ----------
    name
        Of the file.
    row
        Its cells of the overview.
    line
        Its figures in one line.
    advice
        What to mind.
    panels
        Before, field, after.
    width_mm, height_mm
        Size of the slice.
    ticks
        Fields at equal distances on the colour scale.
    caption
        Which slice is shown.
    histogram
        None where no tissue was looked for.
    error
        Why the image could not be corrected, or ""; all the rest is then empty.
    """

    name: str
    row: tuple[str, ...]
    line: str = ""
    advice: tuple[str, ...] = ()
    panels: tuple[FieldPanel, ...] = ()
    width_mm: float = 0.0
    height_mm: float = 0.0
    ticks: tuple[str, ...] = ()
    caption: str = ""
    histogram: Histogram | None = None
    error: str = ""


@dataclass(frozen=True)
class BiasPage:
    """What the page is made of: the method, the gamma before it, and the images."""

    method: BiasMethod
    gamma: float
    cases: tuple[BiasCase, ...]


def failed_case(name: str, error: str) -> BiasCase:
    """An image that could not be corrected."""
    return BiasCase(name, (name, "not corrected", "", "", "", ""), error=error)


def draw_case(name: str, image: Volume, correction: BiasCorrection, found: Findings, *, gamma: float = 1.0) -> BiasCase:
    """Pictures of a correction.

    Parameters
    ----------
    name
        Of the file.
    image
        What was corrected: after gamma, where there was one.
    correction, found
        What came of it.
    gamma
        That came before.
    """
    chosen = middle_slice(image.geometry)
    before, field, after = (chosen.of(array) for array in (image.array, correction.field, correction.image))
    _, height, width = np.multiply(before.geometry.spacing_zyx_mm, before.geometry.shape_zyx)
    in_tissue = correction.samples.in_tissue(correction.field) if correction.samples else np.empty(0, np.float32)
    limit = field_picture.colour_limit(np.log(in_tissue))
    place = f"{chosen.plane} slice {chosen.index + 1} of {image.array.shape[chosen.axis]}"
    return BiasCase(
        name,
        cells(name, found),
        line=figures_line(found),
        advice=tuple(map(sentence, found.advice)),
        panels=_panels(f"{name}, {place}", (before.array[0], field.array[0], after.array[0]), limit, gamma),
        width_mm=round(float(width), 1),
        height_mm=round(float(height), 1),
        ticks=field_picture.tick_labels(limit),
        caption=_caption(place, chosen),
        histogram=_histogram(name, correction, in_tissue),
    )


def write_bias_page(path: Path, page: BiasPage) -> None:
    """Write the page; equal inputs give equal bytes.

    Raises
    ------
    NotWritable
        Where `path` cannot be written.
    """
    text = render(
        TEMPLATE,
        title=TITLE,
        lead=f"What correction of the bias field does to {len(page.cases)} "
        f"{'image' if len(page.cases) == 1 else 'images'}, by {_METHOD_NAMES[page.method]}.",
        gamma_note=gamma_note(page.gamma),
        field_name="field" if page.gamma == 1 else f"field after gamma {page.gamma:g}",
        header=HEADER,
        rows=[case.row for case in page.cases],
        cases=page.cases,
        colour_bar=embedded(field_picture.colour_bar_png()),
        versions=versions(),
    )
    write_text(path, writable_text(text))


def is_bias_page(path: Path) -> bool:
    """Whether a file is a page that `write_bias_page` wrote."""
    try:
        with path.open("rb") as stream:
            return f"<title>{TITLE}</title>".encode() in stream.read(_START_BYTES)
    except OSError:
        return False


def _panels(
    place: str, planes: tuple[npt.NDArray[np.float32], ...], limit: float, gamma: float
) -> tuple[FieldPanel, ...]:
    before, field, after = planes
    low, high = panels.grey_range(np.stack([before, after]))
    least, greatest = float(field.min()), float(field.max())
    return (
        FieldPanel(
            "Original" if gamma == 1 else f"After gamma {gamma:g}",
            embedded(panels.grey_png(before, low, high)),
            f"{place}, before correction",
        ),
        FieldPanel(
            "Field",
            embedded(field_picture.field_png(field, limit)),
            f"{place}, field from x{least:.2f} to x{greatest:.2f}",
            has_scale=True,
        ),
        FieldPanel("Corrected", embedded(panels.grey_png(after, low, high)), f"{place}, after correction"),
    )


def _caption(place: str, chosen: DisplaySlice) -> str:
    return f"{place[0].upper()}{place[1:]}; {chosen.sides}."


def _histogram(name: str, correction: BiasCorrection, in_tissue: npt.NDArray[np.float32]) -> Histogram | None:
    if correction.samples is None or not in_tissue.size:
        return None
    fit = correction.estimate.fit if correction.estimate else None
    before = correction.samples.logs
    logs = LogIntensities(before, before - np.log(in_tissue), fit.classes if fit else None)
    light, dark = (embedded(histogram_png(logs, theme)) for theme in (LIGHT, DARK))
    spreads = f"SD {logs.before.std():.2f} before, {logs.after.std():.2f} after"
    curves = " The lines are the fitted classes, the dashed line is their sum." if fit else ""
    return Histogram(
        light,
        dark,
        f"Histograms of log intensity in tissue of {name}: {spreads}",
        f"Log intensity of {before.size} samples of tissue: {spreads}.{curves}",
    )
