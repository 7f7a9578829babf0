"""Image, reference and predictions of a case, read from files onto one grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.evaluation.masks import read_mask, reason_of, volumes_by_case
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.grids import difference
from nnunet_spine.images import Volume, read_volume

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class CaseFiles:
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


@dataclass(frozen=True, eq=False)
class CaseVolumes:
    """A case on the grid of its image, array axis 0 running over sagittal slices.

    Parameters
    ----------
    case
        Identifier.
    image
        Array (z, y, x).
    reference
        Boolean array of that shape; None where there is none on this grid.
    predictions
        The same by the key of a model.
    results
        Judgement by the key of a model.
    remarks
        Why a mask that was judged is not drawn, by the key of its model, or "" for the reference.
    """

    case: str
    image: Volume
    reference: Mask | None
    predictions: Mapping[str, Mask | None]
    results: Mapping[str, CaseResult]
    remarks: Mapping[str, str] = field(default_factory=dict)

    @property
    def masks(self) -> list[Mask]:
        """Those that there are."""
        return [mask for mask in (self.reference, *self.predictions.values()) if mask is not None]

    @property
    def spacing_yx_mm(self) -> tuple[float, float]:
        """Of a slice."""
        _, y, x = self.image.geometry.spacing_zyx_mm
        return y, x


def find_images(folder: Path) -> dict[str, Path]:
    """Image of each case by its identifier: CASE_0000.nii.gz, as in nnU-Net's imagesTr."""
    return {stem.removesuffix(CHANNEL): path for stem, path in volumes_by_case(folder).items()}


def read_case(case: str, files: CaseFiles) -> CaseVolumes | str:
    """Read a case; where there is nothing to show, why, as a sentence without a path."""
    if files.image is None:
        return f"There is no image {case}{CHANNEL}.nii.gz."
    try:
        image = read_volume(files.image)
    except NnunetSpineError as error:
        return f"The image {files.image.name} is unusable: {reason_of(error, files.image)}"
    found = {key: _mask_on(image, path) for key, path in {"": files.reference, **files.predictions}.items()}
    masks = {key: mask for key, mask in found.items() if not isinstance(mask, str)}
    remarks = {key: why for key, why in found.items() if isinstance(why, str) and _was_judged(files.results, key)}
    predictions = {key: masks.get(key) for key in files.results}
    volumes = CaseVolumes(case, image, masks.get(""), predictions, files.results, remarks)
    if not any(mask.any() for mask in volumes.masks):
        return " ".join(
            ["Neither a reference nor a prediction on the grid of the image has a tumor to show.", *remarks.values()]
        )
    return volumes


def _was_judged(results: Mapping[str, CaseResult], key: str) -> bool:
    """Whether the mask of a model, or with an empty key the reference, was usable in the evaluation."""
    states = [results[key].prediction] if key else [result.reference for result in results.values()]
    return any(state in (MaskState.PRESENT, MaskState.EMPTY) for state in states)


def _mask_on(image: Volume, path: Path | None) -> Mask | str | None:
    """Mask on the grid of `image`, or why it cannot be drawn on it; None without a mask."""
    if path is None:
        return None
    try:
        volume = read_mask(path)
    except NnunetSpineError as error:
        return f"The mask {path.name} is unusable: {reason_of(error, path)}"
    if volume.geometry.same_grid(image.geometry):
        return volume.mask
    apart = difference(volume.geometry, image.geometry)
    return f"The mask {path.name} is not drawn: it is on another grid than the image, {apart}."
