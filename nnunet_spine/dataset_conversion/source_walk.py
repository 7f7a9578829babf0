"""The files below a folder, and what there could not be looked at: links that lead nowhere, pipes, closed folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nnunet_spine.dataset_conversion.problems import Problem, note, warning

FETCH = "Fetch it with `git annex get` or `datalad get`"
_ANNEX = "annex/objects/"
_POINTER_STARTS = (b"/annex/objects/", b"version https://git-lfs.github.com/spec/", b"../", b".git/annex/objects/")
_LARGEST_POINTER = 1024


class Absent(StrEnum):
    """Why what a name stands for cannot be read."""

    UNFETCHED = "a link that leads nowhere (a git-annex file that was not fetched)"
    DANGLING = "a link that leads nowhere"
    POINTER = "a pointer of git-annex or Git LFS, whose file was not fetched"
    SPECIAL = "a pipe, a socket or a device"
    CLOSED_FILE = "a file that may not be read"
    CLOSED_FOLDER = "a folder that cannot be read"
    LINKED = "a link to a folder, which is not followed"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        if self in (Absent.UNFETCHED, Absent.POINTER):
            return FETCH
        if self in (Absent.CLOSED_FILE, Absent.CLOSED_FOLDER):
            return "Check its permissions"
        return "Restore the file that it leads to" if self is Absent.DANGLING else "Put the file itself in its place"


_COUNTED = {
    Absent.UNFETCHED: "{} links lead nowhere (git-annex files that were not fetched: `git annex get` or `datalad get`)",
    Absent.DANGLING: "{} links lead nowhere",
    Absent.POINTER: "{} files are pointers of git-annex or Git LFS, whose content was not fetched",
    Absent.SPECIAL: "{} pipes, sockets or devices were not read",
    Absent.CLOSED_FILE: "{} files may not be read",
    Absent.CLOSED_FOLDER: "{} folders cannot be read, whatever they hold",
    Absent.LINKED: "{} links to folders were not followed",
}


@dataclass
class Walk:
    """What lies below a folder.

    Parameters
    ----------
    files
        Regular files, sorted by path.
    absent
        What could not be looked at, by path.
    hidden
        Number of files whose name, or a folder's on their way, begins with a dot.
    """

    files: list[Path] = field(default_factory=list)
    absent: dict[Path, Absent] = field(default_factory=dict)
    hidden: int = 0

    @property
    def absent_files(self) -> int:
        """Number of what could not be looked at and is no folder."""
        return sum(why not in (Absent.CLOSED_FOLDER, Absent.LINKED) for why in self.absent.values())


def walk(folder: Path) -> Walk:
    """Look at everything below a folder; of links to folders, itself and those right below it are followed."""
    found = Walk()
    waiting = [folder]  # no recursion: folders may be nested deeper than Python's stack
    while waiting:
        parent = waiting.pop()
        try:
            with os.scandir(parent) as scan:
                entries = [(entry.name, _is_folder(entry, follow=parent == folder)) for entry in scan]
        except OSError:
            found.absent[parent] = Absent.CLOSED_FOLDER
            continue
        for name, is_folder in entries:
            path = parent / name
            if name.startswith("."):
                found.hidden += sum(len(files) for _, _, files in os.walk(path)) if is_folder else 1
            elif is_folder:
                waiting.append(path)
            elif why := why_absent(path):
                found.absent[path] = why
            else:
                found.files.append(path)
    found.files.sort()
    return found


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def why_absent(path: Path) -> Absent | None:
    """Why a file cannot be read; None for a regular file that can, and for a name of nothing at all."""
    try:
        mode = path.stat().st_mode
    except PermissionError:
        return Absent.CLOSED_FILE
    except (OSError, ValueError):
        return _why_dangling(path)
    if stat.S_ISDIR(mode):
        return Absent.LINKED
    if not stat.S_ISREG(mode):
        return Absent.SPECIAL
    if not os.access(path, os.R_OK):
        return Absent.CLOSED_FILE
    return Absent.POINTER if _is_pointer(path) else None


def _why_dangling(path: Path) -> Absent | None:
    try:
        target = str(path.readlink())
    except (OSError, ValueError):  # there is nothing, not even a link
        return None
    return Absent.UNFETCHED if _ANNEX in target.replace("\\", "/") else Absent.DANGLING


def _is_pointer(path: Path) -> bool:
    """Whether a small file stands for another, as git-annex and Git LFS write it where there can be no links."""
    if path.stat().st_size > _LARGEST_POINTER:
        return False
    with path.open("rb") as stream:
        start = stream.read(_LARGEST_POINTER)
    return start.startswith(_POINTER_STARTS) and (b"git-lfs" in start or _ANNEX.encode() in start)


def notes_on(absent: Mapping[Path, Absent]) -> list[Problem]:
    """How many things could not be looked at, by reason; folders that are closed may hide cases."""
    counts = Counter(absent.values())
    named = "The private mapping names them"
    return [
        warning("source", _COUNTED[why].format(counts[why]), "to look at everything", named)
        if why is Absent.CLOSED_FOLDER
        else note("source", _COUNTED[why].format(counts[why]), remedy=named)
        for why in Absent
        if counts[why]
    ]
