"""What the tests of pages share."""

from __future__ import annotations

import re
from html.parser import HTMLParser

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
        without_pictures = re.sub(r"base64,[\w+/=]+", "base64,", self.text)
        for outside in ("http", "<script", "url("):
            assert outside not in without_pictures


@pytest.fixture
def page_of() -> type[Page]:
    return Page
