"""Files that say something of others in a BIDS data set: JSON sidecars and label tables, with their inheritance."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nnunet_spine.dataset_conversion.bids_names import BidsName
from nnunet_spine.dataset_conversion.reference_selection import Structure
from nnunet_spine.errors import NnunetSpineError
from nnunet_spine.files import read_text

LABEL_MAPS = ("LabelMap", "Labels", "labels", "LabelDictionary", "Levels")
"""Keys of a sidecar under which values of a label map have names."""

MOST_VALUE = 10**9

_Named = tuple[int, tuple[str, ...]]
"""A value and its names; a value may stand in several rows."""


class Sidecars:
    """The JSON files and label tables of a data set, each read once."""

    def __init__(self, folder: Path, files: Iterable[Path]) -> None:
        self._folder = folder
        self._by_parent: dict[Path, list[BidsName]] = defaultdict(list)
        for path in sorted(files):
            if path.suffix.lower() in (".json", ".tsv") and (name := BidsName.of(path)):
                self._by_parent[path.parent].append(name)
        self._objects: dict[Path, dict[str, Any]] = {}
        self._tables: dict[Path, set[_Named]] = {}

    def of(self, name: BidsName) -> dict[str, Any]:
        """What the JSON files that apply to a file say, the nearest one last (BIDS' inheritance principle)."""
        said: dict[str, Any] = {}
        for path in self._applying(name, ".json"):
            if path not in self._objects:
                self._objects[path] = _json_object(path)
            said |= self._objects[path]
        return said

    def named_values(self, name: BidsName) -> tuple[Structure, ...]:
        """Values of a label map with their names, by the nearest table that applies to it, else by its JSON; without 0.

        Source
        ------
        BIDS, Imaging data types, "Common image-derived labels": columns index, name and abbreviation.
        """
        found: set[_Named] = set()
        for path in self._applying(name, ".tsv"):
            if path not in self._tables:
                self._tables[path] = _rows(path)
            found = self._tables[path] or found
        found = found or _label_map(self.of(name))
        return tuple(Structure(value, words) for value, words in sorted(found) if value != 0)

    def _applying(self, name: BidsName, ending: str) -> Iterator[Path]:
        """Files whose suffix is that of a file, and whose entities are among its own; the nearest one last."""
        for parent in reversed([p for p in name.path.parents if p.is_relative_to(self._folder)]):
            for other in self._by_parent.get(parent, ()):
                if (
                    other.path.suffix.lower() == ending
                    and other.suffix == name.suffix
                    and set(other.bare) <= set(name.bare)
                    and other.entities.items() <= name.entities.items()
                ):
                    yield other.path


def _json_object(path: Path) -> dict[str, Any]:
    """Content of a sidecar; empty if it is damaged, since nothing in it is needed."""
    try:
        content = json.loads(read_text(path))
    except (NnunetSpineError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _rows(path: Path) -> set[_Named]:
    """Values of a label table with their names; empty if the file is no such table, or is damaged."""
    try:
        lines = [line for line in read_text(path).splitlines() if line.strip()]
    except NnunetSpineError:
        return set()
    header = [cell.strip().lower() for cell in lines[0].split("\t")] if lines else []
    if "index" not in header or "name" not in header:
        return set()
    rows = [dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:]]
    return {
        (value, (row.get("name", "").strip(), row.get("abbreviation", "").strip()))
        for row in rows
        if (value := _value(row.get("index", ""))) is not None
    }


def _value(text: Any) -> int | None:
    """A label as a whole number; None if it is not one."""
    try:
        number = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return int(number) if number.is_integer() and 0 <= number < MOST_VALUE else None


def _label_map(sidecar: Mapping[str, Any]) -> set[_Named]:
    """Values of a sidecar with their names, in whatever direction: {"1": "tumor"}, {"tumor": 1}, or a list by value."""
    for key in LABEL_MAPS:
        content = sidecar.get(key)
        pairs = list(enumerate(content)) if isinstance(content, list) else []
        pairs = list(content.items()) if isinstance(content, dict) else pairs
        found: set[_Named] = {(value, (name,)) for left, right in pairs for value, name in _ordered(left, right)}
        if found:
            return found
    return set()


def _ordered(left: Any, right: Any) -> Iterator[tuple[int, str]]:
    """A pair as value and name, whichever comes first."""
    value, name = (_value(left), right) if _value(left) is not None else (_value(right), left)
    if value is not None and isinstance(name, str):
        yield value, name
