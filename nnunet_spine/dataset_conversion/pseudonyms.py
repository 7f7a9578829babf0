"""Our names of cases and patients: numbers in an order that tells nothing of the source's."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnunet_spine.dataset_conversion.sources import SourceCase

CASE_PREFIX = "spine_"
PATIENT_PREFIX = "P"
DIGITS = 3


@dataclass(frozen=True)
class Taken:
    """Names that are given already: identifiers of cases, and pseudonyms of patients by `SourceCase.patient_key`."""

    cases: tuple[str, ...] = ()
    patients: Mapping[str, str] = field(default_factory=dict, repr=False)


def pseudonyms(cases: Sequence[SourceCase], *, seed: int, taken: Taken = Taken()) -> list[tuple[str, str]]:
    """Identifiers (case, patient) for each of `cases`.

    Cases are numbered in a permutation of their order, after the highest number that is taken; new patients in the
    order of their first case in it. A patient who is known keeps the pseudonym. The permutation is drawn from the seed
    and from the source's own identities, which are in the private mapping only: who knows the data set and the seed
    cannot undo it.
    """
    digest = hashlib.sha256(json.dumps([_private_name(case) for case in cases]).encode()).digest()
    generator = np.random.default_rng([seed, int.from_bytes(digest[:16])])
    order = [int(index) for index in generator.permutation(len(cases))]
    first_case, first_patient = _highest(taken.cases) + 1, _highest(taken.patients.values()) + 1
    highest = first_case + len(cases) - 1
    patients = dict(taken.patients)
    unnamed = itertools.count(first_patient)
    keys = [
        case.patient_key or f"\0{index}" for index, case in enumerate(cases)
    ]  # one of whom nothing is known is alone
    for index in order:
        key = keys[index]
        if key not in patients:
            patients[key] = _numbered(PATIENT_PREFIX, next(unnamed), highest)
    numbers = {index: number for number, index in enumerate(order, start=first_case)}
    return [(_numbered(CASE_PREFIX, numbers[index], highest), patients[keys[index]]) for index in range(len(cases))]


def _highest(names: Iterable[str]) -> int:
    """Highest number of names such as spine_007; 0 where there is none."""
    return max((int(found[0]) for name in names if (found := re.findall(r"\d+$", name))), default=0)


def _private_name(case: SourceCase) -> list[str]:
    return [case.patient_key, case.identity.series_uid, case.identity.image]


def _numbered(prefix: str, number: int, highest: int) -> str:
    return f"{prefix}{number:0{max(DIGITS, len(str(highest)))}d}"
