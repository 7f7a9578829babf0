"""What is seen of a case beside its score, while its masks are in memory: view, look in the image, probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound
from nnunet_spine.evaluation.appearance import Appearance, appearance_of
from nnunet_spine.evaluation.certainty import Certainty, certainty_of, voxel_reliability
from nnunet_spine.evaluation.field_of_view import (
    Extent,
    border_voxels,
    extent_of,
    half_length_mm,
)
from nnunet_spine.evaluation.masks import MaskVolume, reason_of, volumes_by_case
from nnunet_spine.evaluation.probabilities import probability_file, read_tumor_probability
from nnunet_spine.evaluation.reliability import Reliability
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.files import is_folder
from nnunet_spine.grids import difference
from nnunet_spine.images import read_volume


@dataclass(frozen=True)
class Observation:
    """What was seen of a case; None where its masks, its image or its probabilities did not allow it.

    Parameters
    ----------
    extent
        Reach of the image.
    border_voxels
        Voxels of the reference in the outermost layer of the image.
    half_length_mm
        Half of the longest side of the box around the reference.
    appearance
        Look of the reference in the image.
    certainty, voxels
        From the saved probabilities.
    problems
        Why something that was asked for could not be seen.
    """

    extent: Extent | None = None
    border_voxels: int | None = None
    half_length_mm: float | None = None
    appearance: Appearance | None = None
    certainty: Certainty | None = None
    voxels: Reliability | None = None
    problems: tuple[str, ...] = ()


def images_by_case(folder: Path) -> dict[str, Path]:
    """First channel of each image in a folder such as imagesTr, by case.

    Raises
    ------
    NotFound
        Where there is no such folder, or no such image in it.
    """
    if not is_folder(folder):
        raise NotFound(f"There is no folder {folder} with images. Check the path.")
    found = {stem.removesuffix(CHANNEL): p for stem, p in volumes_by_case(folder).items() if stem.endswith(CHANNEL)}
    if not found:
        raise NotFound(f"{folder} holds no image. Expected CASE{CHANNEL}.nii.gz, as in nnU-Net's imagesTr.")
    return found


class Observer:
    """Looks at each case while its masks are in memory, so that nothing is read twice; safe to call from threads.

    Parameters
    ----------
    images
        Image by case; None where none were given: nothing is then said of the look in them.
    predictions
        Prediction by case: what nnU-Net saved beside it is read.
    """

    def __init__(self, images: Mapping[str, Path] | None, predictions: Mapping[str, Path]) -> None:
        self.images = images
        self.predictions = predictions
        self.seen: dict[str, Observation] = {}

    def __call__(self, result: CaseResult, reference: MaskVolume | None, prediction: MaskVolume | None) -> None:
        """Look at one case; masks that are missing or unusable are None."""
        if reference is None:
            self.seen[result.case] = Observation()
            return
        problems: list[str] = []
        mask, spacing_mm = reference.mask, reference.geometry.spacing_zyx_mm
        certainty, voxels = self._certainty(result.case, reference, prediction, problems)
        self.seen[result.case] = Observation(
            extent=extent_of(reference.geometry),
            border_voxels=border_voxels(mask),
            half_length_mm=half_length_mm(mask, spacing_mm) if mask.any() else None,
            appearance=self._appearance(result.case, reference, problems),
            certainty=certainty,
            voxels=voxels,
            problems=tuple(problems),
        )

    def problems(self) -> list[str]:
        """What could not be seen though it was asked for, a line each, by case."""
        return [f"{case}: {problem}" for case, seen in sorted(self.seen.items()) for problem in seen.problems]

    def _appearance(self, case: str, reference: MaskVolume, problems: list[str]) -> Appearance | None:
        if self.images is None or not reference.mask.any():
            return None
        path = self.images.get(case)
        if path is None:
            problems.append("the image is missing.")
            return None
        try:
            image = read_volume(path)
            if not image.geometry.same_grid(reference.geometry):
                raise BadInput(
                    f"it is on another grid than the reference: {difference(image.geometry, reference.geometry)}."
                )
            return appearance_of(image.array, reference.mask, reference.geometry.spacing_zyx_mm)
        except NnunetSpineError as error:
            problems.append(f"the image {path.name} is unusable: {reason_of(error, path)}")
            return None

    def _certainty(
        self, case: str, reference: MaskVolume, prediction: MaskVolume | None, problems: list[str]
    ) -> tuple[Certainty | None, Reliability | None]:
        path = probability_file(self.predictions[case]) if prediction and case in self.predictions else None
        if prediction is None or path is None:
            return None, None
        try:
            probability = read_tumor_probability(path, prediction.mask.shape)
            certainty = certainty_of(probability, prediction.mask)
        except NnunetSpineError as error:
            problems.append(f"the probabilities {path.name} are unusable: {reason_of(error, path)}")
            return None, None
        spacing_mm = reference.geometry.spacing_zyx_mm
        return certainty, voxel_reliability(probability, reference.mask, prediction.mask, spacing_mm)
