"""No file name, path or description of the source in any log of a study, or on the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.phantoms.cohort import write_cohort

COMMAND = [sys.executable, "-m", "nnunet_spine"]

WORDS = (
    "mueller",
    "hans_1960",
    "schmidtke",
    "kowalski",
    "piotrowska",
    "quirke",
    "zwerchfell",
    "19601212",
    "tumorboard",
)
"""Parts of the names of folders and files, and of what the headers say."""


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    # With these a command prints tracebacks and warnings, which name files.
    loud = {"NNUNET_SPINE_DEBUG": "1", "PYTHONWARNINGS": "ignore"}
    variables = {**kept, **loud, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=600
    )


def told(output: Path, *printed: str) -> dict[str, list[str]]:
    """Where a word of the source stands: everything below the output but the private mapping, and what was printed."""
    found: dict[str, list[str]] = {}
    texts = {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    texts |= {f"printed {number}": text.encode("utf-8", "surrogateescape") for number, text in enumerate(printed)}
    texts |= {f"name of {path.name}": path.name.encode("utf-8", "surrogateescape") for path in output.rglob("*")}
    for name, content in texts.items():
        if name.partition("/")[0] != "private":
            found[name] = [word for word in WORDS if word.encode() in content.lower()]
    return {name: words for name, words in found.items() if words}


def write_study(folder: Path, source: str) -> None:
    text = f"source: {source}\noutput: ../out\nfolds: 2\nmodels:\n  documented: {{}}\n"
    (folder / "study.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A DICOM export whose names and headers tell who it is of, with files that cannot be used."""
    folder = tmp_path / "studies" / "MUELLER^HANS_1960 (Tumorboard)"
    write_cohort(folder, cases=4, seed=3)
    for number, child in enumerate(sorted(path for path in folder.iterdir() if path.is_dir())):
        child.rename(folder / f"Quirke {number} 19601212")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".csv")
    header = pydicom.dcmread(files[0])
    header.PatientName, header.SeriesDescription = "Schmidtke^Zwerchfell", "Zwerchfell Kowalski"
    header.save_as(files[0])
    files[1].write_bytes(files[1].read_bytes()[:3000])
    (files[0].parent / "Schmidtke.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)
    (files[0].parent / "Kowalski.dcm").symlink_to("/annex/objects/Kowalski")
    (files[0].parent / "Zwerchfell").symlink_to("Zwerchfell")
    os.mkfifo(files[0].parent / "Piotrowska.dcm")
    return folder


def test_a_conversion_with_damaged_files_names_none_of_them(export: Path, tmp_path: Path) -> None:
    write_study(export.parent, f'"{export.name}"')
    status = run("status", "study.yaml", "--json", cwd=export.parent)
    done = run("job", "study.yaml", "convert", cwd=export.parent)
    log = (tmp_path / "out" / "logs" / "convert.log").read_text(encoding="utf-8")
    assert "begins: nnunet-spine convert 'SOURCE' --dataset 58" in log
    assert "spine_001" in log or "cases of" in log, log
    after = run("status", "study.yaml", "--json", cwd=export.parent)
    printed = [part for one in (status, done, after) for part in (one.stdout, one.stderr)]
    assert told(tmp_path / "out", *printed) == {}


def test_a_source_that_vanished_is_not_named(tmp_path: Path) -> None:
    export = tmp_path / "studies" / "MUELLER^HANS_1960"
    export.parent.mkdir()
    write_study(export.parent, f'"{export.name}"')
    driven = run("run", "study.yaml", cwd=export.parent)
    assert driven.returncode == 2
    assert "line 1: source: there is no such file or folder" in driven.stderr
    done = run("job", "study.yaml", "convert", cwd=export.parent)
    assert done.returncode == 1
    assert done.stderr.startswith("error: convert: "), done.stderr
    assert told(tmp_path / "out", driven.stderr, done.stdout, done.stderr) == {}


@pytest.mark.parametrize(
    "content",
    [
        "patient,image,reference\nQuirke,Schmidtke.nii.gz,Kowalski/missing.nii.gz\n",
        "patient,image,reference\nQuirke,/etc/Schmidtke.nii.gz,../Kowalski.nii.gz\n",
        "patient;image;reference\nQuirke;Schmidtke.nii.gz;Kowalski.nii.gz\n",
        "Quirke,Schmidtke.nii.gz,Kowalski.nii.gz\n",
        'patient,image,reference\n"Quirke,Schmidtke.nii.gz\n',
        "patient,image,reference,Zwerchfell,Zwerchfell\nQuirke,Schmidtke.nii.gz,,,,,,\n",
        "patient,image,reference\nQ\xfcirke,Schmidtke.nii.gz,x\n",
        "",
    ],
)
def test_a_list_of_cases_that_cannot_be_used_is_not_quoted(tmp_path: Path, content: str) -> None:
    folder = tmp_path / "MUELLER 'HANS_1960'"
    folder.mkdir()
    (folder / "Kowalski.csv").write_bytes(content.encode("latin-1"))
    sitk.WriteImage(sitk.Image(4, 4, 4, sitk.sitkInt16), str(folder / "Schmidtke.nii.gz"))
    (tmp_path / "study").mkdir()
    write_study(tmp_path / "study", f'"../{folder.name}/Kowalski.csv"')
    done = run("run", "study.yaml", cwd=tmp_path / "study")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: convert failed: "), done.stderr
    status = run("status", "study.yaml", cwd=tmp_path / "study")
    assert told(tmp_path / "out", done.stdout, done.stderr, status.stdout, status.stderr) == {}
