"""Printing: errors, tables, progress. Colours and bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from nnunet_spine.files import writable_text
from nnunet_spine.progress import Progress, silent

PLAIN_INTERVAL_SECONDS = 10.0


class StandardErrorHandler(logging.Handler):
    """Log records on the standard error of now, which `only_our_words` may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print(self.format(record), file=sys.stderr)


@contextmanager
def only_our_words(active: bool = True) -> Iterator[None]:
    """Keep what C libraries write to standard error off it for the block, from any thread and worker process.

    ITK, NIfTI's library and GDCM write file names and warnings there, past Python. Python keeps writing to it.
    """
    if not active:
        yield
        return
    saved, earlier = os.dup(2), sys.stderr
    own = _is_descriptor(earlier, 2)
    stream = os.fdopen(os.dup(saved), "w", encoding="utf-8", errors="backslashreplace", buffering=1) if own else earlier
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        earlier.flush()
        sys.stderr = stream
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        sys.stderr = earlier
        os.close(saved)
        os.close(nowhere)
        with suppress(OSError):  # whoever read it is gone, or its disk is full
            stream.close() if own else stream.flush()


def open_missing_streams() -> None:
    """Open standard streams that are closed on nothing, so that no file that is opened later takes their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace", closefd=False))


class _Output(io.FileIO):
    """Standard output that remembers why it could not be written; argparse and others pass over that."""

    lost: OSError | None = None

    def write(self, data: Any) -> int | None:  # type: ignore[override]
        """Write, and remember the error."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = self.lost or error
            raise


@contextmanager
def checked_output() -> Iterator[Callable[[], OSError | None]]:
    """Write to standard output for the block; gives a function that says why something of it was lost, or None.

    Once something was lost, nothing more is written.
    """
    earlier = sys.stdout
    if not isinstance(earlier, io.TextIOWrapper) or not _is_descriptor(earlier, 1):
        yield lambda: None
        return
    earlier.flush()
    raw = _Output(1, "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=earlier.encoding,
        errors="backslashreplace",  # a file name need not be text
        line_buffering=earlier.line_buffering,
        write_through=earlier.write_through,
    )
    stream = sys.stdout

    def lost() -> OSError | None:
        """Write out what is waiting; why something was lost."""
        with suppress(OSError):
            stream.flush()
        if raw.lost:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)  # what is waiting still, also when Python ends
            os.close(nowhere)
        return raw.lost

    try:
        yield lost
    finally:
        lost()
        sys.stdout = earlier


def _is_descriptor(stream: Any, number: int) -> bool:
    try:
        return bool(stream.fileno() == number)
    except (OSError, ValueError, AttributeError):
        return False


def report_error(message: str) -> None:
    """Print an error to standard error."""
    report("error", message)


def report(kind: str, message: str) -> None:
    """Print one paragraph to standard error, wrapped on a terminal; `kind` is "error", "warning" or "note"."""
    text = writable_text(f"{kind}: {message}".translate(_ESCAPED))
    with suppress(OSError):  # nobody is there to read it
        print(textwrap.fill(text, 80, break_long_words=False) if sys.stderr.isatty() else text, file=sys.stderr)


_ESCAPED = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}
"""Control characters, which in the name of a file could change what a terminal shows."""


def stop_cleanly() -> None:
    """Take a scheduler's SIGTERM as Ctrl-C, so that it leaves nothing half-written either."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def print_paragraph(text: str) -> None:
    """Print one paragraph, wrapped to 80 columns."""
    print(textwrap.fill(text, 80, break_long_words=False))


def print_json(content: Any) -> None:
    """Print machine-readable output."""
    print(json.dumps(content, indent=2, ensure_ascii=False))


def format_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Plain text table; the first column is left-aligned, the others right-aligned."""
    cells = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


@contextmanager
def progress_bar(title: str, *, visible: bool = True) -> Iterator[Progress]:
    """Give a `Progress` that shows a bar with time left on a terminal, and now and then a plain line elsewhere.

    With `visible` false it shows nothing, for output that a machine reads.
    """
    if not visible:
        yield silent
    elif sys.stdout.isatty():
        with _rich_bar(title) as progress:
            yield progress
    else:
        yield _plain_lines(title)


@contextmanager
def _rich_bar(title: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(16), MofNCompleteColumn(), TimeElapsedColumn())
    # The stream of now: nnU-Net's printing is turned away from sys.stdout while the bar is shown.
    console = Console(file=sys.stdout)
    with RichProgress(*columns, TextColumn("left"), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task(title, total=None)

        def progress(done: int, total: int, what: str = "") -> None:
            """Move the bar."""
            bar.update(task, completed=done, total=total, description=f"{title} {what}".strip())

        yield progress


def _plain_lines(title: str) -> Progress:
    stream = sys.stdout
    started = last = time.monotonic()
    first, of = 0, -1

    def progress(done: int, total: int, what: str = "") -> None:
        """Print a line now and then; another total begins another part of the work, with an estimate of its own."""
        nonlocal started, last, first, of
        now = time.monotonic()
        if total != of:
            started = now if done > 1 or of >= 0 else started
            first, of = done if done > 1 else 0, total
        if done < total and now - last < PLAIN_INTERVAL_SECONDS:
            return
        last = now
        seconds = (now - started) / (done - first) * (total - done) if done > first else 0.0
        left = f", about {seconds:.0f} s left" if seconds else ""
        with suppress(OSError):  # the end of the command says that nothing can be printed
            print(f"{title}: {done}/{total}{left}{f' ({what})' if what else ''}", file=stream, flush=True)

    return progress
