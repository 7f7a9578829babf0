"""Tissues, and their signal in each kind of series."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from nnunet_spine.phantoms.fields import FloatArray
from nnunet_spine.phantoms.model import LesionSpec, Series


class Tissue(IntEnum):
    """What fills a point."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    ORGAN = 4
    FLOW = 5
    CORTEX = 6
    MARROW = 7
    DISC = 8
    LIGAMENT = 9
    DURA = 10
    CSF = 11
    CORD = 12
    ROOT = 13
    VEIN = 14
    EDEMA = 15
    DURAL_TAIL = 16
    TUMOR = 17
    NECROSIS = 18


LESION_TISSUES = (Tissue.TUMOR, Tissue.NECROSIS)
"""What the reference holds."""

_T1 = {
    Tissue.AIR: 0.01, Tissue.SKIN: 0.35, Tissue.FAT: 1.0, Tissue.MUSCLE: 0.40, Tissue.ORGAN: 0.42, Tissue.FLOW: 0.08,
    Tissue.CORTEX: 0.10, Tissue.MARROW: 0.58, Tissue.DISC: 0.36, Tissue.LIGAMENT: 0.16, Tissue.DURA: 0.26,
    Tissue.CSF: 0.20, Tissue.CORD: 0.46, Tissue.ROOT: 0.40, Tissue.VEIN: 0.30, Tissue.EDEMA: 0.40,
    Tissue.DURAL_TAIL: 0.30, Tissue.TUMOR: 0.44, Tissue.NECROSIS: 0.30,
}  # fmt: skip
_T2 = {
    Tissue.AIR: 0.01, Tissue.SKIN: 0.25, Tissue.FAT: 0.80, Tissue.MUSCLE: 0.20, Tissue.ORGAN: 0.40, Tissue.FLOW: 0.05,
    Tissue.CORTEX: 0.06, Tissue.MARROW: 0.42, Tissue.DISC: 0.42, Tissue.LIGAMENT: 0.08, Tissue.DURA: 0.12,
    Tissue.CSF: 1.10, Tissue.CORD: 0.40, Tissue.ROOT: 0.35, Tissue.VEIN: 0.45, Tissue.EDEMA: 0.62,
    Tissue.DURAL_TAIL: 0.30, Tissue.TUMOR: 0.62, Tissue.NECROSIS: 0.95,
}  # fmt: skip
_ENHANCED = {
    Tissue.SKIN: 0.45, Tissue.MUSCLE: 0.42, Tissue.ORGAN: 0.52, Tissue.MARROW: 0.62, Tissue.DURA: 0.36,
    Tissue.ROOT: 0.43, Tissue.VEIN: 0.88, Tissue.DURAL_TAIL: 0.74,
}  # fmt: skip
"""Signal after contrast where it differs from the T1 before; in units of fat."""

_SUPPRESSED_FAT = 0.22
_SUPPRESSED_MARROW = 0.3
_JITTER = 0.07


def signal_table(series: Series, lesion: LesionSpec, *, fat_suppressed: bool, rng: np.random.Generator) -> FloatArray:
    """Signal by tissue number in one series, varied a little from patient to patient.

    Parameters
    ----------
    series
        Kind of series.
    lesion
        Gives the tumor's signal after contrast.
    fat_suppressed
        Whether fat (and in part marrow) is dark.
    rng
        Source of the variation; the same state gives related tables for all series of a patient.
    """
    base = dict(_T2 if series is Series.T2 else _T1)
    if series is Series.T1_POST:
        base |= _ENHANCED | {Tissue.TUMOR: lesion.enhancement, Tissue.NECROSIS: lesion.core_signal}
    if fat_suppressed:
        base[Tissue.FAT] *= _SUPPRESSED_FAT
        base[Tissue.MARROW] *= _SUPPRESSED_MARROW / base[Tissue.MARROW]
    values = np.array([base[tissue] for tissue in Tissue])
    jitter = np.exp(_JITTER * rng.standard_normal(len(Tissue)))
    jitter[[Tissue.TUMOR, Tissue.NECROSIS]] = 1.0
    jitter[Tissue.MARROW] = jitter[Tissue.MARROW] ** 2.5
    return (values * jitter).astype(np.float32)
