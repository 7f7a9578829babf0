"""Writing output so that it appears complete or not at all."""

from __future__ import annotations

import csv
import ctypes
import fcntl
import glob
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable

PRIVATE_MODE = 0o600


def make_folder(folder: Path) -> Path:
    """Create `folder` with its parents and return it.

    Raises
    ------
    NotWritable
        Where it cannot be created, or a file stands in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotWritable(
            f"Cannot create the folder {folder}: {error.strerror or error}. "
            "Choose an output folder that you can write to, or remove what is in the way."
        ) from error
    if not os.access(folder, os.W_OK):
        raise NotWritable(f"The folder {folder} is not writable. Choose another one, or change its permissions.")
    return folder


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there when the block ends well.

    The temporary name keeps the suffixes of `path`, since writers choose their
    format by them. Where the block raises, nothing is left behind and an
    earlier file at `path` is untouched.

    Raises
    ------
    NotWritable
        Where the folder cannot be created or written.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{os.getpid()}.partial.{path.name}"
    try:
        yield temporary
        temporary.replace(path)
    except NnunetSpineError:
        raise
    except OSError as error:
        raise NotWritable(f"Cannot write {path}: {error.strerror or error}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write `content` to `path`, complete or not at all, with permissions `mode`."""
    with replacing(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)


def write_text(path: Path, content: str, *, mode: int = 0o644) -> None:
    """Write `content` to `path` as UTF-8, complete or not at all."""
    write_bytes(path, content.encode("utf-8"), mode=mode)


def json_text(content: Any) -> str:
    """JSON text of `content` with stable key order; NaN is refused, since it is not JSON."""
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_json(path: Path, content: Any, *, mode: int = 0o644) -> None:
    """Write `content` to `path` as JSON with stable key order; NaN is refused, since it is not JSON."""
    write_text(path, json_text(content), mode=mode)


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text of `rows` with a header; None becomes an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{c: "" if row.get(c) is None else row[c] for c in columns} for row in rows])
    return stream.getvalue()


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, mode: int = 0o644) -> None:
    """Write `rows` to `path` as CSV with a header, complete or not at all."""
    write_text(path, csv_text(columns, rows), mode=mode)


def is_regular_file(path: Path) -> bool:
    """Whether a path names a file that ends, not a pipe or a device; False also where the path is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, a byte-order mark removed.

    Raises
    ------
    NotFound
        Where there is no such file.
    BadInput
        Where it cannot be read as UTF-8 text.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would block
            raise BadInput(f"{path} is a folder, a pipe or a device. Give a file of text.")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}. Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path} cannot be read as UTF-8 text ({error.__class__.__name__}). Save it as UTF-8."
        ) from error


def read_json(path: Path) -> Any:
    """Content of a JSON file; `NotFound` or `BadInput` as for `read_text`, or where it is not JSON."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error


def read_csv(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header, each value stripped.

    Raises
    ------
    NotFound, BadInput
        As for `read_text`; BadInput also where a column of `required` is absent, a column stands twice, a row has
        more fields than the header, or a quotation mark is never closed.
    """
    try:
        return _csv_rows(path, required)
    except csv.Error as error:
        raise BadInput(f"{path} is not valid CSV: {error}. Check its quotation marks.") from error


def _csv_rows(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    header = [name.strip() for name in reader.fieldnames or []]
    missing = [name for name in required if name not in header]
    if missing:
        what = f"no column {', '.join(missing)}" if header else "no header"
        raise BadInput(f"{path} has {what}. Give a first line with the columns {', '.join(required)}.")
    twice = {name for name in header if header.count(name) > 1}
    if twice:  # told only where they are ours: a file without header would have its first row told
        names = sorted(twice.intersection(required))
        raise BadInput(f"{path} has two columns {', '.join(names) or 'of one name'}. Keep one of each.")
    rows = []
    for row in reader:
        if None in row:
            raise BadInput(
                f"{path}, line {reader.line_num}: more fields than the header has. Quote values with commas."
            )
        rows.append({key.strip(): (value or "").strip() for key, value in row.items()})
    return rows


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and rename it there when the block ends well.

    Raises
    ------
    NotWritable
        Where `folder` already exists and is not empty, or its parent cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise NotWritable(f"{folder} already exists and is not empty. Remove it, or choose another place.")
    with _staging_beside(folder) as staging:
        yield staging
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and put it in the place of `folder` when the block ends well.

    The change is one step of the file system (`exchange`); the earlier folder is removed after it.
    """
    with _staging_beside(folder) as staging:
        yield staging
        exchange(staging, folder)


@contextmanager
def _staging_beside(folder: Path) -> Iterator[Path]:
    """An empty folder, locked as long as its maker lives, which is removed at the end with whatever is in it then."""
    parent = make_folder(folder.parent)
    remove_abandoned(folder)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial.", dir=parent))
    staging.chmod(0o755)
    lock = _locked(staging)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in making `folder`, and give back what one had moved away and not replaced."""
    moved = _moved_away(folder)
    if moved.exists() and not folder.exists():
        moved.rename(folder)
    for staging in [*folder.parent.glob(f".{folder.name}.partial.*"), moved]:
        lock = _locked(staging) if staging.is_dir() else None
        if lock is not None:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Descriptor that locks a folder, or None where a living process has it; a dead one's lock is gone with it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep other processes from making or replacing `folder`, by a lock beside it that ends with this process.

    Where the block raises, folders that had to be made for the lock are removed if they are empty. A file system
    without locks is trusted.

    Raises
    ------
    NotWritable
        Where another process is at work on `folder`, or its parent cannot be written.
    """
    missing = [parent for parent in folder.parents if not parent.exists()]
    path = make_folder(folder.parent) / f".{folder.name}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if not _is_mine(descriptor, path):
            raise NotWritable(f"Another process is changing {folder}. Wait until it has ended, and run again.")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
    except BaseException:
        for parent in missing:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
        raise
    finally:
        os.close(descriptor)


def _is_mine(descriptor: int, path: Path) -> bool:
    """Whether this process got the lock, on the file that has the name."""
    return got_lock(descriptor) and (path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino)


def got_lock(descriptor: int) -> bool:
    """Lock an open file for this process where no other has it; whether it has it now.

    The lock ends with the descriptor, so with the process. A file system without locks is trusted.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def remove_partial(path: Path) -> None:
    """Remove what killed processes left in writing `path`; to be called by its sole writer."""
    for partial in path.parent.glob(f".*.partial.{glob.escape(path.name)}"):
        partial.unlink(missing_ok=True)


def exchange(one: Path, other: Path) -> None:
    """Swap the names of two folders in one step.

    Where the file system cannot, `other` is moved away first and removed after; a process that is killed in between
    leaves it there, and `remove_abandoned` gives it back.
    """
    if _exchanged(one, other):
        return
    moved = _moved_away(other)
    other.rename(moved)
    one.rename(other)
    moved.rename(one)


def _moved_away(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.moved")


def _exchanged(one: Path, other: Path) -> bool:
    """Linux's renameat2 with RENAME_EXCHANGE; False where the C library or the file system does not have it."""
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "renameat2"):
        return False
    here, exchange_flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(library.renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange_flag) == 0)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it with its times where the file system has no such names."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
