"""Study files that come from somebody else: each is refused with a sentence, within bounds, and nothing is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput
from nnunet_spine.workflow.step_commands import command_of
from nnunet_spine.workflow.study_file import read_study
from nnunet_spine.workflow.study_steps import steps_of

SMALL = "source: export\noutput: out\nmodels:\n  documented: {}\n"
LIMIT_SECONDS = 10.0


def write(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str) -> str:
    path = write(folder, text)
    with pytest.raises(BadInput) as caught:
        read_study(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def laughs(levels: int) -> str:
    """Each list holds ten times the one before: a billion entries from a few lines."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (laughs(9), "has more than 20000 entries, aliases counted"),
        (SMALL.replace("documented: {}", "\n  ".join(f"m{k}: {{}}" for k in range(3000))), "found 3000 models"),
        ("[" * 5000, "nested in more than 20 levels"),
        ("a: " + "{b: " * 60 + "c" + "}" * 60, "nested in more than 20 levels"),
        ("# " + "x" * 2**20 + "\n" + SMALL, "has more than 1 MiB"),
        (SMALL + f"name: {'x' * 5000}\n", "found a text of 5000 characters; expected at most 4000"),
        (SMALL + "notes: [" + "a, " * 101 + "]\n", "found 101 notes; expected at most 100"),
        (SMALL + f"seed: {'9' * 5000}\n", "a number of 5000 characters"),
        (SMALL + f"seed: 0x{'f' * 90}\n", "expected a whole number of at least 0 and at most 4294967295"),
        (SMALL + "seed: " + "1:" * 60 + "1\n", "a number of 121 characters"),
    ],
)
def test_size_depth_and_aliases_have_bounds(tmp_path: Path, text: str, said: str) -> None:
    started = time.monotonic()
    assert said in refusal(tmp_path, text)
    assert time.monotonic() - started < LIMIT_SECONDS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("folds: 1000000000", "folds: found 1000000000; expected a whole number of at least 2 and at most 100."),
        ("threads: 1e9", "threads: found '1e9'; expected a whole number of at least 1 and at most 1024."),
        ("threads: 100000", "expected a whole number of at least 1 and at most 1024."),
        ("seed: -1", "seed: found -1; expected a whole number of at least 0"),
        ("resources: {train: {cpus: 99999999}}", "resources.train.cpus: found 99999999"),
        ("resources: {train: {memory_gib: .inf}}", "found inf; expected a number above 0 and at most 1e+06."),
        ("resources: {train: {memory_gib: .nan}}", "found nan; expected a number above 0"),
        ("resources: {train: {hours: 1.0e+300}}", "expected a number above 0 and at most 10000."),
        ("slurm: {poll_seconds: 10000000000000}", "slurm.poll_seconds: found 10000000000000"),
        # What YAML reads in its own way is not taken for what was meant.
        ("threads: 010", "threads: 010 means 8 in YAML. Write a plain number such as 8."),
        ("resources: {train: {hours: 1:30}}", "resources.train.hours: 1:30 means 90 in YAML."),
        ("seed: 0x10", "seed: 0x10 means 16 in YAML."),
        ("seed: !!int ''", "a value of a kind that is not used here"),
        ("tensorboard: !!bool maybe", "a value of a kind that is not used here"),
        ("name: !!binary aGk=", "expected text"),
    ],
)
def test_numbers_have_bounds_and_one_meaning(tmp_path: Path, line: str, said: str) -> None:
    message = refusal(tmp_path, f"{SMALL}{line}\n")
    assert "line 5: " in message
    assert said in message


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("..", "a label is at most 60 letters"),
        (".hidden", "a label is at most 60 letters"),
        ("a/b", "a label is at most 60 letters"),
        ("'a\\b'", "a label is at most 60 letters"),
        ("-rf", "a label is at most 60 letters"),
        ('"a\\0b"', "a label is at most 60 letters"),
        ('"a\\nb"', r"models.a\nb: a label is at most 60 letters"),
        ("x" * 61, "a label is at most 60 letters"),
        ("con", "Windows and its shares take no folder of this name"),
        ("LPT1.txt", "Windows and its shares take no folder of this name"),
        ("dot.", "Windows and its shares take no folder of this name"),
        ("Documented", "the label Documented and documented of line 4 differ only in capital letters"),
    ],
)
def test_a_label_is_a_folder_of_its_own(tmp_path: Path, label: str, said: str) -> None:
    assert said in refusal(tmp_path, f"{SMALL}  {label}: {{}}\n")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("{trainer: ../../elsewhere}", "trainer: found '../../elsewhere'; expected a name of letters, digits and _"),
        ("{trainer: Träner}", "expected a name of letters, digits and _"),
        (f"{{plans: {'p' * 101}}}", "expected a name of letters, digits and _, at most 100"),
        ("{plans: NNUNETSPINEPLANS}", "differ only in capital letters"),
        ("{method: --output}", "method: found '--output'; expected a name of at most 100 characters"),
        ("{gamma: 1.0e+9}", "gamma: found 1000000000.0; expected a number above 0 and at most 1000."),
        ("{epochs: 1000000000000}", "epochs: found 1000000000000; expected a whole number"),
    ],
)
def test_what_becomes_a_name_or_an_option_is_plain(tmp_path: Path, model: str, said: str) -> None:
    assert said in refusal(tmp_path, f"{SMALL}  other: {model}\n")


