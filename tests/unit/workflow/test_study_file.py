"""The study file: what it means, and what each mistake is told as."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.workflow.study_examples import EXAMPLES, example
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_places import check_source

SMALL = "source: export\noutput: out\nmodels:\n  documented: {}\n"


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_small_file_has_the_protocols_defaults(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, SMALL))
    (model,) = study.models
    assert (study.folds, study.seed, study.threads, study.dataset) == (4, 0, 1, 58)
    assert (model.trainer, model.plans.name, model.epochs, model.seed) == (
        "nnUNetTrainerSpine",
        "nnUNetSpinePlans",
        None,
        0,
    )
    assert study.source == tmp_path / "export"
    assert study.output == tmp_path / "out"
    assert study.workspace().raw == tmp_path / "out" / "nnUNet_raw"
    assert study.workspace(model).results == tmp_path / "out" / "models" / "documented"
    assert study.dataset_name() == "Dataset058_IntraduralSpineTumor"


def test_models_of_the_same_options_share_plans(tmp_path: Path) -> None:
    text = SMALL + "  a: {bias: none}\n  b: {bias: none, seed: 1}\n  c: {bias: n4, gamma: 1.5}\n"
    study = read_study(write(tmp_path, text))
    assert [plans.name for plans in study.plans] == [
        "nnUNetSpinePlans",
        "nnUNetSpinePlans_bias_none",
        "nnUNetSpinePlans_bias_n4_gamma_1p5",
    ]
    assert [model.seed for model in study.models] == [0, 0, 1, 0]


def test_values_reach_their_places(tmp_path: Path) -> None:
    text = SMALL + (
        "threads: 2\nseed: 7\nresources:\n  train: {cpus: 3, gpus: 1, memory_gib: 12.5, hours: 2, partition: gpu}\n"
        "slurm: {partition: cpu, accounting: off, requeue: false, extra: --nodelist=n1}\nnotes:\n  - 2026-11-26\n"
    )
    study = read_study(write(tmp_path, text.replace("{}", "{epochs: 5}")))
    train = study.resources["train"]
    assert (train.cpus, train.gpus, train.memory_gib, train.hours, train.partition) == (3, 1, 12.5, 2.0, "gpu")
    assert (study.slurm.partition, study.slurm.accounting, study.slurm.requeue) == ("cpu", False, False)
    assert study.slurm.extra == "--nodelist=n1"
    assert study.notes == ("2026-11-26",)
    assert (study.threads, study.models[0].seed, study.models[0].epochs) == (2, 7, 5)


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        (SMALL + "thread: 2\n", 5, "thread: there is no such key. Did you mean threads?"),
        (SMALL + "threads: two\n", 5, "threads: found 'two'; expected a whole number of at least 1 and at most 1024."),
        (SMALL + "threads: true\n", 5, "threads: found True; expected a whole number of at least 1 and at most 1024."),
        (SMALL + "threads: 0\n", 5, "threads: found 0; expected a whole number of at least 1 and at most 1024."),
        (SMALL + "dataset: 1000\n", 5, "at least 1 and at most 999"),
        (SMALL + "device: gpu\n", 5, "device: found 'gpu'; expected one of auto, cpu, cuda, mps. Did you mean cpu?"),
        (SMALL + "tensorboard: yes please\n", 5, "tensorboard: found 'yes please'; expected true or false."),
        (SMALL + "notes: one\n", 5, "notes: found 'one'; expected a list"),
        (SMALL + "name: a b\n", 5, "name: found 'a b'; expected letters, digits, _ and -"),
        (SMALL + "output: other\n", 5, "output: the key stands in line 2 too. Keep one."),
        (SMALL + "resources:\n  trian: {cpus: 2}\n", 6, "resources.trian: there is no such key. Did you mean train?"),
        (
            SMALL + "resources:\n  train: {memory_gib: -1}\n",
            6,
            "resources.train.memory_gib: found -1; expected a number",
        ),
        (SMALL + "slurm: {accounting: maybe}\n", 5, "slurm.accounting: found 'maybe'; expected one of on, off."),
        (SMALL + "  b: {epoch: 3}\n", 5, "models.b.epoch: there is no such key. Did you mean epochs?"),
        (SMALL + "  b: {bias: n5}\n", 5, "models.b.bias: found 'n5'; expected one of van_leemput, n4, none."),
        (SMALL + "  a b: {}\n", 5, "models.a b: a label is at most 60 letters"),
        (SMALL + "  b: {plans: nnUNetPlans, bias: n4}\n", 5, "nnU-Net's own plans, which do not have this"),
        (SMALL + "  b: {plans: nnUNetSpinePlans, gamma: 2}\n", 5, "differ from those of the same name in line 4"),
        (SMALL + "  b: {method: x}\n", 4, "models.documented: method is missing"),
        ("output: out\nmodels:\n  a: {}\n", 1, "neither source nor dataset is given"),
        ("source: x\nmodels:\n  a: {}\n", 1, "the key output is missing"),
        ("source: x\noutput: y\nmodels: {}\n", 3, "models: no model is named"),
        ("source: x\noutput: y\nmodels: [a]\n", 3, "models: found a list; expected models by their labels"),
        ("- a\n", 1, "found a list; expected a study"),
        ("source: [\n", 2, "this is no YAML"),
        ("a: !!python/object:os.system x\n", 1, "a value of a kind that is not used here"),
        ("a: &b\n  c: *b\n", 1, "an alias stands in what it names"),
        ("? [a]\n: b\n", 1, "a key must be a word"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(tmp_path: Path, text: str, line: int, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        read_study(path)
    assert str(caught.value).startswith(f"{path}, line {line}")
    assert said in str(caught.value)


def test_an_empty_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nnunet-spine init"):
        read_study(write(tmp_path, "# nothing\n"))


def test_a_source_that_is_not_there_is_refused(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, SMALL))
    with pytest.raises(BadInput, match="line 1: source: there is no such file or folder. Check the path") as caught:
        check_source(study)
    assert "export" not in str(caught.value)  # the path of a source may name a patient
    (tmp_path / "export").mkdir()
    check_source(study)


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples_are_valid(tmp_path: Path, name: str) -> None:
    study = read_study(write(tmp_path, example(name)))
    assert len(study.models) >= 2
    assert study.folds == 4
    by_name = {
        "documented": {"nnUNetPlans", "nnUNetSpinePlans"},
        "ablation": {
            f"nnUNetSpinePlans{end}" for end in ("", "_bias_none", "_bias_n4", "_gamma_1", "_bias_none_gamma_1")
        },
        "seeds": {"nnUNetSpinePlans"},
    }
    assert {plans.name for plans in study.plans} == by_name[name]
    if name == "seeds":
        assert [(model.seed, model.method) for model in study.models] == [(0, "documented"), (1, "documented")]
