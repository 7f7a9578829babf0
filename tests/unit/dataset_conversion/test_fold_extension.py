from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.cases import Compartment, Fold
from nnunet_spine.dataset_conversion.fold_extension import extend_folds, filled_up, shared_out
from nnunet_spine.dataset_conversion.folds import FoldCase, Folding, fold_sizes, make_folds
from nnunet_spine.errors import BadInput

COMPARTMENTS = tuple(Compartment)


def cohort(counts: list[int], first: int = 0, seed: int = 0) -> list[FoldCase]:
    """One patient for each count, numbered from `first`, with that many cases."""
    generator = np.random.default_rng([seed, first])
    return [
        FoldCase(
            f"c{patient:03d}_{i}",
            f"P{patient:03d}",
            COMPARTMENTS[generator.integers(3)],
            float(np.round(generator.lognormal(), 3)),
        )
        for patient, count in enumerate(counts, start=first)
        for i in range(count)
    ]


def fold_of(folding: Folding) -> dict[str, int]:
    return {case: fold.number for fold in folding.folds for case in fold.test}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 3), min_size=5, max_size=30),
    st.lists(st.integers(1, 3), max_size=15),
    st.lists(st.integers(0, 4), max_size=5),
    st.integers(2, 5),
    st.integers(0, 2**31),
)
def test_nobody_moves_and_no_patient_straddles(
    counts: list[int], more: list[int], again: list[int], k: int, seed: int
) -> None:
    old = cohort(counts, seed=seed)
    returning = [FoldCase(f"r{i}", f"P{patient:03d}", Compartment.UNKNOWN, 1.0) for i, patient in enumerate(again)]
    cases = [*old, *cohort(more, len(counts), seed), *returning]
    before = make_folds(old, k=k, seed=seed)
    after = extend_folds(before.folds, cases, seed=seed)
    assert fold_of(before).items() <= fold_of(after).items()
    assert sorted(case for fold in after.folds for case in fold.test) == sorted(case.case for case in cases)
    patient = {case.case: case.patient for case in cases}
    for fold in after.folds:
        assert set(fold.train) | set(fold.test) == set(patient)
        assert not {patient[case] for case in fold.train} & {patient[case] for case in fold.test}
    assert set(after.strata) == set(patient)


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 60), st.integers(0, 40), st.integers(2, 5), st.integers(0, 2**31))
def test_sizes_and_strata_are_those_of_the_whole(count: int, more: int, k: int, seed: int) -> None:
    old, new = cohort([1] * count, seed=seed), cohort([1] * more, count, seed)
    before = make_folds(old, k=k, seed=seed)
    after = extend_folds(before.folds, [*old, *new], seed=seed)
    sizes, had = fold_sizes(count + more, k), [len(fold.test) for fold in before.folds]
    assert [len(fold.test) for fold in after.folds] == np.add(had, filled_up(had, sizes, more)).tolist()
    if all(a <= b for a, b in zip(had, sizes, strict=True)):
        assert tuple(len(fold.test) for fold in after.folds) == sizes
    for stratum, members in Counter(after.strata.values()).items():
        for fold in after.folds:
            share = members * len(fold.test) / (count + more)
            stayed = sum(after.strata[case] == stratum for case in before.folds[fold.number].test)
            found = sum(after.strata[case] == stratum for case in fold.test)
            # New cases never widen a gap by two: none goes where the stratum is a case ahead, but for want of room.
            assert found - share < max(2.5, stayed - share + 1)


def cost(shares: np.ndarray, wanted: np.ndarray) -> float:
    return float(((shares - wanted) ** 2).sum())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=3), st.integers(2, 3), st.integers(0, 2**31))
def test_strata_are_shared_out_as_well_as_can_be(counts: list[int], k: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    room = np.bincount(generator.integers(0, k, sum(counts)), minlength=k)
    wanted = generator.normal(1, 1.5, (len(counts), k))
    found = shared_out(counts, room.tolist(), list(wanted))
    assert found.sum(axis=1).tolist() == counts
    assert found.sum(axis=0).tolist() == room.tolist()
    rows = [[row for row in product(range(n + 1), repeat=k) if sum(row) == n] for n in counts]
    every = [np.array(table) for table in product(*rows)]  # all ways there are
    best = min(cost(table, wanted) for table in every if (table.sum(axis=0) == room).all())
    assert cost(found, wanted) == pytest.approx(best)


@settings(max_examples=20, deadline=None)
@given(st.randoms(), st.integers(0, 9))
def test_order_of_input_does_not_matter(random: object, seed: int) -> None:
    old, new = cohort([1] * 12), cohort([1, 2, 1, 1, 2], 12)
    folds = make_folds(old).folds
    shuffled = [*old, *new]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert extend_folds(folds, [*old, *new], seed=seed) == extend_folds(folds, shuffled, seed=seed)


def test_58_and_20_are_folds_of_20_and_18() -> None:
    old, new = cohort([1] * 58), cohort([1] * 20, 58)
    after = extend_folds(make_folds(old).folds, [*old, *new])
    assert [len(fold.test) for fold in after.folds] == [20, 20, 20, 18]
    assert after.notes == ()


def test_a_stratum_that_a_fold_lacks_goes_there() -> None:
    old = [FoldCase(f"c{i}", f"P{i}", Compartment.INTRAMEDULLARY, 1.0) for i in range(4)]
    folds = (Fold(0, ("c2", "c3"), ("c0", "c1")), Fold(1, ("c0", "c1"), ("c2", "c3")))
    new = [FoldCase(f"n{i}", f"N{i}", (Compartment.EXTRAMEDULLARY, Compartment.UNKNOWN)[i % 2], 1.0) for i in range(4)]
    after = extend_folds(folds, [*old, *new])
    for fold in after.folds:
        assert sorted(case[0] for case in fold.test) == ["c", "c", "n", "n"]
        assert {int(case[1:]) % 2 for case in fold.test if case[0] == "n"} == {0, 1}


def test_a_patient_in_two_folds_is_refused() -> None:
    cases = [FoldCase(f"c{i}", "P1", Compartment.UNKNOWN, 1.0) for i in range(2)]
    with pytest.raises(BadInput, match="P1 is in folds 0, 1"):
        extend_folds((Fold(0, ("c1",), ("c0",)), Fold(1, ("c0",), ("c1",))), cases)
