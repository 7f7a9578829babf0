"""Folds of a data set that has grown: nobody moves, and the new patients go where sizes and strata want them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp

from nnunet_spine.cases import Fold
from nnunet_spine.dataset_conversion.folds import (
    FoldCase,
    Folding,
    Patient,
    fold_sizes,
    folding_of,
    patients_of,
)
from nnunet_spine.errors import BadInput


def extend_folds(folds: Sequence[Fold], cases: Sequence[FoldCase], *, seed: int = 0) -> Folding:
    """Put the cases that are in no fold yet into one; every other case stays where it is.

    A case of a patient who is in a fold goes to that fold. New patients fill the folds up to `fold_sizes` of all
    cases, as far as those who stay allow; those of several cases come first, one by one. For the others, the sum of
    squared differences between the strata of each fold and their share of all cases is the least that is possible.

    Parameters
    ----------
    folds
        As they are; cases that are not in `cases` leave them.
    cases
        All cases, in any order: the result does not depend on it.
    seed
        Decides which of the new patients of one stratum goes where.

    Raises
    ------
    BadInput
        Where a case is listed twice, or the folds have a patient in two of them.
    """
    patients = patients_of(cases)
    fold_of_case = {case: fold.number for fold in folds for case in fold.test}
    fold_of_patient = _known(patients, fold_of_case)
    sizes = fold_sizes(len(cases), len(folds))
    new = [patient for patient in patients if patient.name not in fold_of_patient]
    shuffled = [new[i] for i in np.random.default_rng(seed).permutation(len(new))]
    for patient in sorted((p for p in shuffled if len(p.cases) > 1), key=lambda p: -len(p.cases)):
        fold_of_patient[patient.name] = _most_fitting(patient, patients, fold_of_patient, sizes)
    fold_of_patient |= _placed([p for p in shuffled if len(p.cases) == 1], patients, fold_of_patient, sizes)
    return folding_of(patients, fold_of_patient, sizes)


def _known(patients: Sequence[Patient], fold_of_case: Mapping[str, int]) -> dict[str, int]:
    known = {}
    for patient in patients:
        found = {fold_of_case[case] for case in patient.cases if case in fold_of_case}
        if len(found) > 1:
            raise BadInput(
                f"Patient {patient.name} is in folds {', '.join(map(str, sorted(found)))}, and a patient must not be "
                "in two. Correct splits_final.json, or remove it: convert then writes the folds that it made."
            )
        if found:
            known[patient.name] = found.pop()
    return known


def _counts(patients: Sequence[Patient], fold_of_patient: Mapping[str, int], k: int) -> npt.NDArray[np.int64]:
    """Cases by fold."""
    placed = np.zeros(k, np.int64)
    for patient in patients:
        if patient.name in fold_of_patient:
            placed[fold_of_patient[patient.name]] += len(patient.cases)
    return placed


def _most_fitting(
    patient: Patient, patients: Sequence[Patient], fold_of_patient: Mapping[str, int], sizes: Sequence[int]
) -> int:
    """Fold with most room; of several, the one with fewest cases of the patient's stratum."""
    alike = [other for other in patients if other.stratum == patient.stratum]
    room = np.asarray(sizes) - _counts(patients, fold_of_patient, len(sizes))
    same = _counts(alike, fold_of_patient, len(sizes))
    return min(range(len(sizes)), key=lambda fold: (-room[fold], same[fold], fold))


def _placed(
    new: Sequence[Patient], patients: Sequence[Patient], fold_of_patient: Mapping[str, int], sizes: Sequence[int]
) -> dict[str, int]:
    """Fold of each new patient of one case."""
    waiting: dict[object, list[Patient]] = defaultdict(list)
    for patient in new:
        waiting[patient.stratum].append(patient)
    strata = sorted(waiting, key=str)
    k = len(sizes)
    room = filled_up(_counts(patients, fold_of_patient, k).tolist(), sizes, len(new))
    have = [_counts([p for p in patients if p.stratum == stratum], fold_of_patient, k) for stratum in strata]
    totals = [sum(len(p.cases) for p in patients if p.stratum == stratum) for stratum in strata]
    final = np.asarray(room) + _counts(patients, fold_of_patient, k)
    wanted = [total * final / max(1, final.sum()) - held for total, held in zip(totals, have, strict=True)]
    shares = shared_out([len(waiting[stratum]) for stratum in strata], room, wanted)
    return {
        patient.name: fold
        for stratum, row in zip(strata, shares, strict=True)
        for patient, fold in zip(waiting[stratum], np.repeat(np.arange(k), row).tolist(), strict=True)
    }


def filled_up(placed: Sequence[int], sizes: Sequence[int], count: int) -> list[int]:
    """How many of `count` cases each fold takes, each case going to the fold that is furthest below its size."""
    taken = Counter[int]()
    for _ in range(count):
        taken[min(range(len(sizes)), key=lambda fold: (placed[fold] + taken[fold] - sizes[fold], fold))] += 1
    return [taken[fold] for fold in range(len(sizes))]


def shared_out(
    counts: Sequence[int], room: Sequence[int], wanted: Sequence[npt.NDArray[np.float64]]
) -> npt.NDArray[np.int64]:
    """Number of each stratum for each fold, with the least sum of squared differences from `wanted`.

    Parameters
    ----------
    counts
        By stratum; their sum is that of `room`.
    room
        By fold.
    wanted
        By stratum and fold; may be negative or broken.

    Returns
    -------
    shares
        Shape (stratum, fold); rows sum to `counts`, columns to `room`.

    Source
    ------
    A transportation problem with convex costs: the n-th case of a stratum in a fold costs what it adds to the square
    (Ahuja, Magnanti, Orlin, Network Flows, 1993, chapter 14).
    """
    shares = np.zeros((len(counts), len(room)), np.int64)
    units = [
        (s, f, n) for s, count in enumerate(counts) for f, most in enumerate(room) for n in range(min(count, most))
    ]
    if not units:
        return shares
    cost = [2 * (n - wanted[s][f]) + 1 for s, f, n in units]
    of_stratum = np.array([[s == row for s, _, _ in units] for row in range(len(counts))], float)
    of_fold = np.array([[f == column for _, f, _ in units] for column in range(len(room))], float)
    exactly = np.array([*counts, *room], float)
    solved = milp(
        cost, integrality=np.ones(len(units), np.int64), bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.vstack([of_stratum, of_fold]), exactly, exactly),
    )  # fmt: skip
    for (s, f, _), chosen in zip(units, np.rint(np.asarray(solved.x, float)), strict=True):
        shares[s, f] += int(chosen)
    return shares
