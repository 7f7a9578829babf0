"""Reading JSON that somebody else may have written: each complaint names file and key, and says what was expected."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_object

T = TypeVar("T")
Closed = TypeVar("Closed", bound=StrEnum)

LONGEST_TEXT = 10_000
MOST_COUNTED = 2**53
"""Whole numbers beyond this are not exact in JSON."""

_SHOWN = 60


@dataclass(frozen=True)
class Entry:
    """A value of a JSON file, with where it stands.

    Parameters
    ----------
    file
        The file.
    key
        Its key with those above it, such as cases[3].dice; empty for the whole file.
    value
        What JSON holds there.
    remedy
        What to do if the file is not as it should be, as a sentence.
    """

    file: Path
    key: str
    value: Any
    remedy: str

    def refuse(self, problem: str) -> BadInput:
        """Make the error about this entry; `problem` says what was found and what was expected."""
        return BadInput(f"{self.file}: {self.key}{' ' if self.key else ''}{problem}. {self.remedy}")

    def expected(self, what: str) -> BadInput:
        """Make the error that this entry is something else than expected."""
        return self.refuse(f"is {_shown(self.value)}; expected {what}")

    def get(self, key: str) -> Entry:
        """Return the entry of a key of an object; `BadInput` if it is missing."""
        found = self.members().get(key)
        if found is None:
            raise self.refuse(f"has no {key}" if self.key else f"the key {key} is missing")
        return found

    def given(self, key: str) -> Entry | None:
        """Return the entry of a key of an object, or None if it is missing or null."""
        found = self.members().get(key)
        return None if found is None or found.value is None else found

    def members(self) -> dict[str, Entry]:
        """Return the entries of an object by key."""
        return {key: self._below(f".{key}" if self.key else key, value) for key, value in self._object().items()}

    def items(self) -> list[Entry]:
        """Return the entries of a list."""
        if not isinstance(self.value, list):
            raise self.expected("a list")
        return [self._below(f"[{number}]", value) for number, value in enumerate(self.value)]

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self.value, str):
            raise self.expected("a text")
        if len(self.value) > LONGEST_TEXT:
            raise self.refuse(f"is a text of {len(self.value)} characters; expected at most {LONGEST_TEXT}")
        return self.value

    def name(self) -> str:
        """Return a text that `is_name`."""
        text = self.text()
        if not is_name(text):
            raise self.expected("a name")
        return text

    def file_name(self) -> str:
        """Return a text that `is_file_name`."""
        text = self.text()
        if not is_file_name(text):
            raise self.expected("a name without separators of folders")
        return text

    def number(self, low: float = -math.inf, high: float = math.inf) -> float:
        """Return a finite number within bounds."""
        value = self.value
        try:
            usable = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
        except OverflowError:  # a whole number beyond all others
            usable = False
        if not usable or not low <= value <= high:
            raise self.expected(f"a number{_bounds(low, high)}")
        return float(value)

    def count(self, low: int = 0, high: int = MOST_COUNTED) -> int:
        """Return a whole number within bounds."""
        if isinstance(self.value, bool) or not isinstance(self.value, int) or not low <= self.value <= high:
            raise self.expected(f"a whole number from {low}" + ("" if high == MOST_COUNTED else f" to {high}"))
        return self.value

    def truth(self) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def choice(self, kind: type[Closed]) -> Closed:
        """Return a member of a closed set."""
        if not isinstance(self.value, str) or self.value not in list(kind):
            raise self.expected(f"one of {', '.join(member.value for member in kind)}")
        return kind(self.value)

    def optional(self, read: Callable[[Entry], T]) -> T | None:
        """Return what `read` makes of the entry, or None if it is null."""
        return None if self.value is None else read(self)

    def _object(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.expected("an object with named values")
        return self.value

    def _below(self, key: str, value: Any) -> Entry:
        return Entry(self.file, self.key + key, value, self.remedy)


def is_name(text: str) -> bool:
    """Whether a text can name a case or a patient: it is not blank, and has no control character or lone surrogate."""
    return bool(text.strip()) and not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)


def is_file_name(text: str) -> bool:
    """Whether a text can name a case, whose files it names too: a name that leads to no other folder."""
    return is_name(text) and not set("/\\") & set(text) and text not in (".", "..")


def read_entry(file: Path, remedy: str) -> Entry:
    """Read a JSON file that holds an object.

    Parameters
    ----------
    file
        The file.
    remedy
        What to do if it is not as it should be, as a sentence.

    Raises
    ------
    NotFound, BadInput
        As `files.read_object`.
    """
    return Entry(file, "", read_object(file), remedy)


def _bounds(low: float, high: float) -> str:
    if math.isinf(low):
        return ""
    return f" of at least {low:g}" if math.isinf(high) else f" from {low:g} to {high:g}"


def _shown(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", type(None): "null", bool: str(value).lower()}
    if type(value) in kinds:
        return kinds[type(value)]
    if isinstance(value, int) and abs(value) > MOST_COUNTED:
        return "a whole number beyond 2^53"
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
