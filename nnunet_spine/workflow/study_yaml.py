"""Reading a YAML mapping so that every complaint names file, line and key, and says what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from nnunet_spine.errors import BadInput
from nnunet_spine.files import read_text

T = TypeVar("T")

SHOWN_CHARACTERS = 60


_DATE = "tag:yaml.org,2002:timestamp"


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
    """

    file: Path
    key: str
    line: int
    value: Any

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

    def text(self, *, what: str = "text") -> str:
        """The entry as text that is not empty."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.expected(what)
        return self.value.strip()

    def choice(self, choices: Sequence[str]) -> str:
        """The entry as one of some words; YAML's on and off are taken as the words that they are."""
        value = {True: "on", False: "off"}.get(self.value, self.value) if isinstance(self.value, bool) else self.value
        if value not in choices:
            close = _close(str(value), choices)
            raise self.refuse(f"found {_shown(self.value)}; expected one of {', '.join(choices)}.{close}")
        return str(value)

    def integer(self, least: int, most: int | None = None) -> int:
        """The entry as a whole number within bounds."""
        value = self.value
        bounds = f"a whole number of at least {least}" + (f" and at most {most}" if most is not None else "")
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or value < least
            or (most is not None and value > most)
        ):
            raise self.expected(bounds)
        return value

    def number(self, above: float = 0.0) -> float:
        """The entry as a finite number above a bound."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < float("inf"):
            raise self.expected(f"a number above {above:g}")
        return float(value)

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
        Where the file cannot be read, is no YAML, is empty, or a mapping has a key twice.
    """
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
    if node is None:
        raise BadInput(f"{file} is empty. Write one with `nnunet-spine init`.")
    return _entry(file, "", node, ())


def _entry(file: Path, key: str, node: yaml.Node, above: tuple[int, ...]) -> Entry:
    """The entry of a node; `above` holds the nodes that it stands in, since an alias may name one of them."""
    line = node.start_mark.line + 1
    if id(node) in above:
        raise BadInput(f"{file}, line {line}: {key}: an alias stands in what it names. Write the value out.")
    if isinstance(node, yaml.MappingNode):
        return Entry(file, key, line, _mapping(file, key, node, (*above, id(node))))
    if isinstance(node, yaml.SequenceNode):
        items = [_entry(file, f"{key}[{i}]", item, (*above, id(node))) for i, item in enumerate(node.value, start=1)]
        return Entry(file, key, line, items)
    if node.tag == _DATE:  # what looks like a date stays text
        return Entry(file, key, line, node.value)
    loader = yaml.SafeLoader("")
    try:
        return Entry(file, key, line, loader.construct_object(node))
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{file}, line {line}: {key}: a value of a kind that is not used here.") from error
    finally:
        loader.dispose()


def _mapping(file: Path, key: str, node: yaml.MappingNode, above: tuple[int, ...]) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        name = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        if name is None:
            raise BadInput(f"{file}, line {line}: a key must be a word.")
        if name in found:
            raise BadInput(f"{file}, line {line}: {name}: the key stands in line {found[name].line} too. Keep one.")
        entry = _entry(file, f"{key}.{name}" if key else name, value_node, above)
        # A value may begin below its key; the reader looks for the key.
        found[name] = Entry(file, entry.key, line, entry.value)
    return found


def _close(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