@pytest.mark.parametrize(
    ("slurm", "said"),
    [
        ("partition: 'cpu; touch pwned'", "slurm.partition: found 'cpu; touch pwned'; expected letters, digits and _"),
        ("account: '$(touch pwned)'", "slurm.account: found '$(touch pwned)'"),
        ("qos: '`touch pwned`'", "slurm.qos: found '`touch pwned`'"),
        ("partition: --wrap=x", "slurm.partition: found '--wrap=x'"),
        ('constraint: "avx\' --uid=0"', "slurm.constraint: found"),
        ("constraint: 'a\"b'", "slurm.constraint: found"),
        ("extra: '; touch pwned'", "found ';'; expected options of sbatch such as --nodelist=node[1-4] --exclusive"),
        ("extra: --nodelist=$(hostname)", "found '--nodelist=$(hostname)'"),
        ("extra: --nodelist node1", "found 'node1'; expected options of sbatch"),
        ("extra: -p gpu", "found '-p'; expected options of sbatch"),
        ("extra: --wrap=id", "--wrap cannot be given here"),
        ("extra: --output=/etc/cron.d/x", "--output cannot be given here"),
        ("extra: --chdir=/", "--chdir cannot be given here"),
        ("extra: --gres=gpu:a100:1", "--gres cannot be given here. Keys of the study file say what a step needs"),
        ("extra: --bcast=/bin/sh", "--bcast cannot be given here"),
    ],
)
def test_nothing_for_slurm_means_anything_to_a_shell(tmp_path: Path, slurm: str, said: str) -> None:
    assert said in refusal(tmp_path, f"{SMALL}slurm:\n  {slurm}\n")


def test_what_sbatch_needs_is_taken(tmp_path: Path) -> None:
    text = (
        "slurm: {partition: 'cpu,cpu-long', account: 012345, qos: normal, constraint: '[rack1|rack2]&avx512*2', "
        "extra: '--nodelist=node[1-4] --exclusive --mail-user=a.b@c.de --begin=2026-01-01T10:00:00'}\n"
    )
    slurm = read_study(write(tmp_path, SMALL + text)).slurm
    # A number is the text that it is written as: 012345 is an account, and 5349 to YAML.
    assert (slurm.partition, slurm.account, slurm.qos) == ("cpu,cpu-long", "012345", "normal")
    assert slurm.constraint == "[rack1|rack2]&avx512*2"
    assert slurm.extra == "--nodelist=node[1-4] --exclusive --mail-user=a.b@c.de --begin=2026-01-01T10:00:00"


@pytest.mark.parametrize(
    ("written", "name"),
    [("2026", "2026"), ("no", "no"), ("1e3", "1e3"), ("007", "007"), ("2026-11-28", "2026-11-28"), ("' a '", " a ")],
)
def test_a_folder_may_be_called_what_yaml_takes_for_a_number(tmp_path: Path, written: str, name: str) -> None:
    study = read_study(write(tmp_path, SMALL.replace("output: out", f"output: {written}")))
    assert study.output == tmp_path / name


@pytest.mark.parametrize("key", ["source", "output", "root"])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ('"a\\0b"', "found the control character U+0000; expected a path"),
        ('"a\\nb"', "found the control character U+000A; expected a path"),
        ('"a\\udce9b"', "found the control character U+DCE9; expected a path"),
        ("~nobody-of-this-name/x", "the path begins with the ~ of no user"),
        ("x" * 300, "no file can have this path: File name too long"),
        ("circle/x", "the path leads through links that go round in a circle"),
        ("[a, b]", "found a list; expected a path"),
        ("'  '", "expected a path"),
    ],
)
def test_a_path_that_cannot_be_is_refused_without_being_shown(tmp_path: Path, key: str, path: str, said: str) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    lines = {"source": "export", "output": "out", key: path}
    text = "".join(f"{name}: {value}\n" for name, value in lines.items())
    message = refusal(tmp_path, f"{text}models:\n  documented: {{}}\n")
    assert f"{key}: " in message
    assert said in message


def test_an_output_beyond_what_the_system_takes_is_refused(tmp_path: Path) -> None:
    deep = "/".join(["x" * 200] * 19)
    assert "the path has more than 3500 bytes" in refusal(tmp_path, SMALL.replace("output: out", f"output: {deep}"))


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/R\xfccken"))
    folder.mkdir()
    with pytest.raises(BadInput, match="output: a folder of the path has a name that is not UTF-8"):
        read_study(write(folder, SMALL))


def test_notes_and_titles_begin_no_option(tmp_path: Path) -> None:
    text = SMALL + "  other: {seed: 1}\nnotes:\n  - --output=/elsewhere\n  - '-x'\n"
    study = read_study(write(tmp_path, text))
    for step in ("compare", "report"):
        command = command_of(steps_of(study)[step], study, 1)
        assert command is not None
        assert [word for word in command if "elsewhere" in word] == ["--note=--output=/elsewhere"]
        assert "--note=-x" in command


def test_numbers_reach_the_command_as_they_are_written(tmp_path: Path) -> None:
    study = read_study(write(tmp_path, SMALL.replace("{}", "{gamma: 1.23456789, memory_gib: 2}")))
    (plan,) = (step for step in steps_of(study).values() if step.kind == "plan")
    assert plan.name == "plan/nnUNetSpinePlans_gamma_1p23456789_memory_2"
    command = command_of(plan, study, 1)
    assert command is not None
    assert command[-4:] == ["--gamma", "1.23456789", "--memory-gib", "2"]
