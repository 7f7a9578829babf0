from itertools import product

from nnunet_spine.evaluation.policy import VERDICTS, MaskState, Verdict


def test_every_pair_of_states_has_a_verdict():
    assert set(VERDICTS) == set(product(MaskState, MaskState))


def test_only_a_usable_pair_is_measured():
    measured = [pair for pair, verdict in VERDICTS.items() if verdict is Verdict.MEASURED]
    assert measured == [(MaskState.PRESENT, MaskState.PRESENT)]


def test_a_tumor_without_a_usable_prediction_is_a_miss_not_left_out():
    for prediction in (MaskState.EMPTY, MaskState.MISSING, MaskState.UNUSABLE):
        assert VERDICTS[MaskState.PRESENT, prediction] is Verdict.MISS


def test_without_a_tumor_in_the_reference_a_case_is_excluded():
    for reference, prediction in product((MaskState.EMPTY, MaskState.MISSING, MaskState.UNUSABLE), MaskState):
        assert VERDICTS[reference, prediction] is Verdict.EXCLUDED
