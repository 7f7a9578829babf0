"""When two spellings of a patient identifier are one patient.

Folds leak where one patient is taken for two; they are merely less free where two are taken for one. So spellings that
a clerk or an interface could have made of one identifier count as one, and each such case is told.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable

_INVISIBLE = ("Cc", "Cf", "Zs", "Zl", "Zp", "Cs")
"""Unicode categories of control, format and space characters, and of halves of characters (from undecodable names)."""


def printable(text: str) -> str:
    """`text` on one line: whatever cannot be seen is a space, runs of them are one."""
    return " ".join("".join(" " if unicodedata.category(c) in _INVISIBLE else c for c in text).split())


def patient_key(text: str) -> str:
    """What is equal for all spellings of one identifier.

    Without regard to: case, spaces, control characters, width and composition of characters (NFKC), zeros in front,
    and the order of parts divided by ^.

    >>> patient_key(" 007^doe") == patient_key("DOE^7")
    True
    >>> patient_key("A-10") == patient_key("A-1")
    False
    """
    plain = unicodedata.normalize("NFKC", printable(text)).casefold().replace(" ", "")
    return "^".join(sorted(part.lstrip("0") or part[:1] for part in plain.split("^") if part))


def spelt_differently(identifiers: Iterable[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Cases of patients whose identifier comes in more than one spelling.

    Parameters
    ----------
    identifiers
        Case, and the patient identifier as the source has it.

    Returns
    -------
    groups
        For each such patient one case of each spelling; sorted.
    """
    spellings: dict[str, dict[str, str]] = defaultdict(dict)
    for case, text in sorted(identifiers):
        if patient_key(text):
            spellings[patient_key(text)].setdefault(printable(text), case)
    return sorted(tuple(sorted(cases.values())) for cases in spellings.values() if len(cases) > 1)
