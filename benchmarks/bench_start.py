"""Row start: `nnunet-spine --help` over `python -c pass`, whole processes."""

from __future__ import annotations

import sys

from measuring import BESIDE, Row, in_turn
from prepared import Prepared


def rows(_prepared: Prepared, runs: int) -> list[Row]:
    """Measure."""
    commands = {"ours": [BESIDE / "nnunet-spine", "--help"], "python": [sys.executable, "-c", "pass"]}
    found = in_turn(commands, 4 * runs)
    ours, python = (found[name] for name in ("ours", "python"))
    return [
        Row(
            "start",
            "`nnunet-spine --help` / `python -c pass`",
            f"{ours.median.seconds * 1e3:.0f} ms / {python.median.seconds * 1e3:.0f} ms",
            ours.ratio(python),
            "≤ 8",
        )
    ]
