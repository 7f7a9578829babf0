"""Overlays of a case: prediction beside annotation, on the slices that tell most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.evaluation.masks import read_mask, volumes_by_case
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.images import Volume, read_volume
from nnunet_spine.nnunet.environment import allocated_cpus
from nnunet_spine.reporting import panels
from nnunet_spine.reporting.page import embedded

Mask = npt.NDArray[np.bool_]
_CHANNEL_SUFFIX = "_0000"
_STATE_TEXTS = {
    MaskState.EMPTY: "nothing was predicted",
    MaskState.MISSING: "no prediction",
    MaskState.UNUSABLE: "unusable prediction",
}


@dataclass(frozen=True)
class Panel:
    """One picture of a slice.

    Parameters
    ----------
    title
        Above the picture.
    kind
        "prediction" or "annotation".
    path
        Outline as the data of an SVG path in mm; "" where there is none on this slice.
    message
        Written on the picture where there is no outline.
    alt
        What the picture shows, in words.
    """

    title: str
    kind: str
    path: str
    message: str
    alt: str


@dataclass(frozen=True)
class SliceView:
    """One slice with a panel for each model and the annotation.

    Parameters
    ----------
    caption
        Which slice, and why this one.
    picture
        PNG of the slice, base64.
    width_mm, height_mm
        Size of the picture.
    panels
        Predictions first, the annotation last.
    """

    caption: str
    picture: str
    width_mm: float
    height_mm: float
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class CaseOverlay:
    """Pictures of a case.

    Parameters
    ----------
    case
        Identifier.
    slices
        Empty where there is no picture to show.
    reason
        Why there is none, or "".
    """

    case: str
    slices: tuple[SliceView, ...]
    reason: str = ""


@dataclass(frozen=True)
class OverlayInput:
    """What a case's pictures are made of.

    Parameters
    ----------
    image, reference
        Files, None where absent.
    results
        Judgement by the key of a model.
    predictions
        Files by the key of a model; a model without one is absent.
    """

    image: Path | None
    reference: Path | None
    results: Mapping[str, CaseResult]
    predictions: Mapping[str, Path]


def find_images(folder: Path) -> dict[str, Path]:
    """Image of each case by its identifier: CASE_0000.nii.gz, as in nnU-Net's imagesTr."""
    return {stem.removesuffix(_CHANNEL_SUFFIX): path for stem, path in volumes_by_case(folder).items()}


def draw_all(inputs: Mapping[str, OverlayInput]) -> list[CaseOverlay]:
    """Pictures of all cases, in the order of `inputs`."""
    with ThreadPoolExecutor(allocated_cpus()) as pool:
        return list(pool.map(draw_case, inputs, inputs.values()))


def draw_case(case: str, source: OverlayInput) -> CaseOverlay:
    """Pictures of one case; a file that cannot be used is told in the overlay's `reason` or a panel's `message`."""
    if source.image is None:
        return CaseOverlay(case, (), f"There is no image {case}{_CHANNEL_SUFFIX}.nii.gz.")
    try:
        image = read_volume(source.image)
    except NnunetSpineError:
        return CaseOverlay(case, (), f"The image {source.image.name} cannot be read.")
    reference = _mask_on(image, source.reference)
    predictions = {key: _mask_on(image, source.predictions.get(key)) for key in source.results}
    present = [mask for mask in (reference, *predictions.values()) if mask is not None]
    wanted = _wanted_slices(reference, predictions)
    if not wanted:
        return CaseOverlay(
            case, (), "Neither a reference nor a prediction on the grid of the image has a tumor to show."
        )
    _, *spacing = image.geometry.spacing_zyx_mm
    spacing_yx = (spacing[0], spacing[1])
    window = panels.window_around(present, image.geometry.shape_zyx[1:], spacing_yx)
    drawing = _Drawing(case, image, reference, predictions, source.results, window, spacing_yx)
    return CaseOverlay(case, tuple(drawing.slice_view(index, why) for index, why in wanted.items()))


@dataclass(frozen=True, eq=False)
class _Drawing:
    case: str
    image: Volume
    reference: Mask | None
    predictions: Mapping[str, Mask | None]
    results: Mapping[str, CaseResult]
    window: panels.Window
    spacing_yx_mm: tuple[float, float]

    def slice_view(self, index: int, why: Sequence[str]) -> SliceView:
        """One slice with its contours, and why it is shown."""
        height, width = self.window.size_mm(self.spacing_yx_mm)
        png = panels.grey_png(self.window.of(self.image.array[index]), *panels.grey_range(self.image.array))
        shown = [self._prediction(key, index) for key in self.predictions]
        return SliceView(
            caption=f"Slice {index + 1} of {len(self.image.array)}: largest area of {' and '.join(why)}",
            picture=embedded(png),
            width_mm=round(width, 1),
            height_mm=round(height, 1),
            panels=(*shown, self._annotation(index)),
        )

    def _prediction(self, key: str, index: int) -> Panel:
        result = self.results[key]
        name = "Prediction" if len(self.results) == 1 else f"Prediction {key}"
        score = "no Dice" if result.dice is None else f"Dice {result.dice:.2f}"
        title = f"{name}, {score}" + (", missed" if result.detected is False else "")
        path = self._outline(self.predictions[key], index)
        state = _STATE_TEXTS.get(result.prediction, "not on this slice")
        return Panel(title, "prediction", path, "" if path else state, self._alt(name, path or "", index, score, state))

    def _annotation(self, index: int) -> Panel:
        path = self._outline(self.reference, index)
        state = "no annotation" if self.reference is None else "not on this slice"
        return Panel(
            "Annotation", "annotation", path, "" if path else state, self._alt("Annotation", path, index, "", state)
        )

    def _outline(self, mask: Mask | None, index: int) -> str:
        return "" if mask is None else panels.outline_path(self.window.of(mask[index]), self.spacing_yx_mm)

    def _alt(self, name: str, path: str, index: int, score: str, state: str) -> str:
        what = "outlined on" if path else f"{state}:"
        return f"{name} of {self.case} {what} sagittal slice {index + 1}" + (f"; {score}" if score else "")


def _mask_on(image: Volume, path: Path | None) -> Mask | None:
    """Mask on the grid of `image`; None where there is none that can be drawn on it."""
    if path is None:
        return None
    try:
        volume = read_mask(path)
    except NnunetSpineError:
        return None
    return volume.mask if volume.geometry.same_grid(image.geometry) else None


def _wanted_slices(reference: Mask | None, predictions: Mapping[str, Mask | None]) -> dict[int, list[str]]:
    """Slices to show, each with whose largest area it holds."""
    names = {"the annotation": reference}
    names |= {"the prediction" if len(predictions) == 1 else f"prediction {k}": m for k, m in predictions.items()}
    wanted: dict[int, list[str]] = {}
    for name, mask in names.items():
        index = None if mask is None else panels.largest_slice(mask)
        if index is not None:
            wanted.setdefault(index, []).append(name)
    return wanted
