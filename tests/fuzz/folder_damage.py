"""Folders with what file systems can hold besides files: loops, pipes, devices, odd names."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path


def damage_folder(source: Path, rng: random.Random) -> None:
    """Put one to three odd things into a folder of the source."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(DAMAGES)(rng.choice(_folders(source)), rng)


def _folders(source: Path) -> list[Path]:
    """Folders that are not too deep to be named."""
    return sorted(Path(parent) for parent, _, _ in os.walk(source) if parent.count("_deep") < 3)


def _files(source: Path) -> list[Path]:
    return [
        path
        for folder in _folders(source)
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.is_symlink()
    ]


def _name(rng: random.Random) -> str:
    names = ("Zebulon", "IM0000x", "x.nii.gz", "sub-Q_T1w.nii.gz", "DICOMDIR", "cases.csv", "x.dcm", "a b\nc", "-rf")
    return rng.choice(
        (*names, os.fsdecode(b"Quirke\xff\xfe"), "\x1b[31mQ", "Q" * 240, "sub-Zebulon0_label-tumor.nii.gz")
    )


def _free(folder: Path, rng: random.Random) -> Path:
    path = folder / _name(rng)
    return path.with_name(f"{rng.randrange(10**6)}{path.name}"[:250]) if os.path.lexists(path) else path


def _loop(folder: Path, rng: random.Random) -> None:
    _free(folder, rng).symlink_to(rng.choice((folder, folder.parent, Path(), Path("/nowhere/Zebulon"))))


def _self(folder: Path, rng: random.Random) -> None:
    path = _free(folder, rng)
    path.symlink_to(path.name)


def _pipe(folder: Path, rng: random.Random) -> None:
    os.mkfifo(_free(folder, rng))


def _device(folder: Path, rng: random.Random) -> None:
    _free(folder, rng).symlink_to(
        rng.choice(("/dev/zero", "/dev/null", "/proc/self/mem", "/dev/tty", "/proc/self/environ"))
    )


def _socket(folder: Path, rng: random.Random) -> None:
    here = Path.cwd()
    try:
        os.chdir(folder)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"s{rng.randrange(10**6)}")
    finally:
        os.chdir(here)


def _deep(folder: Path, rng: random.Random) -> None:
    here = Path.cwd()
    try:
        os.chdir(folder)
        for _ in range(rng.choice((30, 120, 400))):
            Path("Zebulon_deep").mkdir(exist_ok=True)
            os.chdir("Zebulon_deep")
        Path("IM0001").write_bytes(b"x")
    finally:
        os.chdir(here)


def _empty(folder: Path, rng: random.Random) -> None:
    _free(folder, rng).write_bytes(b"")


def _emptied(folder: Path, rng: random.Random) -> None:
    files = _files(folder)
    if files:
        rng.choice(files).write_bytes(
            rng.choice((b"", b"\0" * 132, b"\0" * 128 + b"DICM", b"DICM", b"\x1f\x8b", b"NRRD0004\n"))
        )


def _replaced(folder: Path, rng: random.Random) -> None:
    """A pipe, a folder or a link in the place of a file."""
    files = _files(folder)
    if not files:
        return
    path = rng.choice(files)
    content = path.read_bytes()
    path.unlink()
    make: tuple[Callable[[], object], ...] = (
        lambda: os.mkfifo(path),
        path.mkdir,
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("/nowhere/Zebulon"),
        lambda: path.with_name(os.fsdecode(b"\xff") + path.name).write_bytes(content),
        lambda: path.with_name("." + path.name).write_bytes(content),
        lambda: None,
    )
    rng.choice(make)()


def _copied(folder: Path, rng: random.Random) -> None:
    files = _files(folder)
    if files:
        _free(folder, rng).write_bytes(rng.choice(files).read_bytes())


DAMAGES = (_loop, _self, _pipe, _device, _socket, _deep, _empty, _emptied, _emptied, _replaced, _replaced, _copied)
