"""What an impatient user gets wrong: one paragraph, exit code 2, nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).with_name("nnunet-spine"))


def spine(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    environment["NNUNET_SPINE_HOME"] = str(root)
    return subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    message = done.stderr.strip()
    assert message.startswith("error: ")
    assert "\n\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "77"], ["77", "nnunet-spine convert"]),
        (["plan", "spine"], ["'spine'", "1 to 999"]),
        (["plan", "0"], ["1 to 999"]),
        (["preprocess", "77"], ["77"]),
        (["train", "77", "0"], ["77"]),
        (["predict", "77", "--input", "nowhere", "--output", "out"], ["nowhere"]),
        (
            ["evaluate", "--reference", "no", "--predictions", "no", "--splits", "no.json", "--output", "out"],
            ["no.json"],
        ),
        (["compare", "a/evaluation.json", "b/evaluation.json", "--output", "out"], ["a/evaluation.json"]),
        (
            [
                "report",
                "--evaluation",
                "a",
                "--predictions",
                "b",
                "--references",
                "c",
                "--images",
                "d",
                "--output",
                "out",
            ],
            ["folder d with images"],
        ),
        (["convert", "nowhere"], ["source does not exist"]),
        (["phantoms", "--output", "out", "--cases", "0"], ["0"]),
        (["demo", "--output", "out", "--cases", "0"], ["0"]),
        (["demo", "--output", "out", "--epochs", "0"], ["0"]),
        (["exec", "nnUNetv2_nothing"], ["nnUNetv2_nothing", "nnUNetv2_train"]),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else None,
)
def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch, arguments: list[str], words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(spine(*arguments, root=tmp_path / "home"), *words)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_an_empty_folder_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(spine("convert", str(tmp_path / "empty"), root=tmp_path / "home"))
    assert not (tmp_path / "home").exists() or not any((tmp_path / "home").rglob("*.*"))


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").is_dir(), reason="no place here that root cannot write")
@pytest.mark.parametrize("command", ["phantoms", "demo"])
def test_an_output_that_cannot_be_written(tmp_path: Path, command: str) -> None:
    # /proc refuses new folders even to root.
    target = "/proc/nnunet_spine" if Path("/proc").is_dir() else str(tmp_path / "file" / "out")
    assert_refused(spine(command, "--output", target, "--cases", "4", root=tmp_path / "home"), "/proc/nnunet_spine")


def test_an_output_where_a_file_stands(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("in the way", encoding="utf-8")
    assert_refused(spine("demo", "--output", str(tmp_path / "out"), "--cases", "4", root=tmp_path / "home"))
    assert (tmp_path / "out").read_text(encoding="utf-8") == "in the way"


def test_unknown_options_and_commands(tmp_path: Path) -> None:
    for arguments in (["segment"], ["train", "58"], ["plan", "58", "--bias", "magic"], ["train", "58", "first"]):
        done = spine(*arguments, root=tmp_path)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
