from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from nnunet_spine import __version__
from nnunet_spine.cli import console, main
from nnunet_spine.errors import BadInput, WorkFailed


def test_a_table_is_aligned_text() -> None:
    assert console.format_table(("fold", "Dice"), [("fold 0", "0.5"), ("a", "0.25")]) == (
        "fold    Dice\n------------\nfold 0   0.5\na       0.25"
    )


def test_plain_progress_tells_now_and_then_and_at_the_end(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 12.0, 13.0, 14.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress_bar("work") as progress:
        progress(1, 4)
        progress(2, 4, "case 2")
        progress(3, 4)
        progress(4, 4)
    assert capsys.readouterr().out.splitlines() == ["work: 2/4, about 12 s left (case 2)", "work: 4/4"]


def test_progress_is_seen_although_printing_is_turned_away(capsys) -> None:
    with console.progress_bar("work") as progress, redirect_stdout(StringIO()):
        progress(1, 1)
        print("nnU-Net's noise")
    assert capsys.readouterr().out == "work: 1/1\n"


def test_invisible_progress_prints_nothing(capsys) -> None:
    with console.progress_bar("work", visible=False) as progress:
        progress(1, 1)
    assert capsys.readouterr().out == ""


def test_a_paragraph_is_wrapped_at_80(capsys) -> None:
    console.print_paragraph("word " * 40)
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("failure", "code", "words"),
    [
        (BadInput("the input"), 2, "error: the input"),
        (WorkFailed("the work"), 1, "error: the work"),
        (KeyboardInterrupt(), 130, "Run the same command again"),
    ],
)
def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys, failure: BaseException, code: int, words: str) -> None:
    def fail(_arguments: object) -> int:
        raise failure

    monkeypatch.setattr("nnunet_spine.cli.info.run", fail)
    assert main.main(["info"]) == code
    assert words in capsys.readouterr().err


def test_bad_usage_is_2_and_version_is_printed(capsys) -> None:
    for arguments, code in ((["segment"], 2), ([], 2), (["--version"], 0)):
        with pytest.raises(SystemExit) as end:
            main.main(arguments)
        assert end.value.code == code
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("name", ["plain", "with space", 'it\'s "quoted" $HOME'])
def test_env_survives_a_shell(tmp_path: Path, capsys, name: str) -> None:
    root = tmp_path / name
    assert main.main(["env", "--root", str(root)]) == 0
    exports = capsys.readouterr().out
    script = f"{exports}\nprintf '%s' \"$nnUNet_results\""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout == str(root / "nnUNet_results")


