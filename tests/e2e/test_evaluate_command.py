"""The commands evaluate and compare, as a user types them."""

import argparse
import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cli import compare, evaluate
from nnunet_spine.errors import NnunetSpineError

SOURCE_DECK_DICE = Path(__file__).parents[1] / "data" / "source_deck_dice.csv"

# The source deck's table as printed, but for the three figures that no set of cases can give: fold 3's overall SD
# (printed 0.24), the average's overall SD (0.27) and its sensitivity (66.5 %). In their places stand the figures of
# the 58 values by Python's `statistics`.
PRINTED = {
    "fold 0": ("15", "11/15 (73 %)", "0.35 ± 0.27", "0.47 ± 0.21"),
    "fold 1": ("15", "12/15 (80 %)", "0.42 ± 0.30", "0.52 ± 0.24"),
    "fold 2": ("15", "8/15 (53 %)", "0.18 ± 0.22", "0.33 ± 0.20"),
    "fold 3": ("13", "8/13 (62 %)", "0.36 ± 0.33", "0.58 ± 0.23"),
    "average": ("58", "67.1 %", "0.33 ± 0.28", "0.48 ± 0.22"),
}


def run(module, *argv: object) -> int:
    """Exit code of a sub-command, parsed and run as `nnunet-spine` does it."""
    parser = argparse.ArgumentParser()
    module.add_subparser(parser.add_subparsers())
    arguments = parser.parse_args([module.__name__.rpartition(".")[2], *map(str, argv)])
    try:
        return arguments.run(arguments)
    except NnunetSpineError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def run_evaluate(cohort, *more: object, predictions: Path | None = None, output: str = "out") -> int:
    arguments = ["--reference", cohort.reference, "--predictions", predictions or cohort.predictions]
    return run(evaluate, *arguments, "--splits", cohort.splits, "--output", cohort.root / output, *more)


def printed_rows(text: str) -> dict[str, tuple[str, ...]]:
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        if len(cells) == 5:
            rows[cells[0]] = tuple(cells[1:])
    return rows


def test_evaluate_prints_the_source_decks_table(source_deck_cohort, capsys):
    assert run_evaluate(source_deck_cohort) == 0
    text = capsys.readouterr().out
    rows = printed_rows(text)
    assert {name: rows[name] for name in PRINTED} == PRINTED
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "39/58 (67 %)" in text
    assert "ddof 0" in text


def test_evaluate_writes_complete_outputs(source_deck_cohort):
    run_evaluate(source_deck_cohort)
    out = source_deck_cohort.root / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "calibration.csv",
        "evaluation.json",
        "manifest.json",
        "per_case.csv",
        "per_fold.csv",
        "strata.csv",
        "summary.csv",
        "uncertainty.csv",
        "worst_cases.csv",
    ]
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert [f["detected"] for f in content["folds"]] == [11, 12, 8, 8]
    with SOURCE_DECK_DICE.open(encoding="utf-8") as stream:
        expected = {row["case"]: int(row["dice_hundredths"]) / 100 for row in csv.DictReader(stream)}
    assert {row["case"]: row["dice"] for row in content["cases"]} == expected
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert len(manifest["inputs"]) == 1 + 2 * 58
    assert str(source_deck_cohort.root) not in json.dumps([manifest, content])


def test_evaluate_twice_gives_equal_bytes(source_deck_cohort):
    names = ("evaluation.json", "per_case.csv", "per_fold.csv", "summary.csv", "strata.csv", "worst_cases.csv")
    run_evaluate(source_deck_cohort)
    first = [(source_deck_cohort.root / "out" / name).read_bytes() for name in names]
    run_evaluate(source_deck_cohort)
    assert [(source_deck_cohort.root / "out" / name).read_bytes() for name in names] == first


def test_the_decks_table_is_shown_beside_with_its_impossible_figures_flagged(source_deck_cohort, capsys):
    assert run_evaluate(source_deck_cohort, "--compare-with-source-deck") == 0
    text = capsys.readouterr().out
    rows = printed_rows(text.partition("average")[2])
    assert rows["fold 2"] == ("15", "8/15 (53 %)", "0.18 ± 0.22", "0.33 ± 0.20")
    assert rows["deck fold 3"] == ("15", "8/15 (53 %)", "0.18 ± 0.24*", "0.33 ± 0.20")
    assert rows["deck average"] == ("58", "66.5 %*", "0.33 ± 0.27*", "0.48 ± 0.22")
    assert text.count("\n* ") == 3
    assert max(len(line) for line in text.splitlines()) <= 80


