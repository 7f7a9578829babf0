"""Reading a YAML mapping so that every complaint names file, line and key, and says what was expected.

A study file may come from somebody else: its size, depth and aliases are bounded, and no value makes an object.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file, read_text
from nnunet_spine.workflow.plain_text import control_character, printable

T = TypeVar("T")

SHOWN_CHARACTERS = 60

MOST_BYTES = 2**20
MOST_ENTRIES = 20_000
"""With those that aliases repeat."""

MOST_LEVELS = 20
LONGEST_TEXT = 4000

LONGEST_NUMBER = 100

_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
_DECIMAL = re.compile(r"[-+]?(0|[1-9][0-9_]*)?(\.[0-9_]*)?([eE][-+]?[0-9]+)?|[-+]?\.(inf|nan)", re.IGNORECASE)
"""Numbers as a person writes them. YAML reads 010 as 8, and 1:30 as 90."""


@dataclass(frozen=True)
class Entry:
    """A value of the file, with where it stands.

    Parameters
    ----------
    file
        The file that it is in.
    key
        Its key with those above it, such as models.documented.epochs; empty for the whole file.
    line
        Its line, from 1.
    value
        Text, number, truth value, None, list of entries, or dict of entries.
    written
        How a text, a number or a truth value stands in the file, without quotes.
    """

    file: Path
    key: str
    line: int
    value: Any
    written: str = ""

    def refuse(self, problem: str) -> BadInput:
        """The error about this entry; `problem` says what was found and what was expected."""
        about = f"{self.key}: " if self.key else ""
        return BadInput(f"{self.file}, line {self.line}: {about}{problem}")

    def expected(self, what: str) -> BadInput:
        """The error that this entry is not what was expected."""
        return self.refuse(f"found {_shown(self.value)}; expected {what}.")

    def mapping(self, known: Iterable[str] | None = None, *, what: str = "keys with values") -> dict[str, Entry]:
        """The entry as a mapping, its keys being of those `known`; an empty entry is an empty mapping.

        Raises
        ------
        BadInput
            Where it is none, or has a key that is not known; similar keys are named.
        """
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            raise self.expected(what)
        if known is not None:
            names = list(known)
            for name, entry in self.value.items():
                if name not in names:
                    raise entry.refuse(f"there is no such key.{_close(name, names)} Known keys: {', '.join(names)}.")
        return dict(self.value)

    def text(self) -> str:
        """The entry as text that is not empty, without blanks around it; a number is the text that it is written as."""
        return self.exact_text(what="text", allowed="\n\t").strip()

    def exact_text(self, *, what: str, allowed: str = "") -> str:
        """The entry as text that is not empty, with blanks that quotes keep, and only control characters `allowed`."""
        if not isinstance(self.value, str | int | float) or not self.written.strip():
            raise self.expected(what)
        if len(self.written) > LONGEST_TEXT:
            raise self.refuse(f"found a text of {len(self.written)} characters; expected at most {LONGEST_TEXT}.")
        odd = control_character(self.written, allowed=allowed)
        if odd is not None:
            raise self.refuse(f"found the control character U+{ord(odd):04X}; expected {what}.")
        return self.written

    def choice(self, choices: Sequence[str]) -> str:
        """The entry as one of some words; YAML's on and off are taken as the words that they are."""
        value = {True: "on", False: "off"}.get(self.value, self.value) if isinstance(self.value, bool) else self.value
        if value not in choices:
            close = _close(str(value), choices)
            raise self.refuse(f"found {_shown(self.value)}; expected one of {', '.join(choices)}.{close}")
        return str(value)

    def integer(self, least: int, most: int) -> int:
        """The entry as a whole number within bounds."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise self.expected(f"a whole number of at least {least} and at most {most}")
        self._require_decimal()
        return value

    def number(self, most: float, *, above: float = 0.0) -> float:
        """The entry as a number above a bound and at most another."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value <= most:
            raise self.expected(f"a number above {above:g} and at most {most:g}")
        self._require_decimal()
        return float(value)

    def _require_decimal(self) -> None:
        if not _DECIMAL.fullmatch(self.written):
            raise self.refuse(f"{self.written} means {self.value} in YAML. Write a plain number such as {self.value}.")

    def truth(self) -> bool:
        """The entry as true or false."""
        if not isinstance(self.value, bool):
            raise self.expected("true or false")
        return self.value

    def texts(self) -> tuple[str, ...]:
        """The entry as a list of texts; nothing is an empty list."""
        if self.value is None:
            return ()
        if not isinstance(self.value, list):
            raise self.expected("a list: lines that begin with -")
        return tuple(entry.text() for entry in self.value)


