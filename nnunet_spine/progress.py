"""How long work tells its progress without knowing who watches."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called after each finished piece of work."""

    def __call__(self, done: int, total: int, what: str = "") -> None:
        """Tell that `done` of `total` pieces are finished, the last one being `what`."""


def silent(done: int, total: int, what: str = "") -> None:
    """Progress that nobody watches."""
