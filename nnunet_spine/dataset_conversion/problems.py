"""What is wrong with a source, as data: found, expected, what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from nnunet_spine.errors import BadInput


class Severity(StrEnum):
    """What a problem means for the conversion."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Problem:
    """One thing about a source that a user should know.

    Parameters
    ----------
    severity
        ERROR leaves the study or row out; WARNING may spoil a result and should be looked at; NOTE is for the record.
    where
        Our own name of the place, such as "study 3"; never a value of the source.
    found, expected, remedy
        Each a phrase without a full stop; `expected` and `remedy` may be empty for a note.
    """

    severity: Severity
    where: str
    found: str
    expected: str = ""
    remedy: str = ""

    def describe(self) -> str:
        """One line for the terminal."""
        expected = f"; expected {self.expected}" if self.expected else ""
        remedy = f" {self.remedy}." if self.remedy else ""
        return f"{self.where}: {self.found}{expected}.{remedy}"

    def as_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {key: str(value) for key, value in asdict(self).items()}


class Unusable(BadInput):
    """An image or a reference that cannot be used; its place is added by who knows it.

    Parameters
    ----------
    found, expected, remedy
        As in `Problem`.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        super().__init__(f"{found}; expected {expected}. {remedy}.")
        self.found, self.expected, self.remedy = found, expected, remedy

    def at(self, where: str) -> Problem:
        """The problem that this is at a place of the source."""
        return error(where, self.found, self.expected, self.remedy)


def error(where: str, found: str, expected: str, remedy: str) -> Problem:
    """Problem that leaves `where` out."""
    return Problem(Severity.ERROR, where, found, expected, remedy)


def note(where: str, found: str, expected: str = "", remedy: str = "") -> Problem:
    """Problem that leaves nothing out."""
    return Problem(Severity.NOTE, where, found, expected, remedy)


def warning(where: str, found: str, expected: str, remedy: str) -> Problem:
    """Problem that leaves nothing out, but should be looked at."""
    return Problem(Severity.WARNING, where, found, expected, remedy)
