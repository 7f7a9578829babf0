from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.cases import Compartment
from nnunet_spine.dataset_conversion.folds import FoldCase, fold_sizes, make_folds
from nnunet_spine.errors import BadInput

COMPARTMENTS = (Compartment.INTRAMEDULLARY, Compartment.EXTRAMEDULLARY, Compartment.UNKNOWN)


def cohort(counts: list[int], seed: int = 0) -> list[FoldCase]:
    """One patient for each count, with that many cases."""
    generator = np.random.default_rng(seed)
    return [
        FoldCase(
            f"c{patient:03d}_{i}",
            f"P{patient:03d}",
            COMPARTMENTS[generator.integers(3)],
            float(np.round(generator.lognormal(), 3)),
        )
        for patient, count in enumerate(counts)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("cases", "k", "sizes"),
    [
        (58, 4, (15, 15, 15, 13)),
        (8, 4, (2, 2, 2, 2)),
        (4, 4, (1, 1, 1, 1)),
        (10, 4, (3, 3, 2, 2)),  # blocks of 3 would leave 1 of 3
        (11, 4, (3, 3, 3, 2)),
        (5, 4, (2, 1, 1, 1)),  # blocks of 2 would leave -1
        (20, 5, (4, 4, 4, 4, 4)),
        (7, 2, (4, 3)),
    ],
)
def test_sizes_are_blocks_or_even(cases: int, k: int, sizes: tuple[int, ...]) -> None:
    assert fold_sizes(cases, k) == sizes
    folding = make_folds(cohort([1] * cases), k=k)
    assert tuple(len(fold.test) for fold in folding.folds) == sizes
    assert folding.notes == ()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=5, max_size=40), st.integers(2, 5), st.integers(0, 2**31))
def test_every_case_is_tested_once_and_no_patient_straddles(counts: list[int], k: int, seed: int) -> None:
    cases = cohort(counts, seed)
    folding = make_folds(cases, k=k, seed=seed)
    tested = [case for fold in folding.folds for case in fold.test]
    assert sorted(tested) == sorted(case.case for case in cases)
    patient = {case.case: case.patient for case in cases}
    for fold in folding.folds:
        assert fold.test
        assert set(fold.train) | set(fold.test) == set(patient)
        assert not {patient[c] for c in fold.train} & {patient[c] for c in fold.test}
    sizes = tuple(len(fold.test) for fold in folding.folds)
    assert (folding.notes == ()) == (sizes == fold_sizes(len(cases), k))


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 70), st.integers(2, 5), st.integers(0, 2**31))
def test_strata_are_shared_out_in_proportion(count: int, k: int, seed: int) -> None:
    cases = cohort([1] * count, seed)
    folding = make_folds(cases, k=k, seed=seed)
    sizes = fold_sizes(count, k)
    compartment = {case.case: case.compartment.value for case in cases}
    for stratum_of in (folding.strata, compartment):
        for stratum, members in Counter(stratum_of.values()).items():
            for fold, size in zip(folding.folds, sizes, strict=True):
                found = sum(stratum_of[case] == stratum for case in fold.test)
                assert abs(found - members * size / count) < 2


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=5, max_size=20), st.randoms(), st.integers(0, 9))
def test_order_of_input_does_not_matter(counts: list[int], random: object, seed: int) -> None:
    cases = cohort(counts)
    shuffled = list(cases)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert make_folds(cases, seed=seed) == make_folds(shuffled, seed=seed)


def test_the_seed_decides() -> None:
    cases = cohort([1] * 58)
    assert make_folds(cases, seed=1) == make_folds(cases, seed=1)
    assert make_folds(cases, seed=1) != make_folds(cases, seed=2)


def test_tertiles_of_volume_are_the_size_strata() -> None:
    cases = [FoldCase(f"c{i}", f"P{i}", Compartment.INTRAMEDULLARY, float(i)) for i in range(1, 10)]
    strata = make_folds(cases, k=3).strata
    assert [strata[f"c{i}"].split(", ")[1] for i in range(1, 10)] == ["small"] * 3 + ["medium"] * 3 + ["large"] * 3


def test_each_fold_gets_one_lesion_of_each_size() -> None:
    cases = [FoldCase(f"c{i}", f"P{i}", Compartment.EXTRAMEDULLARY, float(i)) for i in range(12)]
    for fold in make_folds(cases, k=4).folds:
        assert sorted(int(case[1:]) // 4 for case in fold.test) == [0, 1, 2]


def test_a_patient_of_many_cases_changes_the_sizes_and_is_told() -> None:
    folding = make_folds(cohort([6, 1, 1, 1, 1, 1, 1]), k=4)
    assert sorted(len(fold.test) for fold in folding.folds) == [2, 2, 2, 6]
    assert folding.notes == (
        "Fold sizes are 6/2/2/2 instead of 3/3/3/3, since patients with several cases stay in one fold.",
    )


def test_equal_volumes_are_no_trouble() -> None:
    cases = [FoldCase(f"c{i}", f"P{i}", Compartment.UNKNOWN, 1.0) for i in range(9)]
    assert set(make_folds(cases, k=3).strata.values()) == {"unknown, small"}


def test_fewer_patients_than_folds_is_refused() -> None:
    with pytest.raises(BadInput, match=r"4 folds .* 3 patients, .*at most 3"):
        make_folds(cohort([3, 3, 3]), k=4)


@pytest.mark.parametrize("k", [1, 0, -2])
def test_too_few_folds_are_refused(k: int) -> None:
    with pytest.raises(BadInput, match="at least 2"):
        make_folds(cohort([1, 1]), k=k)


def test_a_case_listed_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="listed twice"):
        make_folds(cohort([1, 1]) + cohort([1, 1]), k=2)
