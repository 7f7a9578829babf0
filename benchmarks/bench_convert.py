"""Row convert: `nnunet-spine convert` over dcm2niix, and over dicom2nifti, on the same export."""

from __future__ import annotations

import shutil

from convert import command_of
from convert_exports import Size
from measuring import Row, in_turn, side_by_side
from prepared import Prepared

FEW = 12
"""Cases beside dicom2nifti, which takes some two seconds for each."""


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure; the two converters do less, as docs/benchmarks.md tells."""
    return [_row(prepared, runs, 58, "dcm2niix", "≤ 3"), _row(prepared, runs, FEW, "dicom2nifti", "≤ 0.5")]


def _row(prepared: Prepared, runs: int, cases: int, tool: str, target: str) -> Row:
    export = prepared.export(Size(cases))
    outputs = {name: prepared.work / f"converted_{name}" for name in ("convert", tool)}

    def clear(name: str) -> None:
        shutil.rmtree(outputs[name], ignore_errors=True)
        outputs[name].mkdir()

    commands = {name: command_of(name, export, output) for name, output in outputs.items()}
    costs = in_turn(commands, runs, before=clear, codes="01")  # 1: a file that is no image was left out
    ours, theirs = costs["convert"], costs[tool]
    figures = side_by_side(ours, theirs)
    measured = f"`nnunet-spine convert` / {tool}: {cases} cases with all their series"
    return Row("convert", measured, figures, ours.ratio(theirs), target)
