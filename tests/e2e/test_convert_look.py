"""`nnunet-spine convert --dry-run` and `--write-cases`, as a user types them."""

from __future__ import annotations

import csv
import json
import stat
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest

from nnunet_spine.cli.main import main

NAME = "Dataset058_IntraduralSpineTumor"


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "export"
    assert main(["phantoms", "--output", str(folder), "--cases", "4"]) == 0
    return folder


def identities(folder: Path) -> set[str]:
    """What the sources say of their patients."""
    found: set[str] = set()
    for path in folder.rglob("IM000001"):
        header = pydicom.dcmread(path, stop_before_pixels=True)
        for keyword in ("PatientID", "PatientName", "StudyDate", "StudyInstanceUID", "SeriesInstanceUID"):
            found.add(str(header[keyword].value))
        found.add(path.parents[2].name)
    return {word for word in found if word}


def contents(root: Path) -> set[tuple[bytes, bytes]]:
    folder = root / "nnUNet_raw" / NAME
    labels = sorted((folder / "labelsTr").iterdir())
    images = [folder / "imagesTr" / path.name.replace(".nii", "_0000.nii") for path in labels]
    return {(image.read_bytes(), label.read_bytes()) for image, label in zip(images, labels, strict=True)}


def test_a_dry_run_shows_and_touches_nothing(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["convert", str(export), "--root", str(tmp_path / "out"), "--dry-run"]
    assert main([*command, "--write-cases", str(tmp_path / "cases.csv")]) == 0
    assert list(tmp_path.iterdir()) == []
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert max(len(line) for line in lines) <= 80
    assert [line.split()[:2] for line in lines if line.startswith("study ")] == [["study", str(n)] for n in range(1, 5)]
    assert "contrast by" in " ".join(printed.out.split())
    assert "76 files" not in printed.err
    total = sum(1 for path in export.rglob("*") if path.is_file())
    assert f"{total} files: " in printed.out
    assert not [word for word in identities(export) if word in printed.out + printed.err]


def test_json_has_the_same(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(export), "--root", str(tmp_path / "out"), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [line["use"] for line in found["found"]] == ["yes"] * 4
    assert {line["confidence"] for line in found["found"]} <= {"high", "medium"}
    assert found["files"]["total"] == sum(n for kind, n in found["files"].items() if kind != "total")


def test_the_written_list_is_private_and_gives_the_same_data_set(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = tmp_path / "private" / "cases.csv"
    assert main(["convert", str(export), "--root", str(tmp_path / "x"), "--write-cases", str(cases)]) == 0
    assert stat.S_IMODE(cases.stat().st_mode) == 0o600
    assert not (tmp_path / "x").exists()
    assert main(["convert", str(export), "--root", str(tmp_path / "a"), "--json"]) == 0
    assert main(["convert", str(cases), "--root", str(tmp_path / "b"), "--json"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    printed = capsys.readouterr()
    assert not [word for word in identities(export) if word in printed.out + printed.err]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_a_person_corrects_the_list(export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cases = tmp_path / "cases.csv"
    command = ["convert", str(export), "--root", str(tmp_path / "out"), "--write-cases", str(cases)]
    assert main(command) == 0
    assert main(command) == 0  # the same list again
    rows = rows_of(cases)
    rows[0]["use"] = "no"
    rows[1]["compartment"] = "extramedullary"
    with cases.open("w") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    assert main(command) == 2
    assert "may hold corrections" in capsys.readouterr().err
    assert main(["convert", str(cases), "--root", str(tmp_path / "out"), "--folds", "2", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["cases"] == 3
    assert "1 rows say use=no" in result["problems"][0]["found"]


def test_a_study_without_a_reference_is_proposed_and_not_used(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "export"
    subprocess.run(["cp", "-r", str(export), str(copy)], check=True)
    for path in next(p for p in sorted(copy.iterdir()) if p.is_dir()).rglob("SER0900/*"):
        path.unlink()
    cases = tmp_path / "cases.csv"
    command = ["convert", str(copy), "--root", str(tmp_path / "out"), "--write-cases", str(cases)]
    assert main(command) == 1
    assert main([*command, "--allow-partial"]) == 0
    first = rows_of(cases)[0]
    assert (first["use"], first["reference"]) == ("no", "")
    assert first["image"]
    assert first["reason"].startswith("no DICOM SEG")


@pytest.mark.parametrize(("place", "message"), [("repo/cases.csv", "git work tree"), ("cases.txt", "is no .csv")])
def test_a_place_that_gives_patients_away_is_refused(
    export: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, message: str
) -> None:
    (tmp_path / "repo").mkdir()
    subprocess.run(["git", "init", "-q", str(tmp_path / "repo")], check=True)
    command = ["convert", str(export), "--root", str(tmp_path / "out"), "--write-cases", str(tmp_path / place)]
    assert main(command) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / place).exists()


def test_values_of_damaged_headers_are_not_printed(export: Path, tmp_path: Path) -> None:
    copy = tmp_path / "export"
    subprocess.run(["cp", "-r", str(export), str(copy)], check=True)
    for path in copy.rglob("IM*"):
        content = path.read_bytes()
        start = content.index(b"\x20\x00\x0d\x00UI") + 8  # the study's UID: letters where digits belong
        path.write_bytes(content[:start] + b"Zq" + content[start + 2 :])
    command = [sys.executable, "-m", "nnunet_spine", "convert", str(copy), "--root", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Zq" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
