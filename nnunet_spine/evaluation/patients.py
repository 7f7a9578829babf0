"""From cases to patients: the units of every interval and test.

A patient's Dice is the mean of the Dice of its judged cases; a patient is detected when any of its judged cases is. A
case without a Dice counts nowhere. Cases of one patient are not independent, so that an interval or a test that took
each for a unit would claim more than the data hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult


def dice_by_patient(results: Sequence[CaseResult]) -> dict[str, float]:
    """Mean Dice of the judged cases of each patient, in the order of the patients' first cases."""
    by_patient: dict[str, list[float]] = {}
    for result in results:
        if result.dice is not None:
            by_patient.setdefault(result.patient, []).append(result.dice)
    return {patient: float(np.mean(values)) for patient, values in by_patient.items()}


def spared_by_patient(results: Sequence[CaseResult]) -> dict[str, bool]:
    """Whether nothing was marked in any case of each patient of whom no case has a tumor, for specificity."""
    with_tumor = {result.patient for result in results if result.dice is not None}
    spared: dict[str, bool] = {}
    for result in results:
        if result.negative and result.patient not in with_tumor:
            spared[result.patient] = spared.get(result.patient, True) and result.prediction is MaskState.EMPTY
    return spared


def detected_by_patient(results: Sequence[CaseResult]) -> dict[str, bool]:
    """Whether any judged case of each patient was detected, in the order of `dice_by_patient`."""
    detected: dict[str, bool] = {}
    for result in results:
        if result.dice is not None:
            detected[result.patient] = detected.get(result.patient, False) or bool(result.detected)
    return detected