def test_evaluate_prints_json_alone(source_deck_cohort, capsys):
    assert run_evaluate(source_deck_cohort, "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["cases"]) == 58


def test_work_that_is_not_complete_is_written_named_and_exits_1(cohort, capsys):
    cohort.add("a", 0, 50)
    cohort.add("b", 0, None)
    assert run_evaluate(cohort) == 1
    assert "warning: b: the prediction is missing." in capsys.readouterr().err
    assert (cohort.root / "out" / "evaluation.json").is_file()


def spoil(cohort) -> dict[str, str]:
    """Cases a to h, each but the last with something wrong, and what must be said of each."""
    for case in "abcdefgh":
        cohort.add(case, 0, 50)
    path = {case: cohort.predictions / f"{case}.nii.gz" for case in "abcdefgh"}
    path["a"].unlink()
    path["b"].rename(cohort.predictions / "b_0000.nii.gz")
    cohort.write_mask(path["c"])
    moved = sitk.ReadImage(str(path["d"]))
    moved.SetSpacing((1.0, 2.0, 6.0))
    sitk.WriteImage(moved, str(path["d"]))
    halves = sitk.GetImageFromArray(np.full(cohort.shape_zyx, 0.5, np.float32))
    halves.SetSpacing(cohort.spacing_xyz_mm)
    sitk.WriteImage(halves, str(path["e"]))
    cohort.write_mask(path["f"], slice(150, 250), value=7)
    path["g"].write_bytes(path["g"].read_bytes()[:-40])
    cohort.predict("z", 50)
    return {
        "a": "a: the prediction is missing.",
        "b": "b: the prediction is missing.",
        "b_0000": "the prediction b_0000.nii.gz was not used: its fold tests no case of this name.",
        "c": "c: the prediction is empty.",
        "d": "d: the prediction is on another grid than the reference: voxels up to 1 mm apart, more than a tenth of "
        "the smallest spacing (1 mm) (prediction: size 20x20x2, spacing 1 2 6 mm",
        "e": "e: the prediction e.nii.gz is unusable: It holds 0.5 and is no label map.",
        "f": "f: the prediction holds labels besides 0 and 1: 7.",
        "g": "g: the prediction g.nii.gz is unusable:",
        "z": "the prediction z.nii.gz was not used",
    }


def test_every_kind_of_bad_prediction_is_named_and_the_rest_is_evaluated(cohort, capsys):
    expected = spoil(cohort)
    assert run_evaluate(cohort) == 1
    warnings = [line.removeprefix("warning: ") for line in capsys.readouterr().err.splitlines() if "warning: " in line]
    for start in expected.values():
        assert sum(line.startswith(start) for line in warnings) == 1, (start, warnings)
    assert len(warnings) == len(expected)
    content = json.loads((cohort.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    dice = {row["case"]: row["dice"] for row in content["cases"]}
    assert dice == {**dict.fromkeys("abcdeg", 0.0), "f": 0.5, "h": 0.5}


@pytest.mark.parametrize(
    ("criterion", "detected"), [("any-overlap", 3), ("iou-0.1", 2), ("iou-0.5", 1), ("centroid-inside", 1)]
)
def test_the_criterion_is_an_option(cohort, capsys, criterion, detected):
    for case, hundredths in (("a", 10), ("b", 30), ("c", 90), ("d", 0)):  # IoU 10/190, 30/170, 90/110, 0
        cohort.add(case, 0, hundredths)
    assert run_evaluate(cohort, "--criterion", criterion) == 0
    assert printed_rows(capsys.readouterr().out)["fold 0"][1].startswith(f"{detected}/4")
    content = json.loads((cohort.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["criterion"] == criterion.replace("-", "_")


def test_empty_predictions_alone_can_be_accepted_but_are_named(cohort, capsys):
    cohort.add("found", 0, 50)
    cohort.add("nothing", 0, None)
    cohort.write_mask(cohort.predictions / "nothing.nii.gz")
    assert run_evaluate(cohort) == 1
    capsys.readouterr()
    assert run_evaluate(cohort, "--accept-empty") == 0
    streams = capsys.readouterr()
    assert "warning: nothing: the prediction is empty." in streams.err
    assert "1/2 (50 %)" in streams.out
    cohort.add("absent", 0, None)
    assert run_evaluate(cohort, "--accept-empty") == 1


def test_an_empty_reference_is_reported_as_specificity(cohort, capsys):
    for case, fold, predicted in (("a", 0, 0), ("b", 0, 50), ("c", 1, None), ("d", 1, 50), ("e", 0, 50)):
        cohort.add(case, fold, predicted or 0)
        if case in "abc":
            cohort.write_mask(cohort.reference / f"{case}.nii.gz")
        if not predicted:
            cohort.write_mask(cohort.predictions / f"{case}.nii.gz")
    assert run_evaluate(cohort) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "an empty reference: 2/3 (67 %); fold 0 1/2 (50 %), fold 1 1/1 (100 %)." in text
    with (cohort.root / "out" / "per_fold.csv").open(encoding="utf-8") as stream:
        rows = {row["fold"]: row for row in csv.DictReader(stream)}
    assert [rows[k]["specificity"] for k in ("0", "1")] == ["0.5", "1.0"]
    assert (rows["0"]["sensitivity"], rows["pooled"]["true_negatives"]) == ("1.0", "2")


def test_a_fold_without_a_true_positive_shows_a_dash(cohort, capsys):
    cohort.add("a", 0, 0)
    cohort.add("b", 1, 50)
    assert run_evaluate(cohort) == 0
    rows = printed_rows(capsys.readouterr().out)
    assert rows["fold 0"] == ("1", "0/1 (0 %)", "0.00 ± 0.00", "-")
    assert rows["average"][-1] == "0.50 ± 0.00"


@pytest.mark.parametrize("option", ["--reference", "--predictions", "--splits", "--cases", "--images", "--bias-fields"])
def test_a_wrong_path_exits_2_and_writes_nothing(cohort, capsys, option):
    cohort.add("a", 0, 50)
    assert run_evaluate(cohort, option, cohort.root / "absent") == 2
    assert "absent" in capsys.readouterr().err
    assert not (cohort.root / "out").exists()


def two_models(cohort) -> list[Path]:
    other = cohort.root / "other"
    for number in range(3):
        cohort.add(f"case_{number}", number % 2, 30 * number)
        cohort.predict(f"case_{number}", 20, other)
    run_evaluate(cohort, output="ours")
    run_evaluate(cohort, predictions=other, output="theirs")
    return [cohort.root / "ours" / "evaluation.json", cohort.root / "theirs"]


def test_compare_prints_both_models_and_a_verdict(cohort, capsys):
    paths = two_models(cohort)
    capsys.readouterr()
    assert run(compare, *paths, "--output", cohort.root / "both", "--note", "far from trained: no conclusion") == 0
    text = capsys.readouterr().out
    assert text.startswith("Note: far from trained: no conclusion\nA = ours\nB = theirs\n")
    assert re.search(r"B better / equal / worse +1 / 0 / 2", text)  # 0.0, 0.3, 0.6 against 0.2
    last = " ".join(text.rpartition("Verdict: B against A, Dice: ")[2].split())
    assert last.startswith(
        "no evidence of a difference between these trained models (n = 3, p = .75, median difference "
    )
    assert max(len(line) for line in text.splitlines()) <= 80
    assert sorted(p.name for p in (cohort.root / "both").iterdir()) == [
        "comparison.json",
        "manifest.json",
        "paired.csv",
        "tests.csv",
    ]


def test_what_a_model_departs_in_goes_from_its_folds_to_the_comparison(cohort, capsys):
    paths = two_models(cohort)
    epochs = {"name": "epochs", "protocol": 400, "run": 2, "origin": "documented"}
    method = {"name": "bias_method", "protocol": "van_leemput", "run": "n4", "origin": "ours"}
    for fold, departures in enumerate([[epochs, method], [epochs]]):
        folder = cohort.root / "departing" / f"fold_{fold}"
        (folder / "validation").mkdir(parents=True)
        (folder / "manifest.json").write_text(json.dumps({"step": "train", "departures": departures}))
        for case in cohort.folds[fold]:
            cohort.predict(case, 20, folder / "validation")
    run_evaluate(cohort, predictions=cohort.root / "departing", output="theirs")
    capsys.readouterr()
    assert run(compare, *paths, "--output", cohort.root / "both") == 0
    note = " ".join(capsys.readouterr().out.split("\nA = ")[0].split())
    assert note == (
        "Note: theirs departs from the protocol in epochs: 2 instead of 400 (documented); "
        "bias_method: n4 instead of van_leemput (ours)"
    )
    content = json.loads((cohort.root / "both" / "comparison.json").read_text(encoding="utf-8"))
    assert f"Note: {content['notes'][0]}" == note


def trained_model(cohort, name: str, epochs: int, seed: int, hundredths: int) -> Path:
    """Evaluation of a model whose folds record a training by this package."""
    model = cohort.root / f"nnUNetTrainerSpine__{name}__3d_fullres"
    for fold, cases in cohort.folds.items():
        folder = model / f"fold_{fold}"
        parameters = {"trainer": "nnUNetTrainerSpine", "plans": "P", "epochs": epochs, "batch_size": 2, "seed": seed}
        manifest = {"step": "train", "departures": [], "parameters": parameters}
        for case in cases:
            cohort.predict(case, hundredths, folder / "validation")
        (folder / "manifest.json").write_text(json.dumps(manifest))
    run_evaluate(cohort, predictions=model, output=name)
    return cohort.root / name


def test_models_of_other_schedules_are_named_mixed_and_refused_where_one_mode_is_asked_for(cohort, capsys):
    for number in range(3):
        cohort.add(f"case_{number}", number % 2, 50)
    full, short = trained_model(cohort, "full", 400, 0, 40), trained_model(cohort, "short", 2, 0, 30)
    again = trained_model(cohort, "again", 400, 1, 45)
    capsys.readouterr()
    output = ["--output", cohort.root / "both"]
    assert run(compare, full, short, *output, "--mode", "full-schedule") == 2
    assert "This is no full-schedule comparison, but mixed" in capsys.readouterr().err
    assert not (cohort.root / "both").exists()
    assert run(compare, full, short, *output) == 0
    printed = capsys.readouterr()
    assert "Mode: mixed." in printed.out
    assert "warning: The models were trained on different schedules" in printed.err
    assert run(compare, full, again, *output, "--mode", "full-schedule") == 0
    assert json.loads((cohort.root / "both" / "manifest.json").read_text())["parameters"]["mode"] == "full-schedule"


def test_methods_are_compared_over_their_seeds(cohort, capsys):
    for number in range(4):
        cohort.add(f"case_{number}", number % 2, 50)
    seeds = [trained_model(cohort, f"x{k}", 400, k, 40 + k) for k in range(3)]
    seeds += [trained_model(cohort, f"y{k}", 400, k, 60 + k) for k in range(3)]
    capsys.readouterr()
    arguments = [*seeds, "--methods", *"xxxyyy", "--output", cohort.root / "both"]
    assert run(compare, *arguments) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    # All four patients differ by +0.20, and 2 / 2^4 is .125, though the seeds differ by 0.01 only.
    verdict = (
        "y against x, as methods: no evidence of a difference (3 and 3 seeds, n = 4, p = .12, mean difference +0.20"
    )
    assert f"Verdict: {verdict}" in " ".join(text.split())
    assert (
        run(compare, seeds[0], seeds[0].parent / "x0", "--labels", "a", "b", "--methods", "x", "x", *arguments[-2:])
        == 2
    )


def test_the_summary_follows_the_source_decks_table(source_deck_cohort, capsys):
    run_evaluate(source_deck_cohort)
    text = capsys.readouterr().out
    assert text.index("Average:") < text.index("sens. % (95 %)")
    assert re.search(r"pooled +58 +0\.32 \(0\.2\d-0\.[34]\d\) +0\.30 .* 67 \(54-79\)", text)
    assert "average sensitivity of 66.5 % is not reproduced" in " ".join(text.split())
    with (source_deck_cohort.root / "out" / "summary.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["group"] for row in rows] == ["fold 0", "fold 1", "fold 2", "fold 3", "pooled"]
    content = json.loads((source_deck_cohort.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["summary"]["pooled"]["dice_mean_low"] == float(rows[-1]["dice_mean_low"])


def test_evaluate_does_not_import_scipys_statistics():
    code = (
        "import sys, nnunet_spine.evaluation.evaluate, nnunet_spine.evaluation.output, "
        "nnunet_spine.evaluation.source_deck; print('scipy.stats' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_compare_prints_json_alone(cohort, capsys):
    paths = two_models(cohort)
    capsys.readouterr()
    run(compare, *paths, "--output", cohort.root / "both", "--json", "--labels", "x", "y")
    content = json.loads(capsys.readouterr().out)
    assert [model["label"] for model in content["models"]] == ["x", "y"]
    assert content["paired"][0]["worse"] == 2


def test_compare_refuses_other_cases(cohort, capsys):
    paths = two_models(cohort)
    cohort.add("case_9", 0, 50)
    run_evaluate(cohort, output="later")
    assert run(compare, paths[0], cohort.root / "later", "--output", cohort.root / "both") == 2
    assert "case_9" in capsys.readouterr().err
    assert not (cohort.root / "both").exists()


def add_ten_with_probabilities(cohort) -> None:
    """Ten cases in two folds, two of them missed, each with an image and probabilities of 0.8 and 0.1."""
    for number in range(10):
        case = f"case_{number}"
        cohort.add(case, number % 2, 10 * number if number > 1 else 0)
        cohort.add_image(case)
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(cohort.predictions / f"{case}.nii.gz")))
        tumor = np.where(mask, 0.8, 0.1)
        np.savez_compressed(cohort.predictions / f"{case}.npz", probabilities=np.stack([1 - tumor, tumor]))
    lines = [f"case_{n},P{n},intramedullary,{'ependymoma' if n % 2 else 'rare'},GE" for n in range(10)]
    text = "\n".join(["case,patient,compartment,tumor_type,maker", *lines])
    (cohort.root / "cases.csv").write_text(text, encoding="utf-8")


def test_strata_worst_cases_and_calibration_are_printed_and_written(cohort, capsys):
    add_ten_with_probabilities(cohort)
    options = ("--cases", cohort.root / "cases.csv", "--images", cohort.images)
    assert run_evaluate(cohort, *options) == 0
    text = capsys.readouterr().out
    assert max(len(line) for line in text.splitlines()) <= 80
    # Odd cases, in fold 1, are ependymomas: 0, 0.3, 0.5, 0.7, 0.9; neither fold trained on the type that it tests.
    assert re.search(r"\n ependymoma +5 +5 +4/5 \(80 %\) +0.48 ± 0.31 +0.50\n", text)
    assert re.search(r"tumor type in training *\n no +10 +10", text)
    assert "- case_0 (Dice 0.00, not detected): " in text
    assert re.search(r"low contrast +3/3 \(100 %\) +7/7 \(100 %\) +n < 5: not judged", text)
    assert "Voxels of 10 of 10 cases within 10 mm" in text
    out = cohort.root / "out"
    content = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert {case["case"] for case in content["worst_cases"]["cases"]} == {"case_0", "case_1", "case_2"}
    bins = content["calibration"]["voxels"]["bins"]
    # 1000 predicted voxels, of which 0 + 0 + 20 + 30 + ... + 90 are tumor.
    assert (bins[8]["n"], bins[8]["observed_frequency"]) == (1000, pytest.approx(440 / 1000))
    with (out / "uncertainty.csv").open(encoding="utf-8") as stream:
        assert [float(row["detection_confidence"]) for row in csv.DictReader(stream)] == pytest.approx([0.8] * 10)
    inputs = json.loads((out / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert len(inputs) == 2 + 4 * 10
    assert {"image/case_0", "probabilities/case_0"} <= set(inputs)


def test_json_has_the_keys_that_are_written(cohort, capsys):
    add_ten_with_probabilities(cohort)
    assert run_evaluate(cohort, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((cohort.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["strata"]["not_computed"][-1] == {"factor": "field strength", "needs": "--cases"}


def test_without_images_or_probabilities_what_is_missing_is_said_and_no_old_figure_stays(cohort, capsys):
    add_ten_with_probabilities(cohort)
    run_evaluate(cohort)
    for path in cohort.predictions.glob("*.npz"):
        path.unlink()
    capsys.readouterr()
    assert run_evaluate(cohort) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Not computed without --images: lesion's look." in text
    assert "Brier" not in text
    out = cohort.root / "out"
    assert json.loads((out / "evaluation.json").read_text(encoding="utf-8"))["calibration"] is None
    assert len((out / "calibration.csv").read_text(encoding="utf-8").splitlines()) == 1


def test_an_image_that_cannot_be_used_is_named_and_exits_1(cohort, capsys):
    add_ten_with_probabilities(cohort)
    (cohort.images / "case_3_0000.nii.gz").unlink()
    assert run_evaluate(cohort, "--images", cohort.images) == 1
    assert "warning: case_3: the image is missing." in capsys.readouterr().err
    content = json.loads((cohort.root / "out" / "evaluation.json").read_text(encoding="utf-8"))
    assert content["problems"] == ["case_3: the image is missing."]


def test_evaluate_imports_neither_torch_nor_nnunet():
    code = (
        "import sys, nnunet_spine.cli.evaluate, nnunet_spine.evaluation.evaluate, nnunet_spine.evaluation.output, "
        "nnunet_spine.evaluation.source_deck, nnunet_spine.evaluation.insight, nnunet_spine.evaluation.observation; "
        "print(sorted({'torch', 'nnunetv2', 'monai'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_itself(cohort):
    """As a process of its own, so that the exit code and the streams are what a shell sees."""
    cohort.add("a", 0, 50)
    command = [sys.executable, "-m", "nnunet_spine", "evaluate", "--reference", cohort.reference]
    command += ["--predictions", cohort.predictions, "--splits", cohort.splits, "--output", cohort.root / "out"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1/1 (100 %)" in done.stdout
    assert "note: no table of cases" in done.stderr
