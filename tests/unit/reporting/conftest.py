"""What the tests of pages share."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

VOID = {"meta", "img", "source", "image", "use", "path", "br", "link", "input"}


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.targets += [attributes[name] for name in ("href", "src", "srcset") if name in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def assert_whole(self) -> None:
        """Its elements are closed, and it needs nothing outside itself."""
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        for target in self.targets:
            assert target.startswith("data:image/png;base64,") or target.removeprefix("#") in self.ids
        self.assert_no_network("<script")

    def assert_no_network(self, *more: str) -> None:
        """Its text refers to no other place, and holds none of `more`."""
        without_pictures = re.sub(r"base64,[\w+/=]+", "base64,", self.text).replace("http-equiv", "")
        for outside in ("http", "url(", *more):
            assert outside not in without_pictures

    def assert_linked(self, path: Path) -> None:
        """Its elements are closed, and every target is within itself or a file below the report's folder."""
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))
        self.assert_no_network()
        for target in self.targets:
            file, _, anchor = target.partition("#")
            if target.startswith("data:image/png;base64,"):
                continue
            if not file:
                assert anchor in self.ids
                continue
            found = path.parent / unquote(file)
            assert found.is_file(), target
            assert not anchor or f'id="{anchor}"' in found.read_text(encoding="utf-8")


@pytest.fixture
def page_of() -> type[Page]:
    return Page
