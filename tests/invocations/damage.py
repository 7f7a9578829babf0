"""Damage to what a command reads, by the kind of file."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from byte_damage import damage_file
from folder_damage import damage_folder
from places import put_odd
from text_damage import CELLS, ENCODINGS
from volume_damage import damage_one_volume

from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.images import read_volume

RAW_VALUES = ("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "[" * 3000, '"\\ud800"', '{"a":' * 2000)
"""JSON's values that Python reads and nobody means, or that cannot be read."""

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3, 10**400, 1e308, -0.5, "", " ", "nan", "1", "x" * 3000, "../../foreign/foreign_file"),
    *("/foreign", "a\nb", "\x1b[31m", "{x}", "é", "\ud800", "..", "a/b", "\0"),
    *([], {}, [None], [[]], ["a", "a"], {"a": None}, {"": {}}, [1, "a"], [float("nan")]),
)
TEXTS = (b"", b"[]", b"{}", b"null", b"1", b'"text"', b"{", b"\xff\xfe", b"\0\0\0", b"not json", b"[[]]", b'[{"a": 1}]')

YAML = (
    "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
    "models: &m {a: *m}",
    "!!python/object/apply:os.system ['touch foreign_x']",
    "- a\n- b",
    "source: [a",
    "\tsource: a",
    "source: a\nsource: b",
    "? [a, b]\n: c",
    "2001-01-01: a",
    "source: 2001-99-99",
    "folds: 1_000_000_000_000",
    "folds: 0x10",
    "seed: 1:30",
    "<<: {a: b}",
    "output: !!binary xx",
    "output: |\n  a\n  b",
    "--- a\n--- b",
    "[" * 2000,
    "a: " * 50,
    "%YAML 9.9\n---\n",
    "\ufeffsource: a",
    "source: " + "9" * 5000,
)


def damage_inputs(paths: list[Path], foreign: Path, rng: random.Random) -> None:
    """Damage one thing of what a command reads: a file, or a folder."""
    there = [path for path in paths if path.exists()]
    if not there:
        return
    chosen = rng.choice(there)
    files = sorted(p for p in chosen.rglob("*") if p.is_file() and not p.is_symlink()) if chosen.is_dir() else [chosen]
    if rng.random() < 0.05:
        chosen.chmod(rng.choice((0, 0o444, 0o555)))
        return
    if chosen.is_dir() and (not files or rng.random() < 0.12):
        damage_folder(chosen, rng)
        return
    by_suffix: dict[str, list[Path]] = {}
    for path in files:
        by_suffix.setdefault(path.suffix, []).append(path)
    path = rng.choice(by_suffix[rng.choice(sorted(by_suffix))])
    choice = rng.random()
    if choice < 0.15:
        _replace(path, foreign, rng)
    elif choice < 0.25:
        damage_file(path, rng)
    else:
        BY_SUFFIX.get(path.suffix, damage_file)(path, rng)


def _replace(path: Path, foreign: Path, rng: random.Random) -> None:
    """Take a file away, or put something else in its place."""
    content = path.read_bytes()
    path.unlink()
    choice = rng.random()
    if choice < 0.6:
        put_odd(path, foreign, rng)
    elif choice < 0.8:
        path.with_name(os.fsdecode(b"\xff") + path.name).write_bytes(content)


# ---- JSON ---------------------------------------------------------------------------------------------------------


def damage_json(path: Path, rng: random.Random) -> None:
    """Change a value, a key or the text of a JSON file."""
    if rng.random() < 0.2:
        _damage_text(path, rng, TEXTS)
        return
    content = json.loads(path.read_text())
    for _ in range(rng.choice((1, 1, 2, 4))):
        holder, key = _somewhere(content, rng)
        if holder is None:
            content = rng.choice(VALUES)
        else:
            rng.choice(CHANGES)(holder, key, rng)
    text = json.dumps(content)
    if rng.random() < 0.1:
        text = text.replace('"RAW"', rng.choice(RAW_VALUES))
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _somewhere(content: Any, rng: random.Random) -> tuple[Any, Any]:
    """A list or an object in a JSON content and a place in it; as often near the top as deep."""
    holder, key = None, None
    while isinstance(content, dict | list) and content:
        holder, key = content, rng.choice(list(content) if isinstance(content, dict) else range(len(content)))
        content = holder[key]
        if rng.random() < 0.3:
            break
    return holder, key


