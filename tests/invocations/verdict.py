"""What must hold of an invocation, whatever it was given."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from invocation import Invocation
from places import FOREIGN

CODES = frozenset({0, 1, 2, 75, 130})
LONGEST_LINE = 4000
MOST_LINES = 60
_EXCEPTION = re.compile(r"\b(?!NnunetSpineError)[A-Z][A-Za-z]*(Error|Exception|Warning|Interrupt)\b")
_OURS = re.compile(r"(nnunet-spine[ a-z-]*: )?(error|warning|note|usage): ")
_DEFECT = "This is a defect of nnunet-spine"
_HIDDEN = re.compile(r"\.partial|\.lock$|\.moved$")


@dataclass(frozen=True)
class Thing:
    """What is at a path: its kind and permissions, which one it is, its size, and what it holds or leads to."""

    mode: int
    inode: int
    size: int
    content: str

    @property
    def is_regular(self) -> bool:
        """Whether it is a file."""
        return stat.S_ISREG(self.mode)

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return stat.S_ISDIR(self.mode)


def snapshot(place: Path) -> dict[Path, Thing]:
    """Everything below a folder, by its path; links are not followed."""
    found = {}
    for parent, folders, files in os.walk(place):
        for name in (*folders, *files):
            path = Path(parent, name)
            try:
                told = path.lstat()
            except OSError:  # in a folder that cannot be searched, or too deep
                continue
            content = ""
            if stat.S_ISLNK(told.st_mode):
                content = str(path.readlink())
            elif stat.S_ISREG(told.st_mode) and os.access(path, os.R_OK):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            size = 0 if stat.S_ISDIR(told.st_mode) else told.st_size
            found[path] = Thing(told.st_mode, told.st_ino, size, content)
    return found


def complaints(
    made: Invocation, code: object, printed: str, errors: str, before: dict[Path, Thing], after: dict[Path, Thing]
) -> Iterator[str]:
    """Whatever is wrong with an invocation that has ended."""
    yield from _said(made, code, printed, errors)
    yield from _touched(made, code, before, after)


def _said(made: Invocation, code: object, printed: str, errors: str) -> Iterator[str]:
    everything = printed + errors
    if code not in CODES:
        yield f"exit code {code!r}"
    if "Traceback" in everything:
        yield "a traceback was printed"
    if _DEFECT in everything:
        yield "it says that it is a defect"
    if made.sound.command == "exec":
        return  # nnU-Net's own words
    told = printed.strip() if code == 1 else ""  # what was left out is part of a result
    if made.output == "file" and code in (1, 2, 75, 130) and not (told or _OURS.search(errors)):
        yield "it failed without a message"
    if found := _EXCEPTION.search(errors):
        yield f"the name of an exception: {found[0]}"
    if any(len(line) > LONGEST_LINE for line in errors.splitlines()) or errors.count("\n") > MOST_LINES:
        yield f"a message of {errors.count(chr(10))} lines, {len(errors)} characters"
    as_json = "--json" in made.words and "--snakefile" not in made.words
    if made.output == "file" and as_json and code in (0, 1) and printed and not _is_json(printed):
        yield "something that is no JSON was printed"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError):
        return False
    return True


def _touched(made: Invocation, code: object, before: dict[Path, Thing], after: dict[Path, Thing]) -> Iterator[str]:
    writable = made.writable()
    for path in sorted({*before, *after}):
        was, now = before.get(path), after.get(path)
        if was == now:
            continue
        name = os.fsencode(path.relative_to(made.work.parent)).decode(errors="backslashreplace")
        allowed = any(path == place or path.is_relative_to(place) for place in writable)
        if was is None and now is not None:
            yield from _new(made, code, path, now, name, allowed=allowed, writable=writable)
        elif was is not None and not (was.is_regular or was.is_folder):
            yield f"what is no file was touched: {name}"
        elif FOREIGN in path.name or not allowed:
            yield f"{'changed' if now else 'removed'}: {name}"


def _new(
    made: Invocation, code: object, path: Path, now: Thing, name: str, *, allowed: bool, writable: list[Path]
) -> Iterator[str]:
    if _HIDDEN.search(path.name) or any(_HIDDEN.search(part) for part in path.relative_to(made.work.parent).parts):
        yield f"left behind: {name}"
    elif not allowed:
        if not (now.is_folder and any(place.is_relative_to(path) for place in writable)):
            yield f"written elsewhere: {name}"
    elif code == 2 and not now.is_folder and not made.sound.keeps:
        yield f"written though refused: {name}"
    elif code == 2 and now.is_folder and not made.sound.keeps:
        yield f"a folder made though refused: {name}"
