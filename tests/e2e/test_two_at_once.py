"""Two processes that write to one place: the second says who holds it, and what the first writes is whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main

ROUNDS, TOGETHER = 10, 3

PROGRAM = """
import importlib, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from nnunet_spine.cli.main import main

module, name = sys.argv[1].split(":")
place = importlib.import_module(module)
real, answers = getattr(place, name), os.fdopen(os.dup(1), "w", buffering=1)

def held(*given, **options):
    print("held", file=answers)
    sys.stdin.readline()
    return real(*given, **options)

for line in sys.stdin:
    order = json.loads(line)
    setattr(place, name, held if order["hold"] else real)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
        code = main(order["words"])
    print(json.dumps([code, errors.getvalue()]), file=answers)
"""
"""Runs the commands that come in; one that is to be held stops at the named function until a line comes."""

POINTS = {
    "evaluate": "nnunet_spine.evaluation.output:csv_text",
    "compare": "nnunet_spine.evaluation.compare:json_text",
    "report": "nnunet_spine.reporting.report:report_markdown",
    "correct-bias": "nnunet_spine.workflow.bias_images:correct_bias",
}
"""A function that the command calls once it has begun, before anything is in place."""


class Process:
    """A process that runs commands one after the other."""

    def __init__(self, point: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, point], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def write(self, line: str) -> None:
        assert self.process.stdin
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def begin(self, words: list[str]) -> None:
        """Run a command up to its point."""
        self.write(json.dumps({"hold": True, "words": words}))
        assert self.read() == "held"

    def end(self) -> tuple[int, str]:
        """Let it go on; its exit code and standard error."""
        while True:
            self.write("go on")
            if (line := self.read()) != "held":
                code, errors = json.loads(line)
                return code, errors

    def run(self, words: list[str]) -> tuple[int, str]:
        """Run a command to its end."""
        self.write(json.dumps({"hold": False, "words": words}))
        code, errors = json.loads(self.read())
        return code, errors


@contextmanager
def process(point: str) -> Iterator[Process]:
    one = Process(point)
    try:
        yield one
    finally:
        one.process.kill()
        one.process.communicate()


def volume(path: Path, array: np.ndarray) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((2.0, 2.0, 4.0))
    image.SetDirection((0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on two cases, evaluated and compared."""
    root = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    for case in ("a", "b"):
        volume(root / "images" / f"{case}_0000.nii.gz", rng.integers(1, 600, (8, 40, 30)).astype(np.int16))
        for folder, first in (("references", 10), ("one", 12), ("two", 16)):
            mask = np.zeros((8, 40, 30), np.uint8)
            mask[2:5, first : first + 10, 8:20] = 1
            volume(root / folder / f"{case}.nii.gz", mask)
    (root / "splits.json").write_text('[{"train": ["b"], "val": ["a"]}, {"train": ["a"], "val": ["b"]}]')
    for model in ("one", "two"):
        assert main(words_of("evaluate", root, root / f"of_{model}", model)) == 0
    return root


def words_of(command: str, root: Path, output: Path, model: str = "one") -> list[str]:
    words = {
        "evaluate": [
            "--reference",
            root / "references",
            "--predictions",
            root / model,
            "--splits",
            root / "splits.json",
        ],
        "compare": [root / "of_one", root / "of_two"],
        "report": [
            *("--evaluation", root / "of_one", "--predictions", root / "one"),
            *("--references", root / "references", "--images", root / "images"),
        ],
        "correct-bias": [root / "images" / "a_0000.nii.gz", root / "images" / "b_0000.nii.gz", "--field"],
    }
    return [command, *map(str, words[command]), "--output", str(output)]


def content(folder: Path) -> dict[str, bytes]:
    """What files hold, but for the time and the program's name in a manifest."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        found[path.relative_to(folder).as_posix()] = path.read_bytes()
        if path.name == "manifest.json":
            found["manifest.json"] = json.dumps({**json.loads(path.read_text()), "created": "", "command": []}).encode()
    return found


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(".*")]


@pytest.mark.parametrize("command", POINTS)
def test_the_second_says_who_holds_the_place_and_the_first_is_whole(command: str, inputs: Path, tmp_path: Path) -> None:
    assert main(words_of(command, inputs, tmp_path / "alone")) == 0
    expected = content(tmp_path / "alone")
    words = words_of(command, inputs, tmp_path / "out")
    with process(POINTS[command]) as first, process(POINTS[command]) as second:
        for number in range(ROUNDS):
            before = content(tmp_path / "out")
            first.begin(words)
            code, errors = second.run(words)
            held_by = f"is being written by process {first.process.pid} on {socket.gethostname()} (since "
            assert (code, errors.count("\n")) == (2, 1)
            assert errors.startswith(f"error: {tmp_path / 'out'} {held_by}")
            assert {name: held for name, held in content(tmp_path / "out").items() if ".lock" not in name} == before
            assert first.end()[0] == 0
            assert content(tmp_path / "out") == expected, f"round {number}"
            assert hidden(tmp_path) == []
        assert second.run(words)[0] == 0
    assert content(tmp_path / "out") == expected


@pytest.mark.parametrize("command", POINTS)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_one_that_is_stopped_leaves_what_was_there(command: str, end: int, inputs: Path, tmp_path: Path) -> None:
    words = words_of(command, inputs, tmp_path / "out")
    assert main(words) == 0
    expected = content(tmp_path / "out")
    with process(POINTS[command]) as first:
        first.begin(words)
        os.kill(first.process.pid, end)
        if end == signal.SIGKILL:
            first.process.wait()
        else:
            code, errors = json.loads(first.read())
            assert (code, errors.startswith("error: Interrupted.")) == (130, True)
            assert hidden(tmp_path) == []
    assert {name: held for name, held in content(tmp_path / "out").items() if ".lock" not in name} == expected
    assert main(words) == 0
    assert content(tmp_path / "out") == expected
    assert [name for name in hidden(tmp_path) if ".lock" in name] == []


@pytest.mark.parametrize("command", POINTS)
def test_those_that_begin_together_are_whole_each_or_refused(command: str, inputs: Path, tmp_path: Path) -> None:
    assert main(words_of(command, inputs, tmp_path / "alone")) == 0
    words = words_of(command, inputs, tmp_path / "out")
    order = json.dumps({"hold": False, "words": words})
    with process(POINTS[command]) as one, process(POINTS[command]) as other:
        for _ in range(TOGETHER):
            one.write(order)
            other.write(order)
            ends = [json.loads(one.read()), json.loads(other.read())]
            assert 0 in (ends[0][0], ends[1][0])
            assert all(code == 0 or "is being written by process" in errors for code, errors in ends), ends
            assert content(tmp_path / "out") == content(tmp_path / "alone")
            assert hidden(tmp_path) == []
