"""Writing output so that it appears complete or not at all."""

from __future__ import annotations

import codecs
import csv
import ctypes
import fcntl
import glob
import hashlib
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import zip_longest
from pathlib import Path
from typing import Any

from nnunet_spine.errors import BadInput, NnunetSpineError, NotFound, NotWritable

PRIVATE_MODE = 0o600

MOST_TEXT_BYTES = 2**29
"""A text file beyond this size is not ours; reading it could take all memory."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""What separates values of a CSV file that a person saved."""

_SEPARATOR_HINT = re.compile(r'"?sep=([^\w\s"]|\t)"?\r?\n', re.IGNORECASE)
"""A first line that names the separator to spreadsheets."""

_FORMULA = re.compile("'*[=+\\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""Beginnings of a cell that a spreadsheet takes for a formula (the last four: full-width), also behind apostrophes.

Source: OWASP, CSV Injection.
"""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def make_folder(folder: Path) -> Path:
    """Create `folder` with its parents and return it.

    Raises
    ------
    NotWritable
        Where it cannot be created, or a file stands in its place.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise NotWritable(
            f"Cannot create the folder {folder}: {system_reason(error)}. "
            "Choose an output folder that you can write to, or remove what is in the way."
        ) from error
    if not os.access(folder, os.W_OK):
        raise NotWritable(f"The folder {folder} is not writable. Choose another one, or change its permissions.")
    return folder


def system_reason(error: Exception) -> str:
    """What the system says of a file that it cannot open, in words; never the file's name."""
    if isinstance(error, OSError):
        return error.strerror or "the system gives no reason"
    return "the name holds a character that no file name can have" if isinstance(error, ValueError) else "unknown"


def check_output(path: Path) -> None:
    """Check that a file may be written to a place: it is new, or a regular file.

    Raises
    ------
    NotWritable
        If a folder, a device, a pipe, a socket or a link is there; what the link leads to is left alone.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise NotWritable(f"Cannot write {path}: {system_reason(error)}. Choose another place.") from error
    if not stat.S_ISREG(mode):
        kind = next((words for test, words in _KINDS if test(mode)), "no regular file")
        raise NotWritable(f"{path} is {kind}; expected a regular file or nothing. Choose another place, or remove it.")


_KINDS = (
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and move it there when the block ends well.

    The temporary name keeps the suffixes of `path`, since writers choose their
    format by them. Where the block raises, nothing is left behind and an
    earlier file at `path` is untouched.

    Raises
    ------
    NotWritable
        If the folder cannot be created or written, or `path` is no regular file.
    """
    check_output(path)
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
        with suppress(OSError):  # whatever kept it from being made
            temporary.unlink()


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
    """JSON text of `content` with stable key order; NaN is refused, since it is not JSON.

    What is no text in a name of a file that is not UTF-8 becomes JSON's escape of it.
    """
    return writable_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def writable_text(text: str) -> str:
    """Text that UTF-8 can hold: what is no character, as in file names that are not UTF-8, becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, content: Any, *, mode: int = 0o644) -> None:
    """Write `content` to `path` as JSON with stable key order; NaN is refused, since it is not JSON."""
    write_text(path, json_text(content), mode=mode)


def csv_text(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text of `rows` with a header; None becomes an empty field.

    A cell of text that a spreadsheet would take for a formula begins with an apostrophe, which `read_csv` removes.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{c: "" if row.get(c) is None else _neutral(row[c]) for c in columns} for row in rows])
    return stream.getvalue()


def _neutral(value: Any) -> Any:
    """A cell that starts no formula; numbers stay, whether or not they are text."""
    if isinstance(value, str) and _FORMULA.match(value) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value


def _original(cell: str) -> str:
    """What `_neutral` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]], *, mode: int = 0o644) -> None:
    """Write `rows` to `path` as CSV with a header, complete or not at all."""
    write_text(path, csv_text(columns, rows), mode=mode)


