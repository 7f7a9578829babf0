"""Writing output so that it appears complete or not at all."""

from __future__ import annotations

import csv
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
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}. Check the path.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read as UTF-8 text ({error.__class__.__name__}).") from error


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
        raise BadInput(f"{path} has no column {', '.join(missing)}. Found: {', '.join(header) or 'no header'}.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadInput(f"{path} has two columns {', '.join(twice)}. Keep one of each.")
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
    parent = make_folder(folder.parent)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial.", dir=parent))
    staging.chmod(0o755)
    try:
        yield staging
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
