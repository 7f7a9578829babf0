"""A bias field in colours: orange where it brightens, purple where it darkens, white where it does nothing."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from nnunet_spine.reporting.panels import fitted

COLOURS = "PuOr_r"
"""Diverging, and separated by those with a colour vision deficiency."""

COLOUR_LEVELS = 65
"""Odd, so that the middle one is the colour of no field."""

LEAST_LIMIT = float(np.log(1.1))
"""The scale runs to x1.1 at least, so that a field of nearly 1 looks like one."""

TICKS = (-1.0, -0.5, 0.0, 0.5, 1.0)


def colour_limit(log_field: npt.NDArray[Any]) -> float:
    """Log-field at the ends of the scale: its 99th percentile from 0, either way, in tissue."""
    return max(LEAST_LIMIT, float(np.quantile(np.abs(log_field), 0.99))) if log_field.size else LEAST_LIMIT


def field_png(field: npt.NDArray[Any], limit: float) -> bytes:
    """PNG of a slice (y, x) of a multiplicative field; beyond exp(±limit), the colour stays that of the end."""
    place = np.clip(np.log(field) / limit, -1, 1) / 2 + 0.5
    picture = Image.fromarray(np.rint(place * (COLOUR_LEVELS - 1)).astype(np.uint8), mode="P")
    table = matplotlib.colormaps[COLOURS](np.linspace(0, 1, COLOUR_LEVELS), bytes=True)[:, :3]
    picture.putpalette(table.tobytes())
    stream = io.BytesIO()
    fitted(picture, Image.Resampling.NEAREST).save(stream, format="PNG", optimize=True)
    return stream.getvalue()


def colour_bar_png() -> bytes:
    """PNG of the scale, one pixel high, from the least field to the greatest."""
    return field_png(np.exp(np.linspace(-1, 1, COLOUR_LEVELS))[None], 1.0)


def tick_labels(limit: float) -> tuple[str, ...]:
    """Fields at equal distances on the scale."""
    return tuple(f"x{np.exp(tick * limit):.2f}" for tick in TICKS)