def obstacle(path: Path) -> str:
    """Name what keeps a path from being read as a file, such as "a pipe"; "" for a regular file, and if there is none.

    A link to a regular file is one.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return "a link to a file that is missing" if path.is_symlink() else ""
    except (OSError, ValueError) as error:
        return f"out of reach ({system_reason(error)})"
    return "" if stat.S_ISREG(mode) else next((words for test, words in _KINDS if test(mode)), "no regular file")


def is_regular_file(path: Path) -> bool:
    """Whether a path names a file that ends, not a pipe or a device; False also where the path is too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def is_folder(path: Path) -> bool:
    """Whether a path names a folder that can be looked up; a link to one is."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def folder_content(folder: Path) -> list[Path]:
    """List what a folder holds, sorted.

    Raises
    ------
    BadInput
        If it cannot be read.
    """
    try:
        return [folder / name for name in sorted(os.listdir(folder))]  # noqa: PTH208 - paths are compared slowly
    except (OSError, ValueError) as error:
        raise BadInput(
            f"The folder {folder} cannot be read: {system_reason(error)}. Check the path and its permissions."
        ) from error


def read_text(path: Path) -> str:
    """Text of a UTF-8 file, or of one in another Unicode encoding that its byte-order mark names; the mark is removed.

    Raises
    ------
    NotFound
        Where there is no such file.
    BadInput
        Where it cannot be read as such text.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would block
            raise BadInput(f"{path} is a folder, a pipe or a device. Give a file of text.")
        if path.exists() and path.stat().st_size > MOST_TEXT_BYTES:
            raise BadInput(f"{path} has more than {MOST_TEXT_BYTES // 2**20} MiB. Check that it is the right file.")
        return path.read_text(encoding=_encoding_of(path))
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise NotFound(f"There is no file {path}. Check the path.") from error
    except UnicodeDecodeError as error:
        name = "UTF-8" if error.encoding.startswith("utf-8") else error.encoding.upper()
        raise BadInput(f"{path} is not {name} text (byte {error.start + 1}). Save it as UTF-8.") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {system_reason(error)}. Check the path and its permissions.") from error


def _encoding_of(path: Path) -> str:
    """Encoding by the byte-order mark, UTF-8 if there is none."""
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises
    ------
    NotFound, BadInput
        As for `read_text`; BadInput also if it is not JSON, nested too deeply, or holds NaN or infinity.
    """
    try:
        return json.loads(read_text(path), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path} is not valid JSON: line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise BadInput(f"{path} is nested too deeply for JSON that anybody writes. Make it again.") from error
    except _NotJson as error:
        raise BadInput(f"{path} is not valid JSON: it holds {error}, which is no number. Make it again.") from error
    except ValueError as error:  # a number of more digits than Python reads
        if isinstance(error, NnunetSpineError):
            raise
        raise BadInput(f"{path} holds a number of more than 4000 digits. Make it again.") from error


class _NotJson(ValueError):
    """A constant that Python's JSON has and the standard has not."""


def _refuse_constant(name: str) -> Any:
    raise _NotJson(name)


def read_object(path: Path) -> dict[str, Any]:
    """Content of a JSON file that holds an object; errors as for `read_json`, and `BadInput` if it holds none."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"{path} holds {_json_kind(content)}; expected an object with named values. Make it again.")
    return content


def _json_kind(content: Any) -> str:
    kinds = {list: "a list", str: "a text", bool: "a truth value", type(None): "nothing"}
    return kinds.get(type(content), "a number")


def read_csv(path: Path, required: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file with a header; `numbered_rows` without the numbers."""
    return [row for _, row in numbered_rows(path, required)]


