"""One process of the fuzz test: reads seeds line by line, converts what each makes, and writes a verdict for each.

The first argument is the folder of the templates, the second a folder for work.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dicom_damage import damage_dicom
from folder_damage import damage_folder
from text_damage import damage_bids, damage_list
from verdict import NAME, complaints, digests
from volume_damage import damage_volume

from nnunet_spine.cli.main import main

MOST_ADDRESSES, MOST_RESIDENT = 2 * 2**30, 700 * 2**20
"""Bytes that an input may reserve, and that it may use, beyond what the process has before."""

DAMAGES = {"dicom": (damage_dicom,) * 9, "enhanced": (damage_dicom,) * 9, "bids": (damage_bids, damage_volume)}
DAMAGES |= {"list_dicom": (damage_dicom, damage_list), "list": (damage_list, damage_volume, damage_volume)}


def make_input(templates: Path, work: Path, seed: int) -> tuple[Path, str, int]:
    """A damaged copy of a template, the template's name, and how many of its cases nobody touched."""
    rng = random.Random(seed)
    template = rng.choice(sorted(path.name for path in templates.iterdir() if path.name != "converted"))
    source = work / "Quirke archive"
    shutil.copytree(templates / template, source)
    kind = template if template in DAMAGES else template.split("_")[0]
    damage = rng.choice((*DAMAGES[kind], damage_folder))
    damage(source, rng)
    spared = 2 if kind in ("dicom", "enhanced") and damage is damage_dicom else 0
    if damage is not damage_folder and rng.random() < 0.1:
        damage_folder(source, rng)
        spared = 0
    return (source / "cases.csv" if kind.startswith("list") else source), template, spared


def judge(templates: Path, work: Path, seed: int) -> dict[str, Any]:
    """Convert the input of a seed; returns what is wrong, time and memory."""
    source, template, spared = make_input(templates, work, seed)
    rng = random.Random(seed + 1)
    out = work / "out"
    earlier: dict[str, str] = {}
    mode = rng.choice(([], [], [], [], [], ["--json"], ["--dry-run"], ["--write-cases", str(work / "found.csv")], None))
    if mode is None:  # grow the data set of the sound source
        shutil.copytree(templates / "converted" / template, out)
        earlier = digests(out / "nnUNet_raw" / NAME)
    command = ["convert", str(source), "--root", str(out), "--folds", "2", *(mode or [])]
    _reset_peak()
    before, started = _memory("VmRSS"), time.monotonic()
    with _limited(), _caught(work) as streams:
        code = _run(command)
    took, used = time.monotonic() - started, _memory("VmHWM") - before
    printed, errors = (path.read_text(errors="replace") for path in streams)
    looked = bool(mode) and mode != ["--json"]
    as_json = mode == ["--json"]
    wrong = list(complaints(out, code, printed, errors, earlier=earlier, wrote_list=looked, as_json=as_json))
    if not looked and (found := len(list(out.glob("nnUNet_raw/*/labelsTr/*.nii.gz")))) < spared:
        wrong.append(f"{found} cases where {spared} were sound")
    if used > MOST_RESIDENT:
        wrong.append(f"{used // 2**20} MB were used")
    verdict = {"seed": seed, "template": template, "mode": mode, "code": code, "wrong": wrong}
    return {**verdict, "errors": errors[-3000:] if wrong else "", "seconds": round(took, 3), "mb": used // 2**20}


def _run(command: list[str]) -> object:
    """Exit code of the command, or what it raised."""
    try:
        return main(command)
    except BaseException as failure:  # noqa: BLE001  whatever it is: none may come out
        traceback.print_exc()
        return f"raised {type(failure).__name__}"


@contextmanager
def _caught(work: Path) -> Iterator[tuple[Path, Path]]:
    """Standard output and error in files, also what libraries in C write."""
    paths = work / "stdout", work / "stderr"
    saved = os.dup(1), os.dup(2)
    for path, number in zip(paths, (1, 2), strict=True):
        with path.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    try:
        yield paths
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, number in zip(saved, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


@contextmanager
def _limited() -> Iterator[None]:
    usual = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + MOST_ADDRESSES, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, usual)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory(name: str) -> int:
    """A size from Linux's account of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def answer(templates: Path, folder: Path) -> None:
    """Judge the seeds that come in on standard input."""
    for line in sys.stdin:
        work = Path(tempfile.mkdtemp(dir=folder))
        print(json.dumps(judge(templates, work, int(line))), flush=True)
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    answer(Path(sys.argv[1]), Path(sys.argv[2]))
