"""The folder of a report: it appears complete or not at all, lists its files, and replaces nothing but a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_spine.errors import NnunetSpineError, NotWritable
from nnunet_spine.files import make_folder, read_json, replacing_folder, sha256, staged_folder, write_json

CONTENTS_FILE = "contents.json"


@contextmanager
def report_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder, and put it at `folder` when the block ends well, in the place of an earlier report.

    Raises
    ------
    NotWritable
        Where `folder` holds anything that an earlier report does not list, or cannot be written.
    """
    is_there = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_there and (foreign := _foreign(folder)):
        raise NotWritable(
            f"{folder} holds what is not of a report ({foreign}). Nothing was changed. Choose another folder, or move "
            "that away."
        )
    with (replacing_folder if is_there else staged_folder)(folder) as staging:
        yield staging


def put(folder: Path, name: str, content: bytes | str) -> None:
    """Write a file of the report, `name` with / for folders."""
    path = folder / name
    make_folder(path.parent)
    try:
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except OSError as error:
        raise NotWritable(
            f"Cannot write {name} of the report: {error.strerror or error}. Nothing was changed."
        ) from error


def write_contents(folder: Path, about: dict[str, Any]) -> None:
    """List the files with their SHA-256; `about` goes on top."""
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in _files(folder)}
    write_json(folder / CONTENTS_FILE, {**about, "files": files})


def _foreign(folder: Path) -> str:
    """A file that an earlier report here does not list, or ""."""
    if not folder.is_dir():
        return "it is a file"
    try:
        listed = set(read_json(folder / CONTENTS_FILE)["files"]) | {CONTENTS_FILE}
    except (NnunetSpineError, KeyError, TypeError):
        return f"there is no {CONTENTS_FILE} of a report in it"
    return next((name for path in _files(folder) if (name := path.relative_to(folder).as_posix()) not in listed), "")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())