def numbered_rows(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, each with the number that a spreadsheet gives it, each value stripped.

    Values are separated by commas, semicolons or tabs, as spreadsheets of different countries do: by whichever finds
    the required columns in the header, or by what a first line such as "sep=;" names. Names of columns are taken in
    lower case. Rows and columns without any content, as spreadsheets leave them behind, are passed over.

    Raises
    ------
    NotFound, BadInput
        As for `read_text`; BadInput also if a column of `required` is absent, a column stands twice, a row has a value
        under no name, or a quotation mark is never closed.
    """
    try:
        return _csv_rows(path, required)
    except csv.Error as error:
        raise BadInput(f"{path} is not valid CSV: {error}. Check its quotation marks.") from error


def _csv_rows(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    text = read_text(path)
    hint = _SEPARATOR_HINT.match(text)
    content = text[hint.end() :] if hint else text
    separator = hint[1] if hint else _separator_of(content, required)
    reader = csv.reader(io.StringIO(content, newline=""), strict=True, delimiter=separator)
    header = _names(next(reader, []))
    missing = [name for name in required if name not in header]
    if missing:
        what = f"no column {', '.join(missing)}" if header else "no header"
        raise BadInput(
            f"{path} has {what}{_found_separator(header, separator)}. Give a first line with the columns "
            f"{', '.join(required)}, separated by commas, semicolons or tabs."
        )
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:  # named only if they are ours: of a file without header, these would be values
        names = sorted(twice.intersection(required))
        raise BadInput(f"{path} has two columns {', '.join(names) or 'of one name'}. Keep one of each.")
    rows = []
    for number, fields in enumerate(reader, start=2 + bool(hint)):
        cells = [field.strip() for field in fields]
        named = dict(zip(header, cells + [""] * len(header), strict=False))
        if any(cell for cell, name in zip_longest(cells, header, fillvalue="") if not name):
            raise BadInput(
                f"{path}, line {reader.line_num + bool(hint)}: more fields than the header has. Quote values with "
                f"{SEPARATORS.get(separator, 'separators')}."
            )
        if any(cells):
            rows.append((number, {name: _original(cell) for name, cell in named.items() if name}))
    return rows


def _names(fields: Sequence[str]) -> list[str]:
    return [name.strip().lower() for name in fields]


def _separator_of(text: str, required: Sequence[str]) -> str:
    """What separates the values: what finds the required columns in the header, else what finds most fields."""
    headers = {separator: _header(text, separator) for separator in SEPARATORS}
    fitting = [separator for separator, header in headers.items() if set(required) <= set(header)]
    return fitting[0] if fitting else max(headers, key=lambda separator: len(headers[separator]))


def _header(text: str, separator: str) -> list[str]:
    try:
        return _names(next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), []))
    except csv.Error:
        return []


def _found_separator(header: Sequence[str], separator: str) -> str:
    if len(header) > 1:
        return f" in its first line, which is separated by {SEPARATORS.get(separator, 'what it names itself')}"
    if any(one in name for name in header for one in SEPARATORS):
        return " in its first line, which is one value in quotation marks"
    return " in its first line, which has no comma, semicolon or tab" if header else ""


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and rename it there when the block ends well.

    Raises
    ------
    NotWritable
        Where `folder` already exists and is not empty, or its parent cannot be written.
    """
    folder = real_folder(folder)
    if os.path.lexists(folder) and not (is_folder(folder) and not folder_content(folder)):
        raise NotWritable(f"{folder} already exists and is not empty. Remove it, or choose another place.")
    with staging_beside(folder) as staging:
        yield staging
        if folder.exists():
            folder.rmdir()
        staging.replace(folder)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and put it in the place of `folder` when the block ends well.

    The change is one step of the file system (`exchange`); the earlier folder is removed after it.
    """
    folder = real_folder(folder)
    with staging_beside(folder) as staging:
        yield staging
        exchange(staging, folder)


def real_folder(folder: Path) -> Path:
    """The folder that a link leads to, so that the link stays; any other path as it is.

    Raises
    ------
    NotWritable
        If it is a link that leads to no folder.
    """
    if not folder.is_symlink():
        return folder
    if not is_folder(folder):
        raise NotWritable(f"{folder} is a link that leads to no folder. Remove the link, or choose another place.")
    return folder.resolve()


@contextmanager
def staging_beside(folder: Path) -> Iterator[Path]:
    """Give an empty folder beside `folder`, and remove it with its content at the end.

    It is locked as long as its maker lives. What killed processes left of such folders is removed first.

    Raises
    ------
    NotWritable
        If the parent of `folder` cannot be written.
    """
    parent = make_folder(folder.parent)
    remove_abandoned(folder)
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}.partial.", dir=parent))
        staging.chmod(0o755)
    except OSError as error:
        raise NotWritable(f"Cannot write {folder}: {system_reason(error)}. Choose another place.") from error
    lock = _locked(staging)
    try:
        yield staging
    finally:
        _remove_tree(staging)
        if lock is not None:
            os.close(lock)


def _remove_tree(folder: Path) -> None:
    """Remove a folder with all that is in it, also in folders without permissions, as far as the system lets."""

    def open_and_remove(_function: object, path: str, _error: object) -> None:
        """Remove what could not be removed."""
        target = Path(path)
        with suppress(OSError):
            if target != folder:
                target.parent.chmod(0o700)
            if target.is_dir() and not target.is_symlink():
                target.chmod(0o700)
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink()

    if os.path.lexists(folder):
        shutil.rmtree(folder, onerror=open_and_remove)


def remove_abandoned(folder: Path) -> None:
    """Remove what killed processes left in making `folder`, and give back what one had moved away and not replaced."""
    folder = real_folder(folder)
    moved = _moved_away(folder)
    if moved.exists() and not folder.exists():
        moved.rename(folder)
    for staging in [*folder.parent.glob(f".{glob.escape(folder.name)}.partial.*"), moved]:
        lock = _locked(staging) if staging.is_dir() else None
        if lock is not None:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """Descriptor that locks a folder, or None where a living process has it; a dead one's lock is gone with it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # of another user
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


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


def write_on(path: Path) -> None:
    """Write beyond the end of a file that a library left unfinished, so that the system says why: `OSError`.

    To be called for a file that is thrown away. Nothing is raised if the system takes more.
    """
    with path.open("ab") as stream:
        stream.write(bytes(2**20))
        stream.flush()
        os.fsync(stream.fileno())


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
