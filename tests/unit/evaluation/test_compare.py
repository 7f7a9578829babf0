import csv
import json
from dataclasses import replace

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.compare import compare, label_models, summarise_pairs, write_comparison
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.evaluation.tables import comparison_rows, paired_table, signed

P = MaskState.PRESENT


def evaluation(**dices: float | None) -> Evaluation:
    return Evaluation(
        tuple(
            CaseResult(case, case, fold, dice, None if dice is None else dice > 0, P, P, 1.0, 1.0)
            for fold, (case, dice) in enumerate(dices.items())
        ),
        tuple(range(len(dices))),
    )


A = evaluation(a=0.5, b=0.0, c=0.3, d=0.0, e=0.8)
B = evaluation(a=0.7, b=0.1, c=0.0, d=0.0, e=0.8)


def test_pairs_by_hand():
    (summary,) = compare({"one": A, "two": B}).paired
    assert (summary.baseline, summary.model, summary.cases) == ("A", "B", 5)
    assert summary.mean_difference == pytest.approx(0.0)  # 0.2 + 0.1 - 0.3 + 0 + 0
    assert summary.median_difference == pytest.approx(0.0)
    assert (summary.better, summary.equal, summary.worse) == (2, 2, 1)
    assert (summary.detected_by_both, summary.only_baseline, summary.only_model, summary.neither) == (2, 1, 1, 1)


def test_no_pair_has_no_difference():
    summary = summarise_pairs([])
    assert (summary.cases, summary.mean_difference, summary.median_difference) == (0, None, None)


def test_an_excluded_case_is_in_no_pair_but_in_the_table():
    comparison = compare({"one": evaluation(a=0.5, b=None), "two": evaluation(a=0.6, b=None)})
    assert comparison.paired[0].cases == 1
    assert comparison.rows()[1]["difference_B_minus_A"] is None


def test_each_other_model_is_compared_with_the_first():
    comparison = compare({"one": A, "two": B, "three": A})
    assert [(s.baseline, s.model) for s in comparison.paired] == [("A", "B"), ("A", "C")]
    assert comparison.paired[1].equal == 5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (evaluation(a=0.5, b=0.0, c=0.3, d=0.0, x=0.8), "only one of them has the cases e, x"),
        (replace(A, results=(replace(A.results[0], patient="q"), *A.results[1:])), "differ in patient: a"),
        (replace(A, results=(replace(A.results[0], fold=1), *A.results[1:])), "differ in fold: a"),
        (
            replace(A, results=(replace(A.results[0], reference_volume_ml=2.0), *A.results[1:])),
            "different references: a",
        ),
        (replace(A, fold_numbers=(0, 1)), r"their folds are \[0, 1, 2, 3, 4\] and \[0, 1\]"),
    ],
)
def test_what_cannot_be_paired_is_refused(other, message):
    with pytest.raises(BadInput, match=message):
        compare({"one": A, "two": other})


def test_one_model_is_no_comparison():
    with pytest.raises(BadInput, match="1 evaluations"):
        compare({"one": A})


def test_files(tmp_path):
    comparison = compare({"one": A, "two": B}, notes=["far from trained: no conclusion"])
    write_comparison(tmp_path, comparison, {"step": "compare"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["comparison.json", "manifest.json", "paired.csv"]
    with (tmp_path / "paired.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    expected = ["case", "patient", "fold", "dice_A", "dice_B", "difference_B_minus_A", "detected_A", "detected_B"]
    assert list(rows[0]) == expected
    assert float(rows[2]["difference_B_minus_A"]) == pytest.approx(-0.3)
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [(m["key"], m["label"]) for m in content["models"]] == [("A", "one"), ("B", "two")]
    assert content["notes"][0] == "far from trained: no conclusion"
    assert "No statistical test was made" in content["notes"][1]


def test_labels_come_from_the_folders(tmp_path):
    paths = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        paths.append(tmp_path / name / "evaluation.json")
        paths[-1].write_text(json.dumps(A.to_json()), encoding="utf-8")
    assert list(label_models(paths)) == ["ours", "theirs"]
    assert list(label_models(paths, ["x", "y"])) == ["x", "y"]
    with pytest.raises(BadInput, match="2 evaluations and 1 labels"):
        label_models(paths, ["x"])
    with pytest.raises(BadInput, match="different one"):
        label_models([paths[0], paths[0]])


def test_tables():
    comparison = compare({"one": A, "two": B})
    rows = comparison_rows(comparison)
    assert rows[0] == ("fold 0", "A", "1/1 (100 %)", "0.50 ± 0.00", "0.50 ± 0.00")
    assert rows[1] == ("", "B", "1/1 (100 %)", "0.70 ± 0.00", "0.70 ± 0.00")
    assert rows[3] == ("", "B", "1/1 (100 %)", "0.10 ± 0.00", "0.10 ± 0.00")
    assert rows[2] == ("fold 1", "A", "0/1 (0 %)", "0.00 ± 0.00", "-")
    header, paired = paired_table(comparison.paired[0])
    assert header[0] == "paired, B minus A"
    assert ("B better / equal / worse", "2 / 2 / 1") in paired
    assert [signed(v) for v in (0.1234, -0.5, 1e-9, -1e-9, None)] == ["+0.123", "-0.500", "0.000", "0.000", "-"]
