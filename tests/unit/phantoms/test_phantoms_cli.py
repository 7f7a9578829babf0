"""The sub-command: its output and its exit codes."""

import argparse
import json
from pathlib import Path

import pytest

from nnunet_spine.cli import phantoms
from nnunet_spine.errors import NnunetSpineError


def _run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    phantoms.add_subparser(parser.add_subparsers())
    parsed = parser.parse_args(["phantoms", *arguments])
    try:
        return int(parsed.run(parsed))
    except NnunetSpineError as error:
        return error.exit_code


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "export"
    assert _run("--output", str(output), "--cases", "1", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["cases"] == printed["patients"] == 1
    assert printed["folder"] == str(output)
    assert printed["already_there"] is False
    assert _run("--output", str(output), "--cases", "1", "--json") == 0
    assert json.loads(capsys.readouterr().out) == printed | {"already_there": True}


def test_plain_output_tells_what_happened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "export"
    assert _run("--output", str(output), "--cases", "1") == 0
    assert "1 cases of 1 patients" in capsys.readouterr().out
    assert _run("--output", str(output), "--cases", "1") == 0
    assert "already there" in capsys.readouterr().out


def test_no_patient_data_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--output", str(tmp_path / "export"), "--cases", "1") == 0
    captured = capsys.readouterr()
    assert "Phantom-" not in captured.out + captured.err


@pytest.mark.parametrize("options", [["--cases", "0"], ["--cases", "-1"], ["--seed", "-1"]])
def test_impossible_numbers_end_with_2_and_leave_nothing(tmp_path: Path, options: list[str]) -> None:
    assert _run("--output", str(tmp_path / "export"), *options) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [["--cases", "many"], ["--unknown"], []])
def test_bad_usage_ends_with_2(tmp_path: Path, options: list[str]) -> None:
    given = ["--output", str(tmp_path / "export"), *options] if options else []
    with pytest.raises(SystemExit) as caught:
        _run(*given)
    assert caught.value.code == 2


def test_a_folder_with_other_content_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    assert _run("--output", str(tmp_path), "--cases", "1") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_an_output_below_a_file_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert _run("--output", str(tmp_path / "file" / "export"), "--cases", "1") == 2
    assert _run("--output", str(tmp_path / "file"), "--cases", "1") == 2


def test_an_empty_or_absent_background_folder_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("empty", "absent"):
        code = _run("--output", str(tmp_path / "export"), "--cases", "1", "--background", str(tmp_path / name))
        assert code == 2
    assert not (tmp_path / "export").exists()
