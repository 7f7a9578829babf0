"""The files below a folder of a source, and what in it could not be looked at."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.dataset_conversion.problems import Problem, warning

_GIT_ANNEX = "/.git/annex/objects/"


@dataclass
class SourceFiles:
    """What lies below a folder, each list sorted by path.

    Parameters
    ----------
    files
        Regular files, also behind links.
    hidden
        Number of files whose name, or that of a folder above them, begins with a dot.
    links
        Links that lead nowhere, or back to a folder above them.
    annexed
        Those of them that git-annex made, for files that were never fetched.
    special
        Pipes, sockets and devices.
    closed
        Folders, and rarely files, that cannot be opened.
    """

    files: list[Path] = field(default_factory=list)
    hidden: int = 0
    links: list[Path] = field(default_factory=list)
    annexed: list[Path] = field(default_factory=list)
    special: list[Path] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)

    @property
    def unseen(self) -> tuple[Path, ...]:
        """All that could not be looked at."""
        return tuple(sorted((*self.links, *self.special, *self.closed)))

    def warnings(self) -> list[Problem]:
        """A warning for each kind of what could not be looked at; names stay private."""
        found = []
        if others := len(self.links) - len(self.annexed):
            found.append(
                warning(
                    "source",
                    f"{others} links lead to no file",
                    "links to files that are there",
                    "The private mapping names them; copy what they should lead to",
                )
            )
        if self.annexed:
            found.append(
                warning(
                    "source",
                    f"{len(self.annexed)} files were never fetched: their links by git-annex lead nowhere",
                    "the files themselves",
                    "Fetch them with `git annex get` or `datalad get`; the private mapping names them",
                )
            )
        if self.special:
            found.append(
                warning(
                    "source",
                    f"{len(self.special)} pipes, sockets or devices cannot be read",
                    "regular files",
                    "The private mapping names them",
                )
            )
        if self.closed:
            found.append(
                warning(
                    "source",
                    f"{len(self.closed)} folders cannot be opened, and what they hold was not looked at",
                    "folders that may be read",
                    "Change their permissions and convert again; the private mapping names them",
                )
            )
        return found


def look_below(folder: Path) -> SourceFiles:
    """Walk through a folder, following links to other folders; a folder is walked once.

    Parameters
    ----------
    folder
        One that does not exist holds nothing.
    """
    found = SourceFiles()
    if folder.is_dir():
        _walk(folder, found)
    for paths in (found.files, found.links, found.annexed, found.special, found.closed):
        paths.sort()
    return found


def _walk(root: Path, found: SourceFiles) -> None:
    status = root.stat()
    walked = {(status.st_dev, status.st_ino)}
    pending = [(root, False)]
    while pending:
        here, hidden = pending.pop()
        try:
            entries = sorted(os.scandir(here), key=lambda entry: entry.name)
        except OSError:
            found.closed.append(here)
            continue
        for entry in entries:
            concealed = hidden or entry.name.startswith(".")
            behind = _status(entry)
            if behind is not None and stat.S_ISDIR(behind.st_mode):
                identity = behind.st_dev, behind.st_ino
                if identity not in walked:
                    walked.add(identity)
                    pending.append((Path(entry.path), concealed))
            elif concealed:
                found.hidden += 1
            else:
                _put(entry, behind, found)


def _put(entry: os.DirEntry[str], behind: os.stat_result | None, found: SourceFiles) -> None:
    path = Path(entry.path)
    if behind is None and not entry.is_symlink():
        found.closed.append(path)  # deeper than a path can name, or without the right to look
    elif behind is None:
        found.links.append(path)
        if _GIT_ANNEX in f"/{path.readlink()}":
            found.annexed.append(path)
    elif stat.S_ISREG(behind.st_mode):
        found.files.append(path)
    else:
        found.special.append(path)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    """What is behind an entry; None if nothing is, or it cannot be looked at."""
    try:
        return entry.stat()
    except OSError:
        return None
