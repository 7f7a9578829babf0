"""What must hold of a conversion whatever its source was."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nnunet_spine.images import read_volume

NAME = "Dataset058_IntraduralSpineTumor"
WORDS = (
    *("Zebulon", "Quirke", "ZQ-7741", "Klinikum", "Operatrix", "19410203", "ACC991", "Doktor", "1.2.826.0.1.3680043"),
    *("QQQQQQ", "1.2.3.77.", "_target"),
)
LONGEST_MESSAGE = 1500


def complaints(
    out: Path, code: object, printed: str, errors: str, *, earlier: Mapping[str, str], wrote_list: bool, as_json: bool
) -> Iterator[str]:
    """Whatever is wrong with a run.

    Parameters
    ----------
    out
        nnU-Net's folders, and the private one.
    code
        What `main` returned.
    printed, errors
        Standard output and standard error.
    earlier
        Digests of the files of the data set that was there before, by path relative to it.
    wrote_list
        Whether the run was to write no more than a list of cases.
    as_json
        Whether it was to print JSON.
    """
    yield from _printed(code, printed, errors, as_json=as_json)
    files = [path for path in out.rglob("*") if not path.is_dir()] if out.exists() else []
    dataset = out / "nnUNet_raw" / NAME
    if earlier or (code != 2 and not wrote_list):
        yield from _dataset(out, dataset, earlier)
    elif files:
        yield f"files without a data set: {sorted(str(path.relative_to(out)) for path in files)[:5]}"
    hidden = list(out.rglob(".*")) if out.exists() else []
    if hidden:
        yield f"hidden files: {[path.name for path in hidden[:5]]}"


def _printed(code: object, printed: str, errors: str, *, as_json: bool) -> Iterator[str]:
    if code not in (0, 1, 2):
        yield f"exit code {code!r}"
    if "Traceback" in printed + errors:
        yield "a traceback was printed"
    words = [word for word in WORDS if word in printed + errors]
    if words:
        yield f"words of the source were printed: {words}"
    if as_json and code != 2 and not _is_json(printed):
        yield "something that is no JSON was printed"
    lines = [line for line in errors.splitlines() if line.strip()]
    if code == 2 and (len(lines) != 1 or not lines[0].startswith("error: ") or len(lines[0]) > LONGEST_MESSAGE):
        yield f"{len(lines)} lines of {len(errors)} characters instead of one error"
    if code == 2 and lines and lines[-1].count(". ") < 1:
        yield "an error of one sentence, without remedy"
    if code != 2 and lines:
        yield "something on standard error beside a result"


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def digests(dataset: Path) -> dict[str, str]:
    """SHA-256 of the images and labels of a data set, by relative path."""
    return {
        path.relative_to(dataset).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(dataset.glob("*s*/**/*.nii.gz"))
    }


def _dataset(out: Path, dataset: Path, earlier: Mapping[str, str]) -> Iterator[str]:
    needed = [dataset / name for name in ("cases.csv", "dataset.json", "manifest.json", "conversion_report.json")]
    needed += [out / "private" / f"{NAME}_mapping.csv", out / "nnUNet_preprocessed" / NAME / "splits_final.json"]
    absent = [path.name for path in needed if not path.is_file()]
    if absent:
        yield f"a data set without {absent}"
        return
    cases = {row["case"] for row in _rows(needed[0])}
    yield from _records(cases, needed)
    yield from _volumes(dataset, cases)
    now = digests(dataset)
    gone = set(earlier.values()) - set(now.values())
    if gone:
        yield f"{len(gone)} files of the earlier data set are gone"
    for path in (p for p in out.rglob("*") if p.is_file() and p != needed[4]):
        content = path.read_bytes()
        content = re.sub(
            rb"\b[0-9a-f]{32,}\b", b"", gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        )
        words = [word for word in WORDS if word.encode() in content or word in str(path.relative_to(out))]
        if words:
            yield f"words of the source in {path.relative_to(out)}: {words}"


def _records(cases: set[str], files: list[Path]) -> Iterator[str]:
    listed = json.loads(files[2].read_text())["inputs"]
    if {name.split()[0] for name in listed} != cases:
        yield "cases.csv and the manifest list different cases"
    if not cases <= {row["case"] for row in _rows(files[4])}:
        yield "a case is not in the private mapping"
    folds = json.loads(files[5].read_text())
    training = {path.name[:-7] for path in (files[0].parent / "labelsTr").glob("*.nii.gz")}
    if sorted(case for fold in folds for case in fold["val"]) != sorted(training):
        yield "the folds do not test each training case once"
    for problem in json.loads(files[3].read_text())["problems"]:
        if problem["severity"] == "error" and not all(problem[key] for key in ("where", "found", "expected", "remedy")):
            yield f"a problem that does not say all: {problem}"


def _volumes(dataset: Path, cases: set[str]) -> Iterator[str]:
    pairs = {}
    for images, labels in (("imagesTr", "labelsTr"), ("imagesTs", "labelsTs")):
        made = {path.name for path in (dataset / images).glob("*")}
        drawn = {path.name for path in (dataset / labels).glob("*")}
        if {name.replace("_0000.nii.gz", ".nii.gz") for name in made} != drawn:
            yield "an image without label, or a label without image"
            return
        pairs |= {name[:-7]: (dataset / images / f"{name[:-7]}_0000.nii.gz", dataset / labels / name) for name in drawn}
    if set(pairs) != cases:
        yield "cases.csv does not list what is there"
    for image_file, label_file in pairs.values():
        image, label = read_volume(image_file), read_volume(label_file)
        if not image.geometry.same_grid(label.geometry):
            yield "an image and its label on different grids"
        if not np.isfinite(image.array).all() or image.array.min() == image.array.max():
            yield "an image that is constant or not finite"
        if not np.isfinite(image.geometry.affine_lps()).all():
            yield "a grid that is not finite"
        if set(np.unique(label.array)) != {0, 1} and set(np.unique(label.array)) != {1}:
            yield "a label of other values than 0 and 1"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))
