"""Filling a template to one HTML page that needs no network and no script."""

from __future__ import annotations

import base64
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(template: str, **content: Any) -> str:
    """The page of a template of this package; equal content gives an equal page."""
    environment = Environment(
        loader=PackageLoader("nnunet_spine.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(**content)


def embedded(png: bytes) -> str:
    """Text of a picture, for its place in a page."""
    return base64.b64encode(png).decode("ascii")