def optional(entries: dict[str, Entry], key: str, read: Callable[[Entry], T], default: T) -> T:
    """What `read` makes of a key's entry, or the default where the key is absent or empty."""
    entry = entries.get(key)
    return default if entry is None or entry.value is None else read(entry)


def read_yaml(file: Path) -> Entry:
    """The content of a YAML file.

    Raises
    ------
    NotFound, BadInput
        If the file cannot be read, is not YAML, is empty or too large, or a mapping has a key twice.
    """
    if is_regular_file(file) and file.stat().st_size > MOST_BYTES:
        raise BadInput(f"{file} has more than {MOST_BYTES // 2**20} MiB. Check that it is a study file.")
    text = read_text(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = " ".join(str(error.problem or error.context or "cannot be read").split())
        raise BadInput(f"{file}{where}: this is no YAML ({problem}). Check indentation, colons and quotes.") from error
    except yaml.YAMLError as error:
        raise BadInput(f"{file} is no YAML ({' '.join(str(error).split())[:200]}). Save it as plain text.") from error
    except RecursionError as error:
        raise BadInput(f"{file} is nested in more than {MOST_LEVELS} levels. Write it flat.") from error
    if node is None:
        raise BadInput(f"{file} is empty. Write one with `nnunet-spine init`.")
    return _Builder(file).entry("", node, ())


class _Builder:
    """Makes the entries of a file, and counts them."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.entries = 0

    def entry(self, key: str, node: yaml.Node, above: tuple[int, ...]) -> Entry:
        """The entry of a node; `above` holds the nodes that it stands in, since an alias may name one of them."""
        line = node.start_mark.line + 1
        self._require_bounds(key, line, node, above)
        if isinstance(node, yaml.MappingNode):
            return Entry(self.file, key, line, self._mapping(key, node, (*above, id(node))))
        if isinstance(node, yaml.SequenceNode):
            items = [self.entry(f"{key}[{i}]", item, (*above, id(node))) for i, item in enumerate(node.value, start=1)]
            return Entry(self.file, key, line, items)
        if node.tag == _DATE:  # what looks like a date stays text
            return Entry(self.file, key, line, node.value, node.value)
        return Entry(self.file, key, line, self._scalar(key, line, node), node.value)

    def _require_bounds(self, key: str, line: int, node: yaml.Node, above: tuple[int, ...]) -> None:
        self.entries += 1
        if id(node) in above:
            raise BadInput(f"{self.file}, line {line}: {key}: an alias stands in what it names. Write the value out.")
        if len(above) > MOST_LEVELS:
            raise BadInput(f"{self.file}, line {line}: nested in more than {MOST_LEVELS} levels. Write it flat.")
        if self.entries > MOST_ENTRIES:
            raise BadInput(f"{self.file} has more than {MOST_ENTRIES} entries, aliases counted. Write a shorter study.")

    def _scalar(self, key: str, line: int, node: yaml.Node) -> Any:
        if node.tag != _TEXT and len(node.value) > LONGEST_NUMBER:
            raise BadInput(
                f"{self.file}, line {line}: {key}: a number of {len(node.value)} characters. Write a shorter."
            )
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node)
        except (yaml.YAMLError, ValueError, LookupError) as error:
            raise BadInput(f"{self.file}, line {line}: {key}: a value of a kind that is not used here.") from error
        finally:
            loader.dispose()

    def _mapping(self, key: str, node: yaml.MappingNode, above: tuple[int, ...]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if name is None:
                raise BadInput(f"{self.file}, line {line}: a key must be a word.")
            if name in found:
                raise BadInput(
                    f"{self.file}, line {line}: {_word(name)}: the key stands in line {found[name].line} too. Keep one."
                )
            entry = self.entry(f"{key}.{_word(name)}" if key else _word(name), value_node, above)
            # A value may begin below its key; the reader looks for the key.
            found[name] = replace(entry, line=line)
        return found


def _word(name: str) -> str:
    """A key as messages show it."""
    shown = printable(name)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[:SHOWN_CHARACTERS]}..."


def _close(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name[:SHOWN_CHARACTERS], names, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bytes):
        return "binary data"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
