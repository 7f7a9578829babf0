"""The files below a folder of a source, and what there cannot be read: dangling links, pipes, closed folders."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from nnunet_spine.dataset_conversion.problems import Problem, warning

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
}


@dataclass
class SourceFiles:
    """What lies below a folder.

    Parameters
    ----------
    files
        Regular files, also behind links, sorted by path.
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
        return sum(why is not Absent.CLOSED_FOLDER for why in self.absent.values())

    def warnings(self) -> list[Problem]:
        """A warning for each reason why something could not be looked at; names stay private."""
        counts, named = Counter(self.absent.values()), "The private mapping names them"
        return [
            warning("source", _COUNTED[why].format(counts[why]), "to look at everything", named)
            for why in Absent
            if counts[why]
        ]


def look_below(folder: Path, *, nested: bool = True) -> SourceFiles:
    """Walk through a folder, following links to other folders; a folder is walked once, by a link's name first.

    Parameters
    ----------
    folder
        One that does not exist holds nothing.
    nested
        Whether to enter the folders below it.
    """
    found = SourceFiles()
    if folder.is_dir():
        _walk(folder, found, nested=nested)
    found.files.sort()
    return found


def why_absent(path: Path) -> Absent | None:
    """Why a file cannot be read; None for a regular file that can, and for a name of nothing at all."""
    try:
        status = path.stat()
    except PermissionError:
        return Absent.CLOSED_FILE
    except (OSError, ValueError):
        return _why_dangling(path)
    return _why_unreadable(path, status)


def _walk(root: Path, found: SourceFiles, *, nested: bool) -> None:
    walked: set[tuple[int, int]] = set()
    visible, hidden = [(root, root.stat())], list[tuple[Path, os.stat_result]]()  # no recursion: folders may be deep
    while visible or hidden:  # hidden ones last: a folder found under a plain name as well does not count as hidden
        concealed = not visible
        here, own = (visible or hidden).pop()
        if (own.st_dev, own.st_ino) in walked:
            continue
        walked.add((own.st_dev, own.st_ino))
        try:
            entries = sorted(os.scandir(here), key=lambda entry: (entry.is_symlink(), entry.name))
        except OSError:
            found.absent[here] = Absent.CLOSED_FOLDER
            continue
        for entry in entries:
            path, status, unseen = Path(entry.path), _status(entry), concealed or entry.name.startswith(".")
            if status is not None and stat.S_ISDIR(status.st_mode):
                if nested:
                    (hidden if unseen else visible).append((path, status))
            elif status is None and entry.is_dir(follow_symlinks=False):  # deeper than a path can name
                found.absent[path] = Absent.CLOSED_FOLDER
            else:
                _put(path, status, unseen, found)


def _put(path: Path, status: os.stat_result | None, unseen: bool, found: SourceFiles) -> None:
    if unseen:
        found.hidden += 1
    elif why := why_absent(path) if status is None else _why_unreadable(path, status):
        found.absent[path] = why
    else:
        found.files.append(path)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What is behind an entry; None if nothing is, or it cannot be looked at."""
    try:
        return entry.stat()
    except OSError:
        return None


def _why_unreadable(path: Path, status: os.stat_result) -> Absent | None:
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        return Absent.SPECIAL
    if not os.access(path, os.R_OK):
        return Absent.CLOSED_FILE
    return Absent.POINTER if status.st_size <= _LARGEST_POINTER and _is_pointer(path) else None


def _why_dangling(path: Path) -> Absent | None:
    try:
        target = str(path.readlink())
    except (OSError, ValueError):  # there is nothing, not even a link
        return None
    return Absent.UNFETCHED if _ANNEX in target.replace("\\", "/") else Absent.DANGLING


def _is_pointer(path: Path) -> bool:
    """Whether a small file stands for another, as git-annex and Git LFS write it where there can be no links."""
    with path.open("rb") as stream:
        start = stream.read(_LARGEST_POINTER)
    return start.startswith(_POINTER_STARTS) and (b"git-lfs" in start or _ANNEX.encode() in start)
