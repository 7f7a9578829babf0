"""Row evaluate: `nnUNetv2_evaluate_folder` over `nnunet-spine evaluate` with all its metrics, 58 cases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from evaluate import SIZES, ours, theirs, write_cohort
from measuring import Row, in_turn, side_by_side
from prepared import Prepared

FOLDERS = {"nnUNet_raw": ".", "nnUNet_preprocessed": ".", "nnUNet_results": "."}
CASES = 58


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure against its default number of processes, and against one for each CPU."""
    os.environ.pop("nnUNet_def_n_proc", None)
    cpus = len(os.sched_getaffinity(0))
    found = []
    for label, shape in SIZES.items():
        root = prepared.work / f"evaluate_{shape[1]}"
        if not root.is_dir():
            write_cohort(root, CASES, shape)
        commands: dict[str, Sequence[str | Path]] = {
            "ours": ours(root),
            "default": theirs(root, None),
            "cpus": theirs(root, cpus),
        }
        costs = in_turn(commands, runs, environment=lambda _: FOLDERS)
        mine = costs["ours"]
        for name, option in (("default", ""), ("cpus", f" -np {cpus}")):
            other = costs[name]
            figures = side_by_side(other, mine)
            measured = f"`nnUNetv2_evaluate_folder{option}` / `nnunet-spine evaluate`: {CASES} cases, {label}"
            found.append(Row("evaluate", measured, figures, other.ratio(mine), "≥ 5"))
    return found
