from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.dataset_conversion.pseudonyms import pseudonyms
from nnunet_spine.dataset_conversion.sources import Details, Identity, SourceCase


def cases_of(patients: list[str]) -> list[SourceCase]:
    return [
        SourceCase(f"study {i}", (Path("i"),), Path("r"), Details(), Identity(patient, "", "", f"{i}"))
        for i, patient in enumerate(patients)
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=30), st.integers(0, 99))
def test_names_are_unique_contiguous_and_group_by_patient(patients: list[str], seed: int) -> None:
    names = pseudonyms(cases_of(patients), seed=seed)
    assert sorted(case for case, _ in names) == [f"spine_{n:03d}" for n in range(1, len(patients) + 1)]
    pairs = {(patient, ours) for patient, (_, ours) in zip(patients, names, strict=True)}
    assert len(pairs) == len(set(patients))
    assert {ours for _, ours in pairs} == {f"P{n:03d}" for n in range(1, len(pairs) + 1)}


def test_the_order_of_the_source_does_not_show() -> None:
    patients = [f"patient {i:02d}" for i in range(40)]
    numbers = [int(case.removeprefix("spine_")) for case, _ in pseudonyms(cases_of(patients), seed=0)]
    others = [int(case.removeprefix("spine_")) for case, _ in pseudonyms(cases_of(patients), seed=1)]
    assert sorted(numbers) != numbers != others
    assert sum(a == b for a, b in zip(numbers, others, strict=True)) < 10


def test_the_seed_alone_does_not_tell_the_order() -> None:
    one, other = ([case for case, _ in pseudonyms(cases_of([f"{p}{i}" for i in range(40)]), seed=0)] for p in "ab")
    assert one != other


def test_the_same_source_and_seed_give_the_same_names() -> None:
    cases = cases_of(list("abcab"))
    assert pseudonyms(cases, seed=5) == pseudonyms(cases, seed=5)


def test_more_than_999_cases_keep_their_order() -> None:
    names = sorted(case for case, _ in pseudonyms(cases_of([str(i) for i in range(1000)]), seed=0))
    assert (names[0], names[-1]) == ("spine_0001", "spine_1000")
