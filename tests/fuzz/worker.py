"""One process of the fuzz test: reads seeds line by line, converts what each makes, and writes a verdict for each.

The first argument is the folder of the templates, the second a folder for work.
"""

from __future__ import annotations

import random
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from dicom_damage import damage_dicom
from folder_damage import damage_folder
from text_damage import damage_bids, damage_list
from verdict import NAME, complaints, digests
from volume_damage import damage_volume
from watched import answer, caught, limited, memory, reset_peak, run

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
    reset_peak()
    before, started = memory("VmRSS"), time.monotonic()
    with limited(MOST_ADDRESSES), caught(work) as streams:
        code = run(command)
    took, used = time.monotonic() - started, memory("VmHWM") - before
    printed, errors = (path.read_text(errors="replace") for path in streams)
    looked = bool(mode) and mode != ["--json"]
    as_json = mode == ["--json"]
    wrong = list(complaints(out, code, printed, errors, earlier=earlier, wrote_list=looked, as_json=as_json))
    if not looked and (found := len(list(out.glob("nnUNet_raw/*/labelsTr/*.nii.gz")))) < spared:
        wrong.append(f"{found} cases where {spared} were sound")
    if used > MOST_RESIDENT:
        wrong.append(f"{used // 2**20} MB were used")
    verdict = {"seed": seed, "what": f"{template}, {mode}", "code": code, "wrong": wrong}
    return {**verdict, "errors": errors[-3000:] if wrong else "", "seconds": round(took, 3), "mb": used // 2**20}


if __name__ == "__main__":
    answer(partial(judge, Path(sys.argv[1])), Path(sys.argv[2]))
