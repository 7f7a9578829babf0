"""Worked study files."""

from __future__ import annotations

from importlib.resources import files

EXAMPLES = ("documented", "ablation", "seeds")


def example(name: str) -> str:
    """Text of a worked study file, one of `EXAMPLES`."""
    return files("nnunet_spine.workflow").joinpath("examples", f"{name}.yaml").read_text(encoding="utf-8")
