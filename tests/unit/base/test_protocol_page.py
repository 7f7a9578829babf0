"""docs/protocol.md and protocol.py say the same."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from nnunet_spine.protocol import PROTOCOL, origin_of

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
ROWS = {row[0]: row for row in re.findall(r"^\| `(\w+)` \| (.*?) \| (\w+) \| (.*) \|$", PAGE, flags=re.MULTILINE)}


@pytest.mark.parametrize("name", [field.name for field in fields(PROTOCOL)])
def test_each_value_stands_on_the_page_with_its_origin(name: str) -> None:
    _, value, origin, source = ROWS[name]
    own = getattr(PROTOCOL, name)
    assert value == (", ".join(map(str, own)) if isinstance(own, tuple) else str(own))
    assert origin == origin_of(name)[0]
    assert source


def test_the_page_has_no_value_that_the_code_has_not() -> None:
    assert set(ROWS) == {field.name for field in fields(PROTOCOL)}
