import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.schedule import FoldTraining, Mode, recorded_training, require, schedules_of, training_of

OURS = FoldTraining(0, "nnUNetTrainerSpine", "nnUNetSpinePlans", 400, 9, 2, 0, "cuda", 4000.0, own=True)
NNUNET = FoldTraining(0, "nnUNetTrainer", "nnUNetPlans", 1000, 250, 2, None, "cuda:0", 90000.0)


def mode(*trainings: FoldTraining) -> Mode:
    return schedules_of({str(k): (t,) for k, t in enumerate(trainings)}, [0]).mode


def test_each_to_the_end_of_its_own_schedule_is_full():
    assert mode(OURS, NNUNET) is Mode.FULL_SCHEDULE
    assert mode(OURS, replace(NNUNET, epochs=250)) is Mode.MIXED
    assert mode(OURS, replace(NNUNET, iterations_per_epoch=6)) is Mode.MIXED
    assert mode(replace(OURS, epochs=399), NNUNET) is Mode.MIXED


def test_one_schedule_or_near_times_on_one_device_are_of_equal_cost():
    short = replace(OURS, epochs=30, seconds=100.0)
    assert mode(short, replace(short, seed=1, seconds=300.0)) is Mode.EQUAL_COST
    assert mode(short, replace(short, epochs=40, seconds=111.0)) is Mode.EQUAL_COST  # 11 of 111 is 9.9 %
    assert mode(short, replace(short, epochs=40, seconds=112.0)) is Mode.MIXED
    assert mode(short, replace(short, epochs=40, seconds=100.0, device="cpu")) is Mode.MIXED
    assert mode(short, replace(short, epochs=40, seconds=None)) is Mode.MIXED


def test_times_are_those_of_all_folds():
    a = (replace(OURS, epochs=30, seconds=50.0), replace(OURS, epochs=30, fold=1, seconds=50.0))
    b = (replace(OURS, epochs=40, seconds=20.0), replace(OURS, epochs=40, fold=1, seconds=80.0))
    assert schedules_of({"A": a, "B": b}, [0, 1]).mode is Mode.EQUAL_COST


def test_a_fold_without_a_record_makes_it_unknown():
    found = schedules_of({"A": (OURS,), "B": ()}, [0])
    assert (found.mode, "The evaluations of B" in found.explanation) == (Mode.UNKNOWN, True)
    assert schedules_of({"A": (OURS,), "B": (OURS,)}, [0, 1]).mode is Mode.UNKNOWN
    assert found.caveat == "training schedules not recorded"


def test_another_mode_than_asked_for_is_refused():
    found = schedules_of({"A": (OURS,), "B": (replace(OURS, epochs=2, seconds=20.0),)}, [0])
    require(found, None)
    require(found, Mode.MIXED)
    with pytest.raises(BadInput, match=r"no equal-cost comparison, but mixed: .*A: 400 epochs of 9 .*B: 2 epochs of 9"):
        require(found, Mode.EQUAL_COST)


def fold_folder(model: Path, number: int, debug: dict[str, str], manifest: object = None, log: str = "") -> None:
    folder = model / f"fold_{number}"
    folder.mkdir(parents=True)
    (folder / "debug.json").write_text(json.dumps(debug))
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    if log:
        (folder / "training_log_2026.txt").write_text(log)


def test_what_nnunet_and_this_package_record_is_read(tmp_path):
    debug = {"num_epochs": "1000", "num_iterations_per_epoch": "250", "batch_size": "2", "device": "cuda:0"}
    log = "1: Epoch 0 \n2: Epoch time: 4.50 s\n3: Epoch 1 \n4: Epoch time: 3.25 s\n5: predicting spine_1.0 s or so\n"
    plain = tmp_path / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    fold_folder(plain, 0, debug, log=log)
    (plain / "fold_all").mkdir()
    (found,) = recorded_training(plain)
    expected = FoldTraining(0, "nnUNetTrainer", "nnUNetPlans", 1000, 250, 2, None, "cuda:0", 7.75)
    assert FoldTraining(**found) == expected
    parameters = {
        "trainer": "nnUNetTrainerSpine",
        "plans": "P",
        "epochs": 400,
        "batch_size": 2,
        "seed": 3,
        "device": "cpu",
    }
    ours = tmp_path / "ours"
    log = "1: loss 0.3492, test loss 0.4635, pseudo Dice 0.2185, 0.85 s \n"
    fold_folder(ours, 1, {"num_iterations_per_epoch": "9"}, {"step": "train", "parameters": parameters}, log)
    (found,) = recorded_training(ours)
    expected = FoldTraining(1, "nnUNetTrainerSpine", "P", 400, 9, 2, 3, "cpu", 0.85, own=True)
    assert FoldTraining(**found) == expected
    assert recorded_training(tmp_path) == []


def test_the_record_goes_through_the_manifest_of_the_evaluation(tmp_path):
    assert training_of(tmp_path) == ()
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"parameters": {"training": [asdict(OURS)]}}))
    assert training_of(tmp_path) == (OURS,)
    path.write_text(json.dumps({"parameters": {}}))
    assert training_of(tmp_path) == ()
    path.write_text(json.dumps({"parameters": {"training": [{"fold": 0}]}}))
    with pytest.raises(BadInput, match="Evaluate again"):
        training_of(tmp_path)
