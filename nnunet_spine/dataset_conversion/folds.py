"""Folds of the cross-validation: grouped by patient, stratified by compartment and lesion size.

Fold sizes are blocks of ceil(n / k), which gives the documented 15/15/15/13 for 58 cases.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_spine.cases import Compartment, Fold
from nnunet_spine.errors import BadInput

SIZE_NAMES = ("small", "medium", "large")
"""Strata of lesion size: the tertiles of the patients' lesion volumes."""


@dataclass(frozen=True)
class FoldCase:
    """What the folds need to know of a case; `volume_ml` is the lesion's."""

    case: str
    patient: str
    compartment: Compartment
    volume_ml: float


@dataclass(frozen=True)
class Folding:
    """Folds, the stratum of each case by its identifier, and what a user should know of them."""

    folds: tuple[Fold, ...]
    strata: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patient:
    """A pseudonym with its cases, and the stratum of all of them: compartment, and place in `SIZE_NAMES`."""

    name: str
    cases: tuple[str, ...]
    stratum: tuple[Compartment, int]


def fold_sizes(cases: int, folds: int) -> tuple[int, ...]:
    """Test cases of each fold.

    Blocks of ceil(n / k), the last fold taking what is left; as even as possible where that would be less than half
    a block.

    Parameters
    ----------
    cases, folds
        n and k, both positive.

    Source
    ------
    The source deck, results: 15, 15, 15, 13 for 58 cases.
    """
    block = -(-cases // folds)
    last = cases - block * (folds - 1)
    if 2 * last >= block:
        return (block,) * (folds - 1) + (last,)
    return tuple(cases // folds + (number < cases % folds) for number in range(folds))


def make_folds(cases: Sequence[FoldCase], *, k: int = 4, seed: int = 0) -> Folding:
    """Divide cases into k folds; every case is tested once, and no patient is in two folds.

    Parameters
    ----------
    cases
        In any order: the result does not depend on it.
    k
        Number of folds, at least 2.
    seed
        Of the order within a stratum.

    Returns
    -------
    Folding
        With a note where patients of several cases make the sizes differ from `fold_sizes`.

    Raises
    ------
    BadInput
        Where k is below 2 or above the number of patients, or a case is listed twice.
    """
    patients = patients_of(cases)
    if k < 2:
        raise BadInput(f"{k} folds were asked for. Cross-validation needs at least 2.")
    if len(patients) < k:
        raise BadInput(
            f"{k} folds were asked for, but there are {len(patients)} patients, and a patient must not be in two "
            f"folds. Ask for at most {len(patients)} folds with --folds, or add patients."
        )
    sizes = fold_sizes(len(cases), k)
    fold_of_case = _assign(patients, sizes, seed)
    return folding_of(patients, {p.name: fold_of_case[p.cases[0]] for p in patients}, sizes)


def folding_of(patients: Sequence[Patient], fold_of_patient: Mapping[str, int], sizes: Sequence[int]) -> Folding:
    """Folding by the number of each patient's fold; noted where its sizes are not `sizes`."""
    fold_of_case = {case: fold_of_patient[patient.name] for patient in patients for case in patient.cases}
    tested = [sorted(case for case, fold in fold_of_case.items() if fold == number) for number in range(len(sizes))]
    folds = tuple(
        Fold(number, tuple(sorted(set(fold_of_case) - set(test))), tuple(test)) for number, test in enumerate(tested)
    )
    return Folding(folds, strata_of(patients), _size_notes(folds, sizes))


def strata_of(patients: Sequence[Patient]) -> dict[str, str]:
    """Name of each case's stratum, such as "intramedullary, small"."""
    strata = {case: f"{p.stratum[0].value}, {SIZE_NAMES[p.stratum[1]]}" for p in patients for case in p.cases}
    return dict(sorted(strata.items()))


def patients_of(cases: Iterable[FoldCase]) -> list[Patient]:
    """Cases grouped by patient, with their strata; `BadInput` where a case is listed twice."""
    grouped: dict[str, list[FoldCase]] = defaultdict(list)
    for case in sorted(cases, key=lambda case: (case.patient, case.case)):
        if any(case.case == other.case for other in grouped[case.patient]):
            raise BadInput(f"The case {case.case} is listed twice. Keep one entry for each case.")
        grouped[case.patient].append(case)
    largest = {patient: max(case.volume_ml for case in group) for patient, group in grouped.items()}
    bounds = np.quantile(list(largest.values()), (1 / 3, 2 / 3)) if largest else np.zeros(2)
    return [
        Patient(
            name,
            tuple(case.case for case in group),
            (_commonest(case.compartment for case in group), int(np.searchsorted(bounds, largest[name]))),
        )
        for name, group in grouped.items()
    ]


def _commonest(compartments: Iterable[Compartment]) -> Compartment:
    counts = Counter(compartments)
    return min(counts, key=lambda compartment: (-counts[compartment], compartment.value))


def _assign(patients: Sequence[Patient], sizes: Sequence[int], seed: int) -> dict[str, int]:
    """Fold number of each case: patients of several cases first, then the others dealt stratum by stratum."""
    shuffled = [patients[i] for i in np.random.default_rng(seed).permutation(len(patients))]
    by_stratum = sorted(shuffled, key=lambda patient: (patient.stratum[0].value, patient.stratum[1]))
    groups = sorted((p for p in by_stratum if len(p.cases) > 1), key=lambda p: -len(p.cases))
    singles = [p for p in by_stratum if len(p.cases) == 1]
    fold_of_patient = _place_groups(groups, sizes, waiting=len(singles))
    placed = Counter(dict.fromkeys(range(len(sizes)), 0))
    for patient in groups:
        placed[fold_of_patient[patient.name]] += len(patient.cases)
    wanted = [max(0, size - placed[fold]) for fold, size in enumerate(sizes)]
    empty = {fold for fold, count in placed.items() if count == 0}
    for patient, fold in zip(singles, _dealt(wanted, len(singles), empty), strict=True):
        fold_of_patient[patient.name] = fold
    return {case: fold_of_patient[patient.name] for patient in patients for case in patient.cases}


def _place_groups(groups: Sequence[Patient], sizes: Sequence[int], *, waiting: int) -> dict[str, int]:
    """Fold of each patient of several cases: the one with most room, then with fewest of the stratum.

    `waiting` patients of one case follow; an empty fold comes first where not enough patients are left to fill all.
    """
    room = list(sizes)
    in_stratum: Counter[tuple[tuple[Compartment, int], int]] = Counter()
    fold_of_patient: dict[str, int] = {}
    for index, patient in enumerate(groups):
        empty = sorted(set(range(len(sizes))) - set(fold_of_patient.values()))
        allowed = empty if len(groups) - index + waiting <= len(empty) else range(len(sizes))
        fold = min(allowed, key=lambda f: (-room[f], in_stratum[patient.stratum, f], f))
        room[fold] -= len(patient.cases)
        in_stratum[patient.stratum, fold] += len(patient.cases)
        fold_of_patient[patient.name] = fold
    return fold_of_patient


def _dealt(wanted: Sequence[int], count: int, empty: Iterable[int]) -> list[int]:
    """Fold numbers for `count` patients, such that any run of them is shared out in proportion to `wanted`.

    Each goes to the fold that is furthest behind its share, so that no fold is ever a whole case ahead; a fold of
    `empty` comes first where not enough patients are left to fill all.
    """
    shares = np.asarray(wanted, dtype=float) / max(1, sum(wanted))
    dealt = np.zeros(len(wanted))
    still_empty = set(empty)
    sequence: list[int] = []
    for index in range(count):
        behind = shares * (index + 1) - dealt
        allowed = still_empty if count - index <= len(still_empty) else range(len(wanted))
        fold = min(allowed, key=lambda f: (-round(float(behind[f]), 9), f))
        dealt[fold] += 1
        still_empty.discard(fold)
        sequence.append(fold)
    return sequence


def _size_notes(folds: Sequence[Fold], sizes: Sequence[int]) -> tuple[str, ...]:
    actual = tuple(len(fold.test) for fold in folds)
    if actual == tuple(sizes):
        return ()
    instead = f"{_slashed(actual)} instead of {_slashed(sizes)}"
    return (f"Fold sizes are {instead}, since patients with several cases stay in one fold.",)


def _slashed(numbers: Sequence[int]) -> str:
    return "/".join(str(n) for n in numbers)