def test_info_shows_the_protocol_with_its_origins(capsys, tmp_path: Path) -> None:
    assert main.main(["info", "--root", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  d epochs = 400" in lines
    assert "  o gamma = 0.7" in lines
    assert "  i dice_sd_ddof = 0" in lines


def test_every_command_has_help(capsys) -> None:
    for name in main.COMMANDS:
        with pytest.raises(SystemExit) as end:
            main.main([name, "--help"])
        assert end.value.code == 0
        assert f"nnunet-spine {name}" in capsys.readouterr().out


def test_env_as_json_names_the_same_variables(tmp_path: Path, capsys) -> None:
    assert main.main(["env", "--root", str(tmp_path), "--json"]) == 0
    variables = json.loads(capsys.readouterr().out)
    assert main.main(["env", "--root", str(tmp_path)]) == 0
    exports = capsys.readouterr().out.splitlines()
    assert [line.removeprefix("export ").split("=")[0] for line in exports] == list(variables)
    assert variables["nnUNet_raw"] == str(tmp_path / "nnUNet_raw")


def test_info_as_json_is_json(tmp_path: Path, capsys) -> None:
    assert main.main(["info", "--root", str(tmp_path), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["protocol"]["fold_sizes"] == {
        "value": [15, 15, 15, 13],
        "origin": "documented",
        "source": "Source deck, results: cases per fold, of 58",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "58", "--gamma", "nan"], "gamma is nan"),
        (["plan", "58", "--gamma", "-1"], "gamma is -1.0"),
        (["plan", "58", "--memory-gib", "nan"], "nan GiB"),
        (["plan", "58", "--plans-name", "nnUNetPlans"], "cannot be named"),
        (["train", "58", "0", "--epochs", "0"], "--epochs is 0"),
        (["preprocess", "58"], "nnunet-spine plan 58"),
    ],
)
def test_values_that_make_no_sense_are_refused_before_any_work(tmp_path: Path, capsys, arguments, words: str) -> None:
    (tmp_path / "nnUNet_raw" / "Dataset058_Spine").mkdir(parents=True)
    assert main.main([*arguments, "--root", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_stops_reading_is_no_noise(tmp_path: Path, unbuffered: str) -> None:
    program = Path(sys.executable).with_name("nnunet-spine")
    script = f'"{program}" env --root "{tmp_path}" | true; echo "${{PIPESTATUS[0]}}"'
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.stdout, done.stderr) == ("1\n", "")


def test_a_bar_on_a_terminal_is_drawn_although_printing_is_turned_away(monkeypatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with console.progress_bar("work") as progress, redirect_stdout(StringIO()):
        progress(1, 2, "case 1")
        progress(2, 2, "case 2")
        print("nnU-Net's noise")
    assert "work case 2" in terminal.getvalue()
    assert "2/2" in terminal.getvalue()
    assert "noise" not in terminal.getvalue()


def test_an_error_is_wrapped_on_a_terminal_and_one_line_elsewhere(monkeypatch, capsys) -> None:
    console.report_error("word " * 40)
    assert len(capsys.readouterr().err.splitlines()) == 1
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    console.report_error("word " * 40)
    assert max(map(len, capsys.readouterr().err.splitlines())) <= 80


def test_what_libraries_write_stays_off_standard_error_and_our_words_do_not(tmp_path: Path) -> None:
    code = (
        "import logging, os, sys, threading\n"
        "from nnunet_spine.cli.console import StandardErrorHandler, only_our_words\n"
        "logging.basicConfig(handlers=[StandardErrorHandler()])\n"
        "with only_our_words():\n"
        "    threading.Thread(target=os.write, args=(2, b'library in a thread\\n')).start()\n"
        "    os.system('echo child >&2')\n"
        "    print('ours', file=sys.stderr)\n"
        "    logging.warning('logged')\n"
        "print('after', file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["ours", "WARNING:root:logged", "after"]


@pytest.mark.parametrize("option", [["--root", ""], ["--root", " "], ["--root", "x" * 300], ["--root", "a\0b"]])
def test_what_is_no_path_is_refused_without_repeating_it(option: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["env", *option])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert "argument --root" in error
    assert "xxx" not in error


@pytest.mark.parametrize("debug", ["", "1"])
def test_a_defect_is_told_in_a_sentence(monkeypatch, capsys, debug: str) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("of patient Doe")

    monkeypatch.setenv(main.DEBUG_VARIABLE, debug)
    monkeypatch.setattr("nnunet_spine.cli.info.workspace_of", fail)
    assert main.main(["info"]) == 1
    error = capsys.readouterr().err
    assert "error: This is a defect of nnunet-spine (info.py, line" in error
    assert ("Traceback" in error) is bool(debug)
    assert ("Doe" in error) is bool(debug)


def process(shell: str) -> subprocess.CompletedProcess[str]:
    """A line of the shell, in which `spine` is the command."""
    line = shell.replace("spine", f"'{sys.executable}' -m nnunet_spine")
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
@pytest.mark.parametrize("words", ["info", "info --json", "--help", "info --help", "env"])
@pytest.mark.parametrize("unbuffered", ["", "PYTHONUNBUFFERED=1 "])
def test_a_full_disk_behind_standard_output_is_said(words: str, unbuffered: str) -> None:
    done = process(f"{unbuffered}spine {words} > /dev/full")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: Standard output cannot be written: No space left on device. What was to be printed is incomplete."
    ]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("spine info >&-", 0),
        ("spine info >&- 2>&-", 0),
        ("spine info <&-", 0),
        ("spine info 2>/dev/full", 0),
        ("spine nothing 2>&-", 2),
        ("spine nothing 2>/dev/full", 2),
        ("spine evaluate >&-", 2),
        ("spine compare a b --output /proc/x 2>&- >&-", 2),
    ],
)
def test_streams_that_are_closed_are_no_error(line: str, code: int) -> None:
    done = process(line)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    assert "defect" not in done.stderr


def test_a_reader_that_is_gone_is_no_error_that_is_told() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as nobody:
        command = [sys.executable, "-m", "nnunet_spine", "info"]
        done = subprocess.run(command, stdout=nobody, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    # What a library writes to descriptor 2 must not land in the first file that is opened.
    program = "import os; from nnunet_spine.cli.main import main; main(['env']); print(os.readlink('/proc/self/fd/2'))"
    command = ["bash", "-c", '"$0" -c "$1" 2>&-', sys.executable, program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == os.devnull


def test_control_characters_of_a_name_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.report("error", "There is no file \x1b[31mred\x07\x9b\udcff.nii. Check the path.")
    assert capsys.readouterr().err == "error: There is no file \\x1b[31mred\\x07\\x9b\\udcff.nii. Check the path.\n"


@pytest.mark.parametrize(
    "failure",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        ImportError("libx.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("Exception thrown in SimpleITK: std::bad_alloc"),
    ],
)
def test_too_little_memory_is_the_reason_told(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_arguments: object) -> int:
        raise failure

    monkeypatch.setattr("nnunet_spine.cli.env.run", fail)
    assert main.main(["env"]) == 1
    assert capsys.readouterr().err.startswith("error: There is not enough memory for this.")


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "x" * 5000, "a\ud800"])
def test_what_can_be_no_path_is_bad_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main.main(["info", "--root", text])
    assert end.value.code == 2
    assert "error: argument --root: " in capsys.readouterr().err
