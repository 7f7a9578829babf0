from __future__ import annotations

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import pytest

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.json_entries import Entry, read_entry


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


def entry(content: object) -> Entry:
    return Entry(Path("x.json"), "", content, "Make it again.")


def test_values_are_read_by_their_kind(tmp_path: Path) -> None:
    content = {"a": {"list": [1, 2.5, "text"]}, "none": None, "yes": True, "color": "red"}
    (tmp_path / "x.json").write_text(json.dumps(content))
    top = read_entry(tmp_path / "x.json", "Make it again.")
    whole, number, text = top.get("a").get("list").items()
    assert (whole.count(), number.number(), whole.number(), text.text(), text.name()) == (1, 2.5, 1.0, "text", "text")
    assert number.key == "a.list[1]"
    assert top.get("none").optional(Entry.text) is None
    assert top.given("none") is None
    assert top.given("absent") is None
    assert top.get("yes").truth() is True
    assert top.get("color").choice(Color) is Color.RED
    assert list(top.members()) == list(content)


@pytest.mark.parametrize(
    ("content", "read", "told"),
    [
        ({}, lambda e: e.get("a"), "x.json: the key a is missing. Make it again."),
        ({"a": {}}, lambda e: e.get("a").get("b"), "x.json: a has no b. Make it again."),
        ({"a": [1]}, lambda e: e.get("a").get("b"), "a is a list; expected an object with named values"),
        ({"a": {}}, lambda e: e.get("a").items(), "a is an object; expected a list"),
        ({"a": None}, lambda e: e.get("a").text(), "a is null; expected a text"),
        ({"a": "x" * 10001}, lambda e: e.get("a").text(), "a is a text of 10001 characters; expected at most 10000"),
        ({"a": "\ud800"}, lambda e: e.get("a").name(), r"a is '\ud800'; expected a name"),
        ({"a": " "}, lambda e: e.get("a").name(), "a is ' '; expected a name"),
        ({"a": "b\nc"}, lambda e: e.get("a").name(), r"a is 'b\nc'; expected a name"),
        ({"a": "1"}, lambda e: e.get("a").number(), "a is '1'; expected a number."),
        ({"a": True}, lambda e: e.get("a").number(), "a is true; expected a number"),
        ({"a": 1.5}, lambda e: e.get("a").number(0, 1), "a is 1.5; expected a number from 0 to 1"),
        ({"a": -1}, lambda e: e.get("a").number(0), "a is -1; expected a number of at least 0"),
        ({"a": 10**400}, lambda e: e.get("a").number(), "a is a whole number beyond 2^53; expected a number"),
        ({"a": float("nan")}, lambda e: e.get("a").number(), "a is nan; expected a number"),
        ({"a": 1.0}, lambda e: e.get("a").count(), "a is 1.0; expected a whole number from 0"),
        ({"a": 2**60}, lambda e: e.get("a").count(), "beyond 2^53; expected a whole number from 0"),
        ({"a": False}, lambda e: e.get("a").count(), "a is false; expected a whole number from 0"),
        ({"a": 9}, lambda e: e.get("a").count(1, 8), "a is 9; expected a whole number from 1 to 8"),
        ({"a": 1}, lambda e: e.get("a").truth(), "a is 1; expected true or false"),
        ({"a": "green"}, lambda e: e.get("a").choice(Color), "a is 'green'; expected one of red, blue"),
        ({"a": ["red"]}, lambda e: e.get("a").choice(Color), "a is a list; expected one of red, blue"),
    ],
)
def test_what_is_something_else_is_refused_with_file_key_and_what_was_expected(
    content: object, read: Callable[[Entry], object], told: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read(entry(content))
    assert told in str(refused.value)
    assert str(refused.value).startswith("x.json: ")
    assert str(refused.value).endswith(". Make it again.")


@pytest.mark.parametrize("text", ["[]", "1", '"a"', "null", "", "{", "[" * 5000, '{"a": NaN}', "\xff"])
def test_a_file_that_holds_no_object_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"x\.json"):
        read_entry(tmp_path / "x.json", "Make it again.")
    with pytest.raises(NotFound):
        read_entry(tmp_path / "y.json", "Make it again.")
