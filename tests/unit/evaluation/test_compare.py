import csv
import json
from dataclasses import replace

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.compare import compare, label_models, write_comparison
from nnunet_spine.evaluation.pairing import summarise_pairs
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult, Evaluation, ReferenceGrid
from nnunet_spine.evaluation.tables import comparison_rows, paired_table, signed
from nnunet_spine.grids import Geometry

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
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "comparison.json",
        "manifest.json",
        "paired.csv",
        "tests.csv",
    ]
    with (tmp_path / "paired.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    expected = ["case", "patient", "fold", "dice_A", "dice_B", "difference_B_minus_A", "detected_A", "detected_B"]
    assert list(rows[0]) == expected
    assert float(rows[2]["difference_B_minus_A"]) == pytest.approx(-0.3)
    content = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert [(m["key"], m["label"]) for m in content["models"]] == [("A", "one"), ("B", "two")]
    assert content["notes"][0] == "far from trained: no conclusion"
    assert content["verdicts"][0].startswith("B against A, Dice: no evidence of a difference")
    assert (content["mode"], content["tests"][0]["patients"]) == ("unknown", 5)
    with (tmp_path / "tests.csv").open(encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["of"], row["verdict"]) == ("models", content["verdicts"][0])
    assert (row["detected_by_both"], row["only_baseline"], row["only_model"], row["neither"]) == ("2", "1", "1", "1")


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


def test_tests_are_by_patient():
    """Patient p has two cases, whose differences +0.3 and -0.1 make +0.1; that of q is -0.2."""

    def of(*dices: float) -> Evaluation:
        cases = zip("abc", "ppq", dices, strict=True)
        return Evaluation(tuple(CaseResult(c, p, 0, d, d > 0, P, P, 1.0, 1.0) for c, p, d in cases), (0,))

    (test,) = compare({"one": of(0.0, 0.5, 0.2), "two": of(0.3, 0.4, 0.0)}).tests
    assert (test.patients, test.equal_patients) == (2, 0)
    assert test.median_difference == pytest.approx(-0.05)
    assert test.rank_biserial == pytest.approx((1 - 2) / 3)
    assert test.wilcoxon_p == 1.0  # half of the four sums 0, 1, 2, 3 are at most 1
    assert (test.detected_by_both, test.only_baseline, test.only_model, test.neither) == (1, 1, 0, 0)


def test_several_models_are_adjusted_and_methods_come_first():
    models = {"one": A, "two": B, "three": A}
    comparison = compare(models, methods=["x", "y", "x"])
    assert [t.comparisons for t in comparison.tests] == [2, 2]
    assert comparison.to_json()["methods"] == {"x": ["A", "C"], "y": ["B"]}
    assert comparison.verdicts[0].startswith("y against x, as methods: no claim (1 and 2 seeds")
    assert [row["of"] for row in comparison.test_rows()] == ["methods", "models", "models"]


def test_models_without_a_judged_case_have_no_tests_but_a_verdict():
    nothing = evaluation(a=None)
    comparison = compare({"one": nothing, "two": nothing}, methods=["x", "y"])
    assert comparison.method_tests == ()
    assert "nothing can be said" in comparison.verdicts[0]


GRID = Geometry((512, 512, 16), (0.5, 0.5, 4.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def on_grid(voxels: int = 1000, spacing_mm: float = 0.5, **changed: object) -> Evaluation:
    """One judged case whose reference has so many voxels, and the volume that its spacing gives."""
    geometry = replace(GRID, spacing_xyz_mm=(spacing_mm, 0.5, 4.0), **changed)
    row = CaseResult("a", "a", 0, 0.5, True, P, P, voxels * geometry.voxel_ml, 1.0)
    return Evaluation((replace(row, reference_grid=ReferenceGrid(voxels, geometry)),), (0,))


def test_two_exports_of_one_reference_with_rounded_headers_are_one_reference():
    # 0.50009 mm instead of 0.5: 511 voxels on, 0.046 mm off, less than a tenth of 0.5 mm; the volume differs by 1.8e-4.
    comparison = compare({"one": on_grid(), "two": on_grid(spacing_mm=0.50009)}, notes=["far from trained"])
    given, rounded = comparison.notes
    assert given == "far from trained"
    assert rounded == (
        "two and one: the headers of these references place voxels up to 0.046 mm apart, which was taken for "
        "rounding: a."
    )
    again = compare(comparison.models, notes=comparison.notes)
    assert again.notes == comparison.notes
    assert compare({"one": on_grid(), "two": on_grid()}).notes == ()


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (
            on_grid(spacing_mm=0.502),
            "a (voxels up to 1.02 mm apart, more than a tenth of",
        ),
        (on_grid(voxels=1001), "a (1000 and 1001 voxels)"),
        (on_grid(size_xyz=(512, 512, 15)), "a (512x512x15 voxels instead of 512x512x16 (x, y, z))"),
        (Evaluation((CaseResult("a", "a", 0, 0.5, True, P, P, 2.0, 1.0),), (0,)), "a (1 and 2 ml)"),
    ],
)
def test_other_references_are_refused_with_what_differs(other, told):
    with pytest.raises(BadInput) as refused:
        compare({"one": on_grid(), "two": other})
    assert f"two cannot be compared with one: these cases had different references: {told}" in str(refused.value)


def test_an_evaluation_of_an_earlier_version_is_compared_by_the_volume():
    earlier = Evaluation(tuple(replace(row, reference_grid=None) for row in on_grid().results), (0,))
    assert compare({"one": on_grid(), "two": earlier}).paired[0].cases == 1
    assert compare({"one": earlier, "two": earlier}).paired[0].cases == 1