def _other(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = rng.choice(VALUES)


def _raw(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = "RAW"


def _drop(holder: Any, key: Any, rng: random.Random) -> None:
    del holder[key]


def _rename(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, dict):
        holder[rng.choice(("", "a", "x" * 300, "../x", "\0", f"{key} "))] = holder.pop(key)


def _repeat(holder: Any, key: Any, rng: random.Random) -> None:
    if isinstance(holder, list):
        holder.append(holder[key])
    else:
        holder[f"{key}2"] = holder[key]


def _wrap(holder: Any, key: Any, rng: random.Random) -> None:
    holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}


CHANGES = (_other, _other, _other, _raw, _drop, _drop, _rename, _repeat, _wrap)


def _damage_text(path: Path, rng: random.Random, texts: tuple[bytes, ...]) -> None:
    content = path.read_text()
    encoded = content.encode(rng.choice(ENCODINGS), errors="replace")
    truncated = content.encode()[: rng.randrange(len(content) + 1)]
    path.write_bytes(rng.choice((encoded, truncated, rng.choice(texts), b"\xef\xbb\xbf" + content.encode())))


# ---- CSV and YAML -------------------------------------------------------------------------------------------------

NUMBERS = ("NaN", "inf", "-inf", "1e999", "text", "", "1,5", "-1", "9" * 5000, "٣", "1_0", "0x1", "=1+1", "x" * 140000)


def damage_csv(path: Path, rng: random.Random) -> None:
    """Change cells, rows, columns, the separator or the encoding of a CSV file."""
    if rng.random() < 0.2:
        _damage_text(path, rng, (b"", b"\n", b"a\n", b"a,b\n1\n", b'"', b"\0", b"case,dice\n"))
        return
    rows = list(csv.reader(io.StringIO(path.read_text())))
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(TABLE_CHANGES)(rows, rng)
    stream = io.StringIO()
    separator = rng.choice((*[","] * 8, ";", "\t", "|"))
    csv.writer(stream, delimiter=separator, lineterminator=rng.choice(("\n", "\r\n", "\r"))).writerows(rows)
    path.write_bytes(stream.getvalue().encode("utf-8", "surrogatepass"))


def _cell(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice(rows[1:] or rows)
    if row:
        row[rng.randrange(len(row))] = rng.choice(NUMBERS if rng.random() < 0.7 else CELLS).replace("\udcff", "")


def _header(rows: list[list[str]], rng: random.Random) -> None:
    if rows[0]:
        rows[0][rng.randrange(len(rows[0]))] = rng.choice(("", "case", "dice", "patient", "x", "CASE", "case "))


def _double_row(rows: list[list[str]], rng: random.Random) -> None:
    rows.append(list(rng.choice(rows)))


def _drop_row(rows: list[list[str]], rng: random.Random) -> None:
    if len(rows) > 1:
        del rows[rng.randrange(len(rows))]


def _drop_cell(rows: list[list[str]], rng: random.Random) -> None:
    row = rng.choice(rows)
    if row:
        del row[rng.randrange(len(row))]


def _more_cells(rows: list[list[str]], rng: random.Random) -> None:
    rng.choice(rows).append(rng.choice(NUMBERS))


TABLE_CHANGES = (_cell, _cell, _cell, _header, _double_row, _drop_row, _drop_cell, _more_cells)


def damage_yaml(path: Path, rng: random.Random) -> None:
    """Change a line of a study file, or add one."""
    text, choice = path.read_text(), rng.random()
    if choice < 0.2:
        _damage_text(path, rng, (b"", b"a", b"- a", b"#", b"\0", b"a: b"))
        return
    lines = text.splitlines()
    if choice < 0.5:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(YAML))
    else:
        number = rng.randrange(len(lines))
        key = lines[number].partition(":")[0]
        lines[number] = f"{key}: {rng.choice(STUDY_VALUES)}"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))


STUDY_VALUES = (
    *("", "~", "null", "true", "-1", "0", "1e9", "99999999999999999999", ".nan", ".inf", "[]", "{}", "a b", "''"),
    *("../../foreign", "/foreign", "/proc/x", "~nobody_here/x", '"a\\0b"', "x" * 300, "{a: {b: {c: d}}}", "[1, 2]"),
    *('"{braces}"', '"#hash"', "'a: b'", '"new\\nline"', "Größe", "export", "study.yaml", "/dev/null", "*x", "&x y"),
)


# ---- probabilities ------------------------------------------------------------------------------------------------


def damage_npz(path: Path, rng: random.Random) -> None:
    """Replace a file of probabilities by one that is malformed."""
    with np.load(path) as content:
        array = content["probabilities"]
    changed = rng.choice(ARRAYS)(array)
    choice = rng.random()
    if choice < 0.5:
        np.savez(path, **{rng.choice(("probabilities",) * 6 + ("softmax", "arr_0")): changed})
    elif choice < 0.6:
        np.savez(path)
    elif choice < 0.7:
        with path.open("wb") as stream:
            np.save(stream, array)
    else:
        _damage_zip(path, rng)


