"""The command `nnunet-spine convert`, as a user types it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cli.main import main

NAME = "Dataset058_IntraduralSpineTumor"


def write_pair(folder: Path, number: int, shape: tuple[int, int, int] = (5, 12, 9)) -> str:
    """Write an image and its reference; returns their row of cases.csv."""
    values = np.random.default_rng(number).normal(100, 20, shape).astype(np.float32)
    mask = np.zeros(shape, np.uint8)
    mask[2, 3 : 6 + number % 4, 4] = 1
    for what, array in (("image", values), ("mask", mask)):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((0.7, 0.7, 3.5))
        sitk.WriteImage(image, str(folder / f"{what}{number}.nii.gz"))
    kind = ("intramedullary", "extramedullary")[number % 2]
    return f"Quirke{number},image{number}.nii.gz,mask{number}.nii.gz,{kind},,"


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    folder = tmp_path / "Zebulon"
    folder.mkdir()
    rows = [write_pair(folder, number) for number in range(6)]
    path = folder / "cases.csv"
    path.write_text("\n".join(["patient,image,reference,compartment,tumor_type,split", *rows]) + "\n")
    return path


def test_a_list_is_converted_and_the_next_step_named(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", str(listed), "--root", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert f"{NAME}: 6 cases of 6 patients" in printed.out
    assert [line.split() for line in printed.out.splitlines() if line.startswith("test cases")] == [
        ["test", "cases", "2", "2", "1", "1"]
    ]
    assert "nnunet-spine plan 58" in printed.out
    assert "Quirke" not in printed.out + printed.err
    assert (tmp_path / "out" / "nnUNet_raw" / NAME / "imagesTr" / "spine_006_0000.nii.gz").is_file()
    assert (tmp_path / "out" / "nnUNet_preprocessed" / NAME / "splits_final.json").is_file()


def test_twice_says_already_converted(listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", str(listed), "--root", str(tmp_path / "out")]
    assert main(command) == 0
    assert "already converted" not in capsys.readouterr().out
    assert main(command) == 0
    assert "already converted" in capsys.readouterr().out


def test_json_is_all_that_is_printed(listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--dataset", "7", "--name", "Small", "--folds", "2", "--seed", "3", "--json"]
    assert main(["convert", str(listed), "--root", str(tmp_path / "out"), *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["dataset"] == str(tmp_path / "out" / "nnUNet_raw" / "Dataset007_Small")
    assert (result["cases"], result["patients"], result["fold_sizes"]) == (6, 6, [3, 3])
    assert (result["left_out"], result["problems"], result["already_converted"]) == (0, [], False)


def test_nnunets_variables_are_honoured(listed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "x" / "raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(tmp_path / "y"))
    monkeypatch.setenv("nnUNet_results", str(tmp_path / "z"))
    assert main(["convert", str(listed)]) == 0
    assert (tmp_path / "x" / "raw" / NAME / "dataset.json").is_file()
    assert (tmp_path / "y" / NAME / "splits_final.json").is_file()
    assert (tmp_path / "x" / "private" / f"{NAME}_mapping.csv").is_file()


def test_what_is_left_out_decides_the_exit_code(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sitk.WriteImage(sitk.Image(9, 12, 5, sitk.sitkUInt8), str(listed.with_name("mask4.nii.gz")))
    command = ["convert", str(listed), "--root", str(tmp_path / "out")]
    assert main(command) == 1
    assert "error: row 6: the reference is empty; expected at least one tumor voxel." in capsys.readouterr().out
    assert main(command) == 1  # already converted, and still without that case
    assert main([*command, "--allow-partial"]) == 0
    report = json.loads((tmp_path / "out" / "nnUNet_raw" / NAME / "conversion_report.json").read_text())
    assert [problem["where"] for problem in report["problems"]] == ["row 6"]


def test_the_tumor_is_the_value_that_is_named(listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = listed.with_name("mask4.nii.gz")
    image = sitk.ReadImage(str(path))
    image[0:2, 0:2, 1:3] = 2
    sitk.WriteImage(image, str(path))
    command = ["convert", str(listed), "--root", str(tmp_path / "out"), "--segment", "1"]
    assert main([*command, "--json"]) == 0
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert problem["found"] == "the reference also holds the values 2, which were not taken as tumor"
    assert main(command) == 0
    assert "already converted" in capsys.readouterr().out
    assert main(command[:-2]) == 2  # what is tumor cannot change under a data set, in either direction
    assert "with other options" in capsys.readouterr().err
    assert main([*command, "--segment", "2"]) == 2
    assert "with other options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{list}", "--segment", "0"], "number is below 1"),
        (["{list}", "--fraction", "1.5"], "fraction is 1.5"),
        (["{list}", "--tumor-label", ""], "tumor label is empty"),
        (["{source}/absent"], "does not exist"),
        (["{source}/empty"], "no readable DICOM series"),
        (["{source}/text.txt"], "no cases.csv"),
        (["{list}", "--dataset", "1000"], "1 to 999"),
        (["{list}", "--name", "a/b"], "letters, digits and underscores"),
        (["{list}", "--folds", "7"], "at most 6 folds"),
        (["{list}", "--folds", "1"], "at least 2"),
        (["{list}", "--seed", "-1"], "not negative"),
        (["{list}", "--mapping", "{source}/empty"], "is a folder"),
    ],
)
def test_bad_usage_is_one_paragraph_and_exit_2(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    source = listed.parent
    (source / "empty").mkdir()
    (source / "text.txt").write_text("text")
    filled = [argument.format(source=source, list=listed) for argument in arguments]
    assert main(["convert", *filled, "--root", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in " ".join(error.split())
    assert "\n\n" not in error.strip()
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("column", ["image", "mask"])
def test_a_text_file_in_a_row_is_exit_2(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], column: str
) -> None:
    listed.with_name("notes.txt").write_text("text")
    listed.write_text(listed.read_text().replace(f"{column}3.nii.gz", "notes.txt"))
    assert main(["convert", str(listed), "--root", str(tmp_path / "out")]) == 2
    assert "cases.csv, row 5" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_exit_2(listed: Path) -> None:
    # /proc refuses new folders even to root.
    assert main(["convert", str(listed), "--root", "/proc/nnunet_spine"]) == 2


def test_a_file_in_the_place_of_the_root_is_exit_2(listed: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    assert main(["convert", str(listed), "--root", str(tmp_path / "out")]) == 2
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_conversion_leaves_nothing(tmp_path: Path, stop: signal.Signals) -> None:
    rows = [write_pair(tmp_path, number, (20, 160, 160)) for number in range(24)]
    (tmp_path / "cases.csv").write_text("\n".join(["patient,image,reference,compartment,tumor_type,split", *rows]))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "nnunet_spine", "convert", str(tmp_path / "cases.csv"), "--root", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while not list(out.glob("nnUNet_raw/.*.partial.*/.scratch/*_image.nii.gz")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(stop)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert not out.exists()


def test_help_and_start_stay_light() -> None:
    code = (
        "import sys; from nnunet_spine.cli.main import build_parser; build_parser();"
        "print([m for m in ('torch', 'nnunetv2', 'highdicom', 'pydicom', 'nibabel') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_converting_imports_no_torch(listed: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from nnunet_spine.cli.main import main;"
        f"code = main(['convert', {str(listed)!r}, '--root', {str(tmp_path / 'out')!r}, '--json']);"
        "print([code, *[m for m in ('torch', 'nnunetv2', 'monai') if m in sys.modules]], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[0]"


def test_a_phantom_export_is_converted_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = tmp_path / "export"
    assert main(["phantoms", "--output", str(export), "--cases", "4"]) == 0
    assert main(["convert", str(export), "--root", str(tmp_path / "a"), "--json"]) == 0
    assert main(["convert", str(export / "cases.csv"), "--root", str(tmp_path / "b"), "--json"]) == 0
    capsys.readouterr()

    def contents(root: Path) -> set[tuple[bytes, bytes]]:
        folder = root / "nnUNet_raw" / NAME
        labels = sorted((folder / "labelsTr").iterdir())
        images = [folder / "imagesTr" / path.name.replace(".nii", "_0000.nii") for path in labels]
        return {(i.read_bytes(), path.read_bytes()) for i, path in zip(images, labels, strict=True)}

    found = contents(tmp_path / "a")
    assert len(found) == 4
    assert found == contents(tmp_path / "b")  # discovery found the very pairs that the cohort's own list names
