"""Steps and their fingerprints: what a change of the study file makes stale, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.files import write_json
from nnunet_spine.workflow.demands import Machine, demand_of
from nnunet_spine.workflow.step_commands import command_of, variables_of
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_settings import StudySettings
from nnunet_spine.workflow.study_steps import find_step, fingerprint, finished, steps_of

TEXT = """\
source: export
output: out
folds: 2
models:
  one: {epochs: 3}
  two: {epochs: 3, seed: 1}
  nnunet: {trainer: nnUNetTrainerSpineDemoBaseline, plans: nnUNetPlans}
notes: [a]
"""
FACTS = {
    "grid": [16, 320, 192],
    "batch_size": 2,
    "training_bytes": 4 * 2**30,
    "cases": 58,
    "iterations": 21,
    "largest_voxels": 2**24,
}


def study_of(folder: Path, text: str = TEXT) -> StudySettings:
    (folder / "export").mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(text, encoding="utf-8")
    return read_study(folder / "study.yaml")


def complete(study: StudySettings) -> None:
    """Records of all steps, as jobs write them."""
    for step in steps_of(study).values():
        wanted = fingerprint(step, study)
        facts = {"facts": FACTS} if step.kind == "plan" else {}
        write_json(step.record(study), {"step": step.name, "fingerprint": wanted, "result": wanted, **facts})


def stale(study: StudySettings) -> list[str]:
    return [name for name, done in finished(study).items() if not done]


def test_models_share_plans_and_preprocessed_cases(tmp_path: Path) -> None:
    steps = steps_of(study_of(tmp_path))
    assert [name for name in steps if not name.startswith("train")] == [
        "convert",
        "plan/nnUNetSpinePlans",
        "plan/nnUNetPlans",
        "preprocess/nnUNetSpinePlans",
        "preprocess/nnUNetPlans",
        "evaluate/one",
        "evaluate/two",
        "evaluate/nnunet",
        "compare",
        "report",
    ]
    assert sum(name.startswith("train") for name in steps) == 6
    assert steps["train/two/1"].needs == ("preprocess/nnUNetSpinePlans",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("notes: [a]", "notes: [b]", ["compare", "report"]),
        (
            "epochs: 3, seed: 1",
            "epochs: 4, seed: 1",
            ["train/two/0", "train/two/1", "evaluate/two", "compare", "report"],
        ),
        ("notes: [a]", "notes: [a]\ntensorboard: true\ndevice: cpu\nslurm: {partition: x}", []),
        (
            "  nnunet: {",
            "  nnunet: {epochs: 9, ",
            [*(f"train/nnunet/{k}" for k in (0, 1)), "evaluate/nnunet", "compare", "report"],
        ),
    ],
)
def test_a_change_makes_stale_what_depends_on_it(tmp_path: Path, old: str, new: str, expected: list[str]) -> None:
    complete(study_of(tmp_path))
    assert stale(study_of(tmp_path)) == []
    assert stale(study_of(tmp_path, TEXT.replace(old, new))) == expected


def test_other_cases_make_everything_after_them_stale(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    complete(study)
    convert = steps_of(study)["convert"]
    write_json(convert.record(study), {"fingerprint": fingerprint(convert, study), "result": "other cases"})
    assert set(stale(study)) == set(steps_of(study)) - {"convert"}


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    complete(study)
    steps_of(study)["compare"].record(study).write_text('{"fingerprint": "', encoding="utf-8")
    assert stale(study) == ["compare", "report"]


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no step 'train/one/2'"):
        find_step(study_of(tmp_path), "train/one/2")


def test_commands_are_the_packages_own(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    steps = steps_of(study)
    training = command_of(steps["train/two/1"], study, 1)
    assert training is not None
    assert " ".join(training) == (
        "train Dataset058_IntraduralSpineTumor 1 --trainer nnUNetTrainerSpine --plans nnUNetSpinePlans "
        "--epochs 3 --seed 1 --threads 1 --device auto"
    )
    planning = command_of(steps["plan/nnUNetPlans"], study, 2)
    assert planning is not None
    assert " ".join(planning) == "exec nnUNetv2_plan_and_preprocess -d 58 -c 3d_fullres -npfp 2 --no_pp"
    report = command_of(steps["report"], study, 1)
    assert report is not None
    assert report.count("--evaluation") == report.count("--predictions") == 3
    variables = variables_of(steps["train/two/1"], study, 3)
    assert variables["nnUNet_results"] == str(tmp_path / "out" / "models" / "two")
    assert variables["nnUNet_n_proc_DA"] == variables["NNUNET_SPINE_CPUS"] == "3"


def test_memory_comes_from_the_plans_with_its_reason(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    training = steps_of(study)["train/one/0"]
    before = demand_of(training, study)
    assert before.assumed
    assert before.memory_mb == round((2.0 + 1.3 * 8) * 1024 + 0.49)
    assert "assumed before planning: the planner's target of 8 GiB" in before.reason
    complete(study)
    after = demand_of(training, study)
    assert not after.assumed
    assert after.memory_mb == round((2.0 + 1.3 * 4) * 1024 + 0.49)
    assert "4.0 GiB for a step of 2 x 16x320x192" in after.reason
    assert "3 epochs of 21 steps" in after.reason


def test_the_study_file_goes_before_what_is_derived(tmp_path: Path) -> None:
    text = TEXT + "resources:\n  train: {cpus: 5, gpus: 2, memory_gib: 3, hours: 1.5, partition: gpu}\n"
    study = study_of(tmp_path, text)
    demand = demand_of(steps_of(study)["train/one/0"], study)
    assert (demand.cpus, demand.gpus, demand.memory_mb, demand.minutes, demand.partition) == (5, 2, 3072, 90, "gpu")
    assert demand.reason == "memory by the study file; time by the study file"


def test_a_machine_caps_cpus_and_assumptions_but_not_what_is_known(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    steps, machine = steps_of(study), Machine(2, 2048)
    assert demand_of(steps["convert"], study, machine).cpus == 2
    assert demand_of(steps["train/one/0"], study, machine).memory_mb == 2048
    complete(study)
    assert demand_of(steps["train/one/0"], study, machine).memory_mb > 2048