ARRAYS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    *(lambda a: a * np.nan, lambda a: a * np.inf, lambda a: a[0], lambda a: a[:1], lambda a: a[:0]),
    *(lambda a: a[..., :-1], lambda a: a * 1e-30),
    *(lambda a: a.astype(complex), lambda a: a.astype(str), lambda a: a.astype(object), lambda a: a > 0.5),
    *(lambda a: (a * 255).astype(np.uint8), lambda a: a.astype("M8[s]"), lambda a: a.astype("V4"), lambda a: a[::-1]),
    *(lambda a: np.float64(3), lambda a: -a, lambda a: a * 2, lambda a: a[..., None], lambda a: a.astype(np.float16)),
    *(lambda a: np.asfortranarray(a), lambda a: a.astype(">f4"), lambda a: a.astype(np.longdouble), lambda a: a),
)  # fmt: skip


def _damage_zip(path: Path, rng: random.Random) -> None:
    claim = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {rng.choice(SHAPES)}, }}"
    member = claim + header.ljust(117).encode() + b"\n" + b"\0" * 64
    members = (member, b"", b"\x93NUMPY", member[:40], b"\x80\x04K\x01.", b"x" * 200)
    with zipfile.ZipFile(path, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))) as pack:
        pack.writestr("probabilities.npy", rng.choice(members))
    if rng.random() < 0.4:
        damage_file(path, rng)


SHAPES = (
    "(2, 100000, 100000, 100)",
    "(2, -1, 3, 4)",
    "(99999999999999999999,)",
    "()",
    "(2, 6, 32, 28)",
    "'a'",
    "(1e3,)",
)


# ---- volumes ------------------------------------------------------------------------------------------------------


def damage_volume_file(path: Path, rng: random.Random) -> None:
    """Damage a volume's header or bytes, or write another image in its place."""
    if rng.random() < 0.5 or path.name.count(".") == 0:
        damage_one_volume(path, rng)
        return
    try:
        image = read_volume(path).image()  # not by ITK alone, which an earlier damage may crash
        sitk.WriteImage(rng.choice(IMAGES)(image), str(path))
    except (NnunetSpineError, RuntimeError):  # an earlier damage, or a format that cannot hold this
        damage_file(path, rng)


def _filled(image: sitk.Image, value: float, share: slice) -> sitk.Image:
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    array.reshape(-1)[share] = value
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(image)
    return made


def _moved(image: sitk.Image, millimeters: float) -> sitk.Image:
    image.SetOrigin([value + millimeters for value in image.GetOrigin()])
    return image


def _spaced(image: sitk.Image, factor: float) -> sitk.Image:
    image.SetSpacing([value * factor for value in image.GetSpacing()])
    return image


IMAGES: tuple[Callable[[sitk.Image], sitk.Image], ...] = (
    lambda i: _filled(i, np.nan, slice(0, 40)),
    lambda i: _filled(i, np.inf, slice(5, 6)),
    lambda i: _filled(i, -np.inf, slice(None)),
    lambda i: _filled(i, 0, slice(None)),
    lambda i: _filled(i, 0.5, slice(100, 200)),
    lambda i: _filled(i, -3, slice(100, 200)),
    lambda i: _filled(i, 1e38, slice(100, 200)),
    lambda i: _filled(i, 7, slice(None)),
    lambda i: i[0:1, 0:1, 0:1],
    lambda i: i[:, :, 0:1],
    lambda i: i[:, :, 0],
    lambda i: i[:-1, :, :],
    lambda i: sitk.Compose([i, i]),
    lambda i: sitk.JoinSeries([i, i]),
    lambda i: sitk.Cast(i, sitk.sitkFloat64),
    lambda i: sitk.Cast(i, sitk.sitkInt8),
    lambda i: sitk.Cast(i, sitk.sitkComplexFloat32),
    lambda i: i[::-1, :, :],
    lambda i: sitk.PermuteAxes(i, [2, 0, 1]),
    lambda i: _moved(i, 0.01),
    lambda i: _moved(i, 500.0),
    lambda i: _spaced(i, 1.00002),
    lambda i: _spaced(i, 1e-4),
    lambda i: _spaced(i, 1e5),
)

# ---- other files --------------------------------------------------------------------------------------------------


CODE = b"cos\nsystem\n(S'touch foreign_x'\ntR."


def _truncate_or_flip(path: Path, rng: random.Random) -> None:
    """Damage a checkpoint or a pickle: what it holds as code is tried by tests of their own."""
    if rng.random() < 0.5:
        path.write_bytes(rng.choice((b"", b"\x80\x04N.", b"PK\x03\x04", CODE, b"x" * 99)))
    else:
        damage_file(path, rng)


def _stray(path: Path, rng: random.Random) -> None:
    """Another file of the same kind beside a file."""
    shutil.copy(path, path.with_name(f"stray_{path.name}"))


BY_SUFFIX: dict[str, Callable[[Path, random.Random], None]] = {
    ".json": damage_json,
    ".csv": damage_csv,
    ".yaml": damage_yaml,
    ".npz": damage_npz,
    ".gz": damage_volume_file,
    ".nii": damage_volume_file,
    ".nrrd": damage_volume_file,
    ".mha": damage_volume_file,
    ".pth": _truncate_or_flip,
    ".pkl": _truncate_or_flip,
    ".html": _stray,
}
