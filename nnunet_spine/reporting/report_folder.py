"""The folder of a report: it appears complete or not at all, lists its files, and replaces nothing but a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from nnunet_spine.errors import NnunetSpineError, NotWritable
from nnunet_spine.files import (
    folder_content,
    is_folder,
    is_regular_file,
    make_folder,
    read_object,
    real_folder,
    replacing_folder,
    sha256,
    staged_folder,
    system_reason,
    writable_text,
    write_json,
)
from nnunet_spine.locks import sole_writer

CONTENTS_FILE = "contents.json"


@contextmanager
def report_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder, and put it at `folder` when the block ends well, in the place of an earlier report.

    Raises
    ------
    NotWritable
        If `folder` holds anything that an earlier report does not list, cannot be written, or another process is
        writing it.
    """
    folder = real_folder(folder)
    with sole_writer(folder):
        is_there = _is_report(folder)
        with (replacing_folder if is_there else staged_folder)(folder) as staging:
            yield staging


def _is_report(folder: Path) -> bool:
    """Whether an earlier report stands at a place, and nothing else; False if nothing does."""
    if not os.path.lexists(folder):
        return False
    if is_folder(folder) and not folder_content(folder):
        return False
    if foreign := _foreign(folder) if is_folder(folder) else "it is a file":
        raise NotWritable(
            f"{folder} holds what is not of a report ({foreign}). Nothing was changed. Choose another folder, or move "
            "that away."
        )
    return True


def put(folder: Path, name: str, content: bytes | str) -> None:
    """Write a file of the report, `name` with / for folders."""
    path = folder / name
    make_folder(path.parent)
    try:
        path.write_bytes(writable_text(content).encode("utf-8") if isinstance(content, str) else content)
    except (OSError, ValueError) as error:
        raise NotWritable(f"Cannot write {name} of the report: {system_reason(error)}. Nothing was changed.") from error


def write_contents(folder: Path, about: dict[str, Any]) -> None:
    """List the files with their SHA-256; `about` goes on top."""
    files = {path.relative_to(folder).as_posix(): sha256(path) for path in _below(folder) if path.is_file()}
    write_json(folder / CONTENTS_FILE, {**about, "files": files})


def _foreign(folder: Path) -> str:
    """Something that an earlier report here does not list, or ""."""
    try:
        content = read_object(folder / CONTENTS_FILE)
    except NnunetSpineError:
        content = {}
    listed = content.get("files")
    if not isinstance(listed, dict) or "models" not in content:
        return f"there is no {CONTENTS_FILE} of a report in it"
    files = {CONTENTS_FILE, *listed}
    folders = {parent.as_posix() for name in listed for parent in PurePosixPath(name).parents}
    return next((name for path in _below(folder) if (name := _unlisted(path, folder, files, folders))), "")


def _unlisted(path: Path, folder: Path, files: set[str], folders: set[str]) -> str:
    """The name of a thing in a report's folder that is no file or folder of the report, or ""."""
    name = path.relative_to(folder).as_posix()
    listed = (is_regular_file(path) and name in files) or (is_folder(path) and name in folders)
    return "" if listed and not path.is_symlink() else name


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))
