"""One log for each step, one JSON object a line: time, level, step, case, message."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path

from nnunet_spine.files import make_folder
from nnunet_spine.workflow.step_state import now

_WORD = re.compile(r"[A-Za-z0-9_]+")
_BAR = re.compile(r"\d+%\|.*\|")
_LEVELS = {"error": "ERROR", "warning": "WARNING"}


class JobLog:
    """Appends records to a step's log.

    Parameters
    ----------
    path
        The log.
    step
        Name of the step.
    cases
        Names of cases that are looked for in messages.
    """

    def __init__(self, path: Path, step: str, cases: Collection[str] = ()) -> None:
        make_folder(path.parent)
        self.path, self.step, self.cases = path, step, frozenset(cases)
        self.last_error: str | None = None
        self.last_line: str | None = None

    def write(self, message: str, level: str = "INFO") -> None:
        """Append a record."""
        case = next((word for word in _WORD.findall(message) if word in self.cases), None)
        record = {"time": now(), "level": level, "step": self.step, "case": case, "message": message}
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record, ensure_ascii=False) + "\n")

    def output(self, line: str) -> None:
        """Append a line that the step's command printed; what draws a bar is left out."""
        text = line.rstrip()
        if not text or _BAR.search(text):
            return
        level = _LEVELS.get(text.partition(":")[0].lower(), "INFO")
        if level == "ERROR":
            self.last_error = text.partition(":")[2].strip()
        self.last_line = text
        self.write(text, level)
