"""Places that a path may name: what file systems hold besides files and folders, and names that nobody expects."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

FOREIGN = "foreign"
"""How the names of files and folders begin that no command may touch."""

NAMES = (
    *("{braces}", "{case}", "#hash", "a: b", "it's", 'double"quote', "new\nline", "tab\tname", "Größe_ß", "é", "名前"),
    *(os.fsdecode(b"not\xff\xfeutf8"), "\x1b[31mred", "%s%n", "$(touch foreign_x)", "`id`", "a;b", "-rf", "--json"),
    *(
        "y" * 250,
        "a*b?",
        "[ab]",
        " leading",
        "trailing ",
        "a\\b",
        "..hidden",
        ".hidden",
        "CON",
        "~",
        "a,b",
        "x" * 200,
        "a.b.c",
    ),
)
"""Names that a file system takes."""

IMPOSSIBLE = ("", " ", "\0", "a\0b", "x" * 300, "x/" * 3000, "x" * 5000)
"""Paths that no file can have, or that say nothing."""

ELSEWHERE = ("/proc/nnunet_spine", "/proc/self/nothing/x", "/sys/nnunet_spine", "/proc/1/fd/x")
"""Places where nobody can write, root neither."""

ENDLESS = ("/dev/zero", "/dev/full", "/dev/null", "/proc/self/mem", "/proc/self/environ", "/dev/stdin")
"""Devices that a command must not read as a file."""


def put_foreign(folder: Path) -> None:
    """Write a folder of things that belong to somebody else."""
    folder.mkdir()
    (folder / "foreign_file.txt").write_text("not yours\n")
    (folder / "foreign_folder").mkdir()
    (folder / "foreign_folder" / "foreign_inner.csv").write_text("case,dice\nx,1\n")


def _socket(path: Path) -> None:
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as one:  # the path of a socket is short
        one.bind("s")
        Path("s").rename(path.name)


def _device(path: Path) -> None:
    """A device of its own, since a command that replaces it must not harm the machine; a link to one for users."""
    try:
        os.mknod(path, 0o020666, os.makedev(1, 3))
    except PermissionError:
        path.symlink_to("/dev/null")


def _full(path: Path) -> None:
    path.mkdir()
    (path / "foreign_notes.txt").write_text("not yours\n")
    (path / "manifest.json").write_text('{"foreign": true}')


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _closed(path: Path, mode: int) -> None:
    """A folder with these permissions."""
    path.mkdir()
    (path / "foreign_secret.csv").write_text("a,b\n")
    path.chmod(mode)


def _closed_file(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0)


KINDS: dict[str, Callable[[Path, Path], object]] = {
    "file": lambda path, _: path.write_text("not what is expected\n"),
    "empty file": lambda path, _: path.write_bytes(b""),
    "folder": lambda path, _: path.mkdir(),
    "full folder": lambda path, _: _full(path),
    "device": lambda path, _: _device(path),
    "pipe": lambda path, _: os.mkfifo(path),
    "socket": lambda path, _: _socket(path),
    "link to a file": lambda path, foreign: path.symlink_to(foreign / "foreign_file.txt"),
    "link to a folder": lambda path, foreign: path.symlink_to(foreign / "foreign_folder"),
    "dangling link": lambda path, foreign: path.symlink_to(foreign / "foreign_nothing"),
    "loop": lambda path, _: _loop(path),
    "link to a device": lambda path, _: path.symlink_to("/dev/null"),
    "closed folder": lambda path, _: _closed(path, 0),
    "folder without search": lambda path, _: _closed(path, 0o444),
    "read-only folder": lambda path, _: _closed(path, 0o555),
    "closed file": lambda path, _: _closed_file(path),
}
"""How each kind of thing is made at a path, with the folder of foreign things."""


def put_odd(path: Path, foreign: Path, rng: random.Random) -> str:
    """Put something odd at a path where nothing is; its kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = rng.choice(sorted(KINDS))
    KINDS[kind](path, foreign)
    return kind


def odd_input(work: Path, foreign: Path, rng: random.Random) -> str:
    """A path that cannot be read as what is expected."""
    choice = rng.random()
    if choice < 0.2:
        return rng.choice(IMPOSSIBLE)
    if choice < 0.35:
        return rng.choice(ENDLESS)
    if choice < 0.5:
        return rng.choice(("nowhere", "nowhere/a/b", ".", "..", "/proc", "/", "~nobody_here", "-", "file:///etc", "*"))
    path = work / "odd" / rng.choice(NAMES)
    kind = put_odd(path, foreign, rng)
    return f"{path}/below" if kind != "loop" and rng.random() < 0.15 else str(path)


def odd_output(work: Path, foreign: Path, rng: random.Random) -> str:
    """A path that cannot be written, that holds something else, or that has an odd name."""
    choice = rng.random()
    if choice < 0.15:
        return rng.choice(IMPOSSIBLE)
    if choice < 0.25:
        return rng.choice(ELSEWHERE)
    if choice < 0.5:
        return str(work / "new" / rng.choice(NAMES))
    path = work / "odd" / rng.choice(NAMES)
    put_odd(path, foreign, rng)
    return f"{path}/below/it" if rng.random() < 0.2 else str(path)
