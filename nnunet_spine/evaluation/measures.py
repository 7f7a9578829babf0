"""All metrics of one case besides Dice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from nnunet_spine.evaluation.boxes import crop_to_union
from nnunet_spine.evaluation.lesions import count_lesions, is_detected
from nnunet_spine.evaluation.metrics import Mask, Overlap, Spacing, centroid_distance_mm
from nnunet_spine.evaluation.policy import Verdict, scores
from nnunet_spine.evaluation.surfaces import surface_measures
from nnunet_spine.protocol import Criterion


@dataclass(frozen=True)
class CaseMeasures:
    """Metrics of one case besides Dice; None where one is not defined, as in `nnunet_spine.evaluation.policy`.

    Parameters
    ----------
    iou, precision, recall
        Of voxels, 0 to 1.
    hd95_mm
        95th percentile of the distances between the surfaces, in mm.
    nsd_1mm, nsd_2mm
        Normalised surface Dice at 1 and 2 mm, 0 to 1.
    volume_difference_ml
        Prediction minus reference.
    centroid_distance_mm
        Between the two centroids.
    reference_lesions, detected_lesions, predicted_lesions
        Connected components; see `nnunet_spine.evaluation.lesions`.
    false_positive_components, false_positive_volume_ml
        Predicted components without a voxel in the reference, and their volume.
    """

    iou: float | None
    precision: float | None
    recall: float | None
    hd95_mm: float | None
    nsd_1mm: float | None
    nsd_2mm: float | None
    volume_difference_ml: float | None
    centroid_distance_mm: float | None
    reference_lesions: int
    detected_lesions: int
    predicted_lesions: int
    false_positive_components: int
    false_positive_volume_ml: float

    @property
    def lesion_sensitivity(self) -> float | None:
        """Detected lesions over lesions; None without a lesion."""
        return self.detected_lesions / self.reference_lesions if self.reference_lesions else None

    @property
    def lesion_precision(self) -> float | None:
        """Share of the predicted components that are no false positives; None without one."""
        true = self.predicted_lesions - self.false_positive_components
        return true / self.predicted_lesions if self.predicted_lesions else None

    def to_json(self) -> dict[str, Any]:
        """The fields and the two rates."""
        return {**asdict(self), **{name: getattr(self, name) for name in RATES}}


RATES = ("lesion_sensitivity", "lesion_precision")
MEASURE_FIELDS = tuple(f.name for f in fields(CaseMeasures))
MEASURE_COLUMNS = (*MEASURE_FIELDS, *RATES)


@dataclass(frozen=True)
class CaseScores:
    """Dice, detection and all other metrics of one case; None where they are not defined."""

    dice: float | None
    detected: bool | None
    measures: CaseMeasures


def score_case(
    reference: Mask, prediction: Mask | None, spacing_mm: Spacing, *, verdict: Verdict, criterion: Criterion
) -> CaseScores:
    """Score one case whose reference is usable.

    Parameters
    ----------
    reference
        Boolean array (z, y, x).
    prediction
        Of the same shape; None where it is missing or unusable.
    spacing_mm
        Spacing (z, y, x), in mm.
    verdict
        What becomes of the case, from `nnunet_spine.evaluation.policy.VERDICTS`.
    criterion
        When a case and a lesion count as detected.
    """
    cut, predicted = crop_to_union(reference, np.zeros_like(reference) if prediction is None else prediction)
    overlap = Overlap.of(cut, predicted)
    lesions = count_lesions(cut, predicted, criterion)
    measured = verdict is Verdict.MEASURED
    values = _measured(cut, predicted, overlap, spacing_mm) if measured else scores(verdict)
    detected = is_detected(overlap, lesions, criterion) if measured else False
    voxel_ml = float(np.prod(spacing_mm)) / 1000.0
    dice = values.pop("dice")
    measures = CaseMeasures(
        **values,
        volume_difference_ml=None if prediction is None else (overlap.prediction - overlap.reference) * voxel_ml,
        reference_lesions=lesions.reference,
        detected_lesions=lesions.detected,
        predicted_lesions=lesions.predicted,
        false_positive_components=lesions.false_positives,
        false_positive_volume_ml=lesions.false_positive_voxels * voxel_ml,
    )
    return CaseScores(dice, None if dice is None else detected, measures)


def _measured(reference: Mask, prediction: Mask, overlap: Overlap, spacing_mm: Spacing) -> dict[str, float | None]:
    """Every metric of `nnunet_spine.evaluation.policy.SCORES`, of two masks that are not empty."""
    return {
        **{name: getattr(overlap, name) for name in ("dice", "iou", "precision", "recall")},
        **asdict(surface_measures(reference, prediction, spacing_mm)),
        "centroid_distance_mm": centroid_distance_mm(reference, prediction, spacing_mm),
    }
