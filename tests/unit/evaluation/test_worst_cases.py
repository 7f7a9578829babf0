import pytest

from nnunet_spine.evaluation.worst_cases import Cause, Reason, Weight, find_worst


def reasons_of(found, name):
    (case,) = [case for case in found.cases if case.facts.result.case == name]
    return {reason.cause: reason for reason in case.reasons}


def names(found):
    return [case.facts.result.case for case in found.cases]


def good(fact, count, **details):
    return [fact(f"good{k:02d}", 0.5 + k / 100, **details) for k in range(count)]


def test_the_worst_are_the_missed_and_the_lowest_up_to_a_quarter(fact):
    facts = [*good(fact, 10), fact("low", 0.1), fact("missed", 0.0)]
    assert names(find_worst(facts)) == ["missed", "low", "good00"]  # 3 of 12
    facts += [fact(f"missed{k}", 0.0) for k in range(5)]
    assert names(find_worst(facts)) == ["missed", *[f"missed{k}" for k in range(5)]]  # 6 of 17: all that were missed


@pytest.mark.parametrize(
    ("cause", "bad", "just_good", "sentence"),
    [
        (Cause.LOW_CONTRAST, {"separation": 0.39}, {"separation": 0.4}, "separation 0.39 of 1"),
        (Cause.AT_BORDER, {"border_voxels": 1}, {"border_voxels": 0}, "reaches the border of the image with 1 voxels"),
        (Cause.TYPE_UNSEEN, {"trained_on_type": 0}, {"trained_on_type": 1}, "trained on 0 cases of this tumor type"),
        (Cause.MAKER_UNSEEN, {"trained_on_maker": 0}, {"trained_on_maker": 1}, "trained on 0 cases of this maker"),
        (Cause.ELSEWHERE, {"distance_mm": 10.0}, {"distance_mm": 9.9}, "centroid is 10 mm from the lesion's, which"),
        (Cause.COARSE_GRID, {"ceiling_dice": 0.79}, {"ceiling_dice": 0.8}, "Dice 0.79 after the resize and back"),
    ],
)
def test_a_reason_that_holds_among_the_worst_alone_is_given(fact, cause, bad, just_good, sentence):
    facts = [*good(fact, 15, **just_good), *[fact(f"bad{k}", 0.0, **bad) for k in range(5)]]
    found = find_worst(facts)
    reason = reasons_of(found, "bad0")[cause]
    assert reason.holds
    assert sentence in reason.sentence
    assert [r.cause for r in found.probable(found.cases[0])] == [cause]
    assert sentence in found.describe(found.cases[0])
    (frequency,) = [f for f in found.frequencies if f.cause is cause]
    assert (frequency.worst, frequency.of_worst, frequency.rest, frequency.of_rest) == (5, 5, 0, 15)
    assert frequency.weight is Weight.MORE_FREQUENT


def test_size_and_field_are_measured_against_thirds(fact):
    facts = [fact(f"a{k}", k / 10, volume_ml=k + 1.0, field_strength=11.0 - k) for k in range(10)]
    found = reasons_of(find_worst(facts), "a0")
    # Thirds of 1 to 10 ml: 4; of 2 to 11: from 8.
    assert found[Cause.SMALL] == Reason(Cause.SMALL, 1.0, pytest.approx(4.0), True)
    assert found[Cause.BIAS_FIELD] == Reason(Cause.BIAS_FIELD, 11.0, pytest.approx(8.0), True)


def test_a_reason_that_holds_for_most_of_the_rest_is_none(fact):
    facts = [*good(fact, 9, border_voxels=2), *[fact(f"clear{k}", 0.9) for k in range(6)]]
    facts += [fact(f"bad{k}", 0.0, border_voxels=2) for k in range(5)]
    found = find_worst(facts)
    assert {f.cause: f.weight for f in found.frequencies}[Cause.AT_BORDER] is Weight.COMMON
    assert reasons_of(found, "bad0")[Cause.AT_BORDER].holds
    assert found.probable(found.cases[0]) == []
    assert found.describe(found.cases[0]) == "bad0 (Dice 0.00, not detected): no reason found in what was measured."


@pytest.mark.parametrize(
    ("among_rest", "weight"),
    [(2, Weight.MORE_FREQUENT), (4, Weight.MORE_FREQUENT), (5, Weight.NOT_MORE_FREQUENT)],
)
def test_a_reason_must_hold_half_as_often_again_among_the_worst(fact, among_rest, weight):
    """2 of 5 is 0.4: 1.5 times 4 of 15 (0.267), and less than 1.5 times 5 of 15 (0.333)."""
    facts = [*good(fact, among_rest, border_voxels=2), *[fact(f"clear{k}", 0.9) for k in range(15 - among_rest)]]
    facts += [fact(f"bad{k}", 0.0, border_voxels=2 if k < 2 else 0) for k in range(5)]
    found = find_worst(facts)
    (frequency,) = [f for f in found.frequencies if f.cause is Cause.AT_BORDER]
    assert (frequency.worst, frequency.of_worst, frequency.rest, frequency.of_rest) == (2, 5, among_rest, 15)
    assert frequency.weight is weight
    assert len(found.probable(found.cases[0])) == (weight is Weight.MORE_FREQUENT)


def test_a_reason_that_never_holds_is_not_more_frequent(fact):
    found = find_worst([*good(fact, 15), *[fact(f"bad{k}", 0.0) for k in range(5)]])
    assert {f.weight for f in found.frequencies} == {Weight.NOT_MORE_FREQUENT}


def test_with_few_cases_reasons_are_given_and_not_judged(fact):
    found = find_worst([fact("bad", 0.0, border_voxels=2), fact("good", 0.9)])
    assert {f.weight for f in found.frequencies} == {Weight.NOT_JUDGED}
    assert [r.cause for r in found.probable(found.cases[0])] == [Cause.AT_BORDER]


def test_what_is_not_known_is_not_measured(fact):
    unknown = {"volume_ml": None, "separation": None, "trained_on_maker": None, "trained_on_type": None}
    found = find_worst([fact("a", 0.0, distance_mm=None, **unknown)])
    assert set(reasons_of(found, "a")) == {Cause.AT_BORDER}
    assert [f.cause for f in found.frequencies] == [Cause.AT_BORDER]


def test_no_case_detected(fact):
    found = find_worst([fact(f"a{k}", 0.0, separation=0.1) for k in range(8)])
    assert len(found.cases) == 8
    assert {f.weight for f in found.frequencies} == {Weight.NOT_JUDGED}  # there is no rest to compare with
    assert found.frequency_rows()[0][2] == "-"


def test_rows_hold_every_measured_reason(fact):
    found = find_worst([fact("bad", 0.0, border_voxels=2), fact("good", 0.9)])
    rows = found.csv_rows()
    assert {row["reason"] for row in rows if row["holds"]} == {"cut by the view"}
    assert len(rows) == 6
    assert all(row["case"] == "bad" and row["dice"] == 0.0 for row in rows)
    content = found.to_json()
    assert content["cases"][0]["probable"] == ["the lesion reaches the border of the image with 2 voxels"]
