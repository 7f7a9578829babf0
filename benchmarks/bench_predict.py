"""Row predict: `nnUNetv2_predict` over `nnunet-spine predict`, the same folds, images and output bytes."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from convert_exports import Size
from measuring import Row, in_turn, side_by_side
from prepared import NO_BIAS, NUMBER, Prepared

COUNTS = (1, 58)
TRAINER = "nnUNetTrainerSpine"


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure, and end where an output differs."""
    study = prepared.study(Size(58)).trained()
    found = []
    for count in COUNTS:
        images = study.images(count)
        outputs = {name: study.root / f"predicted_{name}_{count}" for name in ("theirs", "ours")}
        model = ["-d", NUMBER, "-tr", TRAINER, "-p", NO_BIAS, "-c", "3d_fullres", "-f", *"0123", "-device", "cpu"]
        commands = {
            "theirs": study.theirs("nnUNetv2_predict", "-i", images, "-o", outputs["theirs"], *model),
            "ours": study.ours(
                *("predict", NUMBER, "--plans", NO_BIAS, "--device", "cpu"),
                *("--input", images, "--output", outputs["ours"]),
            ),
        }

        def clear(name: str, outputs: dict[str, Path] = outputs) -> None:
            shutil.rmtree(outputs[name], ignore_errors=True)

        costs = in_turn(commands, runs, before=clear, environment=lambda _: study.environment)
        contents = [{p.name: p.read_bytes() for p in folder.glob("*.nii.gz")} for folder in outputs.values()]
        if len(contents[0]) != count or contents[0] != contents[1]:
            sys.exit(f"The predictions of {outputs} differ.")
        ours, theirs = costs["ours"], costs["theirs"]
        figures = side_by_side(theirs, ours)
        cases = f"{count} case{'s' if count > 1 else ''}, 4 folds, equal bytes"
        measured = f"`nnUNetv2_predict` / `nnunet-spine predict`: {cases}"
        found.append(Row("predict", measured, figures, theirs.ratio(ours), "≥ 2"))
    return found
