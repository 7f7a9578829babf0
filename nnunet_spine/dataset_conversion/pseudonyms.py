"""Our names of cases and patients: numbers in an order that tells nothing of the source's."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from nnunet_spine.dataset_conversion.sources import SourceCase

CASE_PREFIX = "spine_"
PATIENT_PREFIX = "P"
DIGITS = 3


def pseudonyms(cases: Sequence[SourceCase], *, seed: int) -> list[tuple[str, str]]:
    """Identifiers (case, patient) for each of `cases`.

    Cases are numbered in a permutation of their order, patients in the order of their first case in it. The
    permutation is drawn from the seed and from the source's own identities, which are in the private mapping only:
    who knows the data set and the seed cannot undo it.
    """
    digest = hashlib.sha256(json.dumps([_private_name(case) for case in cases]).encode()).digest()
    generator = np.random.default_rng([seed, int.from_bytes(digest[:16])])
    order = [int(index) for index in generator.permutation(len(cases))]
    patients: dict[str, str] = {}
    for index in order:
        patients.setdefault(cases[index].patient_key, _numbered(PATIENT_PREFIX, len(patients) + 1, len(cases)))
    numbers = {index: number for number, index in enumerate(order, start=1)}
    return [
        (_numbered(CASE_PREFIX, numbers[index], len(cases)), patients[case.patient_key])
        for index, case in enumerate(cases)
    ]


def _private_name(case: SourceCase) -> list[str]:
    return [case.patient_key, case.identity.series_uid, case.identity.image]


def _numbered(prefix: str, number: int, highest: int) -> str:
    return f"{prefix}{number:0{max(DIGITS, len(str(highest)))}d}"
