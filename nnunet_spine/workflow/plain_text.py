"""Text that steers no terminal, breaks no line of a log, and can be written as UTF-8."""

from __future__ import annotations

import unicodedata

_CONTROLS = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Unicode's categories of control characters, halves of pairs (bytes that are not UTF-8), and breaks of line."""


def control_character(text: str, *, allowed: str = "") -> str | None:
    """First character that is no plain text, or None."""
    return next((c for c in text if unicodedata.category(c) in _CONTROLS and c not in allowed), None)


def printable(text: str) -> str:
    """The text in one line, its control characters written out."""
    if control_character(text) is None:
        return text
    return "".join(
        c.encode("unicode_escape").decode("ascii") if unicodedata.category(c) in _CONTROLS else c for c in text
    )
