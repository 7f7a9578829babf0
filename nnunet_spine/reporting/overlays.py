"""Pictures of a case: its slices with the contours of prediction and annotation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.reporting import panels
from nnunet_spine.reporting.case_volumes import CaseVolumes, Mask
from nnunet_spine.reporting.page import embedded

MOST_TILES = 12
"""Slices of a montage; where more have a tumor, they are taken at equal steps."""

_STATE_TEXTS = {
    MaskState.EMPTY: "nothing was predicted",
    MaskState.MISSING: "no prediction",
    MaskState.UNUSABLE: "unusable prediction",
}


@dataclass(frozen=True)
class Outline:
    """A contour on a panel: "prediction" or "annotation", and the name of its path in `CasePictures.outlines`."""

    kind: str
    name: str


@dataclass(frozen=True)
class Panel:
    """One picture of a slice.

    Parameters
    ----------
    title
        Above the picture.
    outlines
        Contours on this slice.
    message
        Written on the picture where there is no contour.
    alt
        What the picture shows, in words.
    """

    title: str
    outlines: tuple[Outline, ...]
    message: str
    alt: str


@dataclass(frozen=True)
class SliceView:
    """Pictures of one slice, or of several beside one another.

    Parameters
    ----------
    heading
        Above them, or "".
    caption
        Which slices, and why these.
    slices
        Index on axis 0 of each panel's slice.
    panels
        The pictures.
    """

    heading: str
    caption: str
    slices: tuple[int, ...]
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class CasePictures:
    """All pictures of a case.

    Parameters
    ----------
    width_mm, height_mm
        Size of a slice's picture.
    slices
        PNG in base64 by the index of the slice on axis 0.
    outlines
        Data of an SVG path in mm by the name of a contour.
    montages
        One for each model: both contours on every slice with a tumor.
    side_by_side
        The slices with the largest areas, predictions first, the annotation last.
    """

    width_mm: float
    height_mm: float
    slices: Mapping[int, str]
    outlines: Mapping[str, str]
    montages: tuple[SliceView, ...]
    side_by_side: tuple[SliceView, ...]


def draw_case(volumes: CaseVolumes) -> CasePictures:
    """Pictures of one case, cropped around its masks."""
    return _Drawing(volumes).pictures()


def model_name(results: Mapping[str, CaseResult], key: str) -> str:
    """A model on the pages of a case: its key stands where there are several."""
    return "Prediction" if len(results) == 1 else f"Prediction {key}"


def score_text(result: CaseResult) -> str:
    """Dice as it was judged, and whether the case was missed."""
    score = "no Dice" if result.dice is None else f"Dice {result.dice:.2f}"
    return score + (", missed" if result.detected is False else "")


def montage_slices(masks: Sequence[Mask]) -> list[int]:
    """Indices on axis 0 of the slices that any mask is on, at equal steps where these are more than `MOST_TILES`."""
    seen = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in masks], axis=0))
    if len(seen) <= MOST_TILES:
        return [int(index) for index in seen]
    return [int(seen[i]) for i in np.rint(np.linspace(0, len(seen) - 1, MOST_TILES)).astype(int)]


@dataclass(frozen=True, eq=False)
class _Drawing:
    volumes: CaseVolumes
    paths: dict[str, str] = field(default_factory=dict)

    @cached_property
    def window(self) -> panels.Window:
        volumes = self.volumes
        return panels.window_around(volumes.masks, volumes.image.geometry.shape_zyx[1:], volumes.spacing_yx_mm)

    def pictures(self) -> CasePictures:
        height, width = self.window.size_mm(self.volumes.spacing_yx_mm)
        montages = tuple(self.montage(key) for key in self.volumes.predictions)
        side_by_side = tuple(self.side_by_side(index, why) for index, why in self._wanted_slices().items())
        shown = sorted({index for view in (*montages, *side_by_side) for index in view.slices})
        low, high = panels.grey_range(self.volumes.image.array)
        pngs = {i: panels.grey_png(self.window.of(self.volumes.image.array[i]), low, high) for i in shown}
        return CasePictures(
            width_mm=round(width, 1),
            height_mm=round(height, 1),
            slices={index: embedded(png) for index, png in pngs.items()},
            outlines=self.paths,
            montages=montages,
            side_by_side=side_by_side,
        )

    def montage(self, key: str) -> SliceView:
        """Every slice with a tumor, with both contours."""
        result, name = self.volumes.results[key], model_name(self.volumes.results, key)
        slices = montage_slices(self.volumes.masks)
        total = np.count_nonzero(np.any([mask.any(axis=(1, 2)) for mask in self.volumes.masks], axis=0))
        which = "every slice" if len(slices) == total else f"{len(slices)} of {total} slices"
        tiles = tuple(self._tile(key, name, index) for index in slices)
        whose = "prediction or annotation" if len(self.volumes.predictions) == 1 else "any prediction or annotation"
        return SliceView(f"{name}: {score_text(result)}", f"{which} with {whose}", tuple(slices), tiles)

    def side_by_side(self, index: int, why: Sequence[str]) -> SliceView:
        """One slice with a panel for each model and the annotation."""
        shown = (*(self._prediction(key, index) for key in self.volumes.predictions), self._annotation(index))
        caption = f"Slice {index + 1} of {len(self.volumes.image.array)}: largest area of {' and '.join(why)}"
        return SliceView("", caption, (index,) * len(shown), shown)

    def _tile(self, key: str, name: str, index: int) -> Panel:
        both = (self._outlines("", index), self._outlines(key, index))
        outlines = tuple(outline for found in both for outline in found)
        seen = " and ".join(outline.kind for outline in outlines) or "no contour"
        alt = f"Sagittal slice {index + 1} of {self.volumes.case}: {seen} of {name[0].lower()}{name[1:]}"
        return Panel(f"slice {index + 1}", outlines, "", alt)

    def _prediction(self, key: str, index: int) -> Panel:
        result = self.volumes.results[key]
        state = _STATE_TEXTS.get(result.prediction, "not on this slice")
        return self._panel(model_name(self.volumes.results, key), score_text(result), key, index, state)

    def _annotation(self, index: int) -> Panel:
        state = "no annotation" if self.volumes.reference is None else "not on this slice"
        return self._panel("Annotation", "", "", index, state)

    def _panel(self, name: str, score: str, key: str, index: int, state: str) -> Panel:
        outlines = self._outlines(key, index)
        what = "outlined on" if outlines else f"{state}:"
        alt = f"{name} of {self.volumes.case} {what} sagittal slice {index + 1}" + (f"; {score}" if score else "")
        return Panel(f"{name}, {score}" if score else name, outlines, "" if outlines else state, alt)

    def _outlines(self, key: str, index: int) -> tuple[Outline, ...]:
        """Contour of a prediction, or with an empty key of the annotation; none where it is not on the slice."""
        mask = self.volumes.predictions[key] if key else self.volumes.reference
        if mask is None or not mask[index].any():
            return ()
        kind, name = "prediction" if key else "annotation", f"outline-{key}{index}"
        if name not in self.paths:
            self.paths[name] = panels.outline_path(self.window.of(mask[index]), self.volumes.spacing_yx_mm)
        return (Outline(kind, name),)

    def _wanted_slices(self) -> dict[int, list[str]]:
        """Slices with a largest area, each with whose it is."""
        predictions = self.volumes.predictions
        names = {"the annotation": self.volumes.reference}
        names |= {"the prediction" if len(predictions) == 1 else f"prediction {k}": m for k, m in predictions.items()}
        wanted: dict[int, list[str]] = {}
        for name, mask in names.items():
            index = None if mask is None else panels.largest_slice(mask)
            if index is not None:
                wanted.setdefault(index, []).append(name)
        return wanted
