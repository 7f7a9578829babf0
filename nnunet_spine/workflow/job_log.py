"""One log for each step, one JSON object a line: time, level, step, case, message.

A log names nothing of the source: its path is written as SOURCE, and what follows it in a line is left out.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Collection
from pathlib import Path

from nnunet_spine.errors import NotWritable
from nnunet_spine.files import check_output, make_folder, system_reason
from nnunet_spine.workflow.plain_text import printable
from nnunet_spine.workflow.step_state import now

_WORD = re.compile(r"[A-Za-z0-9_]+")
_BAR = re.compile(r"\d+%\|.*\|")
_LEVELS = {"error": "ERROR", "warning": "WARNING"}

LONGEST_LINE = 10_000
SOURCE = "SOURCE"


class JobLog:
    """Appends records to a step's log. A disk that is full costs records, not the step.

    Parameters
    ----------
    path
        The log.
    step
        Name of the step.
    cases
        Names of cases that are looked for in messages.
    source
        The study's source, which the log does not name; None if it has none.
    kept
        The study's own places, which it does name.

    Raises
    ------
    NotWritable
        If the log cannot be written, or a link, a folder or a device is in its place.
    """

    def __init__(
        self,
        path: Path,
        step: str,
        cases: Collection[str] = (),
        *,
        source: Path | None = None,
        kept: Collection[Path] = (),
    ) -> None:
        make_folder(path.parent)
        check_output(path)
        self.path, self.step, self.cases = path, step, frozenset(cases)
        self._source = _mentions(source, kept) if source is not None else None
        self.last_error: str | None = None
        self.last_line: str | None = None
        self._append("")

    def write(self, message: str, level: str = "INFO") -> None:
        """Append a record."""
        text = self.without_source(message)
        case = next((word for word in _WORD.findall(text) if word in self.cases), None)
        record = {"time": now(), "level": level, "step": self.step, "case": case, "message": text}
        try:
            self._append(json.dumps(record, ensure_ascii=False) + "\n")
        except NotWritable:
            return

    def output(self, line: str) -> None:
        """Append a line that the step's command printed; what draws a bar is left out."""
        text = self.without_source(line.rstrip())
        if not text or _BAR.search(text):
            return
        level = _LEVELS.get(text.partition(":")[0].lower(), "INFO")
        if level == "ERROR":
            self.last_error = text.partition(":")[2].strip()
        self.last_line = text
        self.write(text, level)

    def without_source(self, text: str) -> str:
        """The text in one line, without the path of the source and of anything in it."""
        shown = self._source.sub(SOURCE, text) if self._source is not None else text
        return printable(shown if len(shown) <= LONGEST_LINE else f"{shown[:LONGEST_LINE]}...")

    def _append(self, text: str) -> None:
        try:
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
            )
            with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(text)
        except OSError as error:
            raise NotWritable(f"Cannot write {self.path}: {system_reason(error)}. Make room, or remove it.") from error


def _mentions(source: Path, kept: Collection[Path]) -> re.Pattern[str]:
    """What names a source: its path, that of a list's folder, and what stands behind them in a line.

    Paths in `kept` may lie in the folder of a list. Programs write a path plainly, as Python does, as JSON, or quoted.
    """
    patterns = []
    for place in (source, source.parent) if source.is_file() else (source,):
        inside = [
            re.escape(str(path.relative_to(place))) for path in kept if path != place and path.is_relative_to(place)
        ]
        but = f"(?!/(?:{'|'.join(inside)})(?:[/\\W]|$))" if inside else ""
        text = os.fspath(place)
        written = {text, repr(text)[1:-1], json.dumps(text)[1:-1], shlex.quote(text).strip("'")}
        if place.parent != place:
            patterns += [f"{re.escape(one)}{but}(?![\\w-])(?:/.*)?" for one in sorted(written, key=len, reverse=True)]
    return re.compile("|".join(patterns), re.DOTALL)
