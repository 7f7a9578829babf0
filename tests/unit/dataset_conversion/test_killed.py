"""A conversion that is killed before any step of the file system leaves the old data set or the new one."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import read_cases, read_splits
from nnunet_spine.dataset_conversion.convert import convert
from nnunet_spine.images import read_volume

NAME = "Dataset058_Spine"
SCRIPT = """
import json, os, shutil, signal, sys
from pathlib import Path
from nnunet_spine.dataset_conversion.convert import convert
import nnunet_spine.files

base, source, exchange = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "exchange"
if not exchange:
    nnunet_spine.files._exchanged = lambda one, other: False
STEPS = {"os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.chmod", "ctypes.dlopen"}

def converted(root, last):
    "Convert in a process that is killed before its step `last`; how many steps it took, and which put the set there."
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        steps = commit = 0
        def count(event, arguments):
            nonlocal steps, commit
            if event in STEPS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_WRONLY):
                steps += 1
                renamed = event == "os.rename" and str(arguments[1]).endswith(("Dataset058_Spine", ".moved"))
                if not commit and (event == "ctypes.dlopen" or renamed):
                    commit = steps
                if steps == last:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(count)
        folders = {name: root / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
        convert(source, dataset=58, name="Spine", folds=2, **folders)
        os.write(write, f"{steps} {commit}".encode())
        os._exit(0)
    os.close(write)
    _, status = os.waitpid(child, 0)
    with os.fdopen(read) as stream:
        text = stream.read()
    return [int(number) for number in text.split()] or [-os.WTERMSIG(status)]

def copied(name):
    root = base.with_name(name)
    if base.exists():
        shutil.copytree(base, root)
    return root

total, commit = converted(copied("whole"), 0)
stops = sorted({*range(1, total, max(1, total // 4)), *range(commit - 6, min(commit + 6, total)), total - 1, total})
print(json.dumps([total, {stop: converted(copied(f"stop{stop}"), stop)[0] for stop in stops}]))
"""


def write_source(folder: Path, count: int) -> Path:
    folder.mkdir(exist_ok=True)
    rows = ["patient,image,reference"]
    for number in range(count):
        values = np.random.default_rng(number).normal(100, 20, (4, 9, 7)).astype(np.float32)
        mask = np.zeros(values.shape, np.uint8)
        mask[2, 2, 1 : 3 + number % 2] = 1
        for letter, array in (("i", values), ("m", mask)):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((1.0, 1.0, 4.0))
            sitk.WriteImage(image, str(folder / f"{letter}{number}.nii.gz"))
        rows.append(f"Quirke{number},i{number}.nii.gz,m{number}.nii.gz")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")
    return folder / "cases.csv"


def run(source: Path, root: Path) -> None:
    folders = {name: root / f"nnUNet_{name}" for name in ("raw", "preprocessed", "results")}
    convert(source, dataset=58, name="Spine", folds=2, **folders)


def data_set(root: Path) -> dict[str, bytes]:
    """Files of the raw data set; instants are taken out."""
    folder = root / "nnUNet_raw" / NAME
    found = {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
    for name in ("manifest.json", "conversion_report.json"):
        if name in found:
            content = json.loads(found[name])
            content.pop("created", None)
            content.pop("command", None)
            for change in content["changes"]:
                change.pop("at")
            found[name] = json.dumps(content).encode()
    return found


def check_agreement(root: Path) -> None:
    """Data set, folds and mapping are of the same cases, and nothing else lies about."""
    raw = root / "nnUNet_raw"
    cases = {case.case for case in read_cases(raw / NAME / "cases.csv")}
    folds = read_splits(root / "nnUNet_preprocessed" / NAME / "splits_final.json")
    assert {case for fold in folds for case in fold.test} == cases
    with (root / "private" / f"{NAME}_mapping.csv").open() as stream:
        assert {row["case"] for row in csv.DictReader(stream)} == cases
    for folder in (raw, root / "private", root / "nnUNet_preprocessed" / NAME):
        assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(("grows", "exchange"), [(True, "exchange"), (True, "two renames"), (False, "exchange")])
def test_killed_before_any_step(tmp_path: Path, grows: bool, exchange: str) -> None:
    source, base = tmp_path / "source", tmp_path / "base"
    old: dict[str, bytes] = {}
    if grows:
        run(write_source(source, 4), base)
        old = data_set(base)
    path = write_source(source, 6)
    if grows:
        shutil.copy(source / "m1.nii.gz", source / "m0.nii.gz")  # a corrected reference
    command = [sys.executable, "-c", SCRIPT, str(base), str(path), exchange]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total, stops = json.loads(done.stdout)
    new = data_set(tmp_path / "whole")
    assert len(new) > len(old)
    assert total > 30
    assert set(stops.values()) <= {-signal.SIGKILL, total}
    seen = set()
    for stop in stops:
        root = tmp_path / f"stop{stop}"
        found = data_set(root)
        moved = exchange == "two renames" and not found  # until the next command gives it back
        assert found in (old, new) or moved, stop
        seen.add("old" if found == old else "new")
        if grows and int(stop) % 2:
            first = write_source(tmp_path / "again", 4)
            run(first, root)  # whatever comes next ends what was left
            assert data_set(root) in (old, new)
            check_agreement(root)
        run(path, root)
        assert data_set(root) == new
        check_agreement(root)
    assert seen == {"old", "new"}


def children_of(process: subprocess.Popen[bytes]) -> list[Path]:
    """Places of a process's children in /proc."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [Path("/proc") / number for number in listed.read_text().split()]


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def test_killed_from_outside_while_processes_convert(tmp_path: Path) -> None:
    path = write_source(tmp_path / "source", 40)
    root = tmp_path / "out"
    command = [sys.executable, "-m", "nnunet_spine", "convert", str(path), "--root", str(root), "--name", "Spine"]
    done = root / "nnUNet_raw" / NAME
    for images in (20,):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        def far_enough(process: subprocess.Popen[bytes] = process, images: int = images) -> bool:
            at_work = len(list(root.glob("nnUNet_raw/.*/.scratch/*_image.nii.gz")))
            return process.poll() is not None or at_work >= images

        assert wait_for(far_enough)
        children = children_of(process)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
        for image in done.glob("imagesTr/*.nii.gz"):
            read_volume(image)  # complete or not there
        assert wait_for(lambda here=children: not any(child.exists() for child in here))  # type: ignore[misc]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=True).returncode == 0
    check_agreement(root)
    assert len(list((done / "imagesTr").iterdir())) == 40
