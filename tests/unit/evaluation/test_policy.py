from itertools import product

from nnunet_spine.evaluation.measures import MEASURE_FIELDS
from nnunet_spine.evaluation.policy import SCORES, VERDICTS, MaskState, Verdict, scores


def test_every_pair_of_states_has_a_verdict():
    assert set(VERDICTS) == set(product(MaskState, MaskState))


def test_only_a_usable_pair_is_measured():
    measured = [pair for pair, verdict in VERDICTS.items() if verdict is Verdict.MEASURED]
    assert measured == [(MaskState.PRESENT, MaskState.PRESENT)]


def test_a_tumor_without_a_usable_prediction_is_a_miss_not_left_out():
    for prediction in (MaskState.EMPTY, MaskState.MISSING, MaskState.UNUSABLE):
        assert VERDICTS[MaskState.PRESENT, prediction] is Verdict.MISS


def test_without_a_tumor_a_usable_prediction_counts_towards_specificity():
    negative = [pair for pair, verdict in VERDICTS.items() if verdict is Verdict.NEGATIVE]
    assert sorted(negative) == [(MaskState.EMPTY, MaskState.EMPTY), (MaskState.EMPTY, MaskState.PRESENT)]


def test_without_a_usable_reference_a_case_is_excluded():
    for reference, prediction in product((MaskState.MISSING, MaskState.UNUSABLE), MaskState):
        assert VERDICTS[reference, prediction] is Verdict.EXCLUDED


def test_every_metric_that_can_be_undefined_has_its_scores():
    """Of the metrics, volumes and counts alone are defined without a voxel."""
    counted = {f for f in MEASURE_FIELDS if f.endswith(("_ml", "_lesions", "_components"))}
    assert set(SCORES) == {"dice", *MEASURE_FIELDS} - counted


def test_scores_by_verdict():
    zero = {"dice", "iou", "recall", "nsd_1mm", "nsd_2mm"}
    assert {name for name, score in scores(Verdict.MISS).items() if score == 0} == zero
    assert {name for name, score in scores(Verdict.MISS).items() if score is None} == set(SCORES) - zero
    for verdict in (Verdict.NEGATIVE, Verdict.EXCLUDED):
        assert set(scores(verdict).values()) == {None}
