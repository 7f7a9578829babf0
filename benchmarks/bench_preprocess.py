"""Row preprocess: nnU-Net's own preprocessing by its own plans over ours without the bias step, 58 cases."""

from __future__ import annotations

import shutil

from convert_exports import Size
from measuring import Row, in_turn, side_by_side
from prepared import NO_BIAS, NUMBER, Prepared


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure."""
    study = prepared.study(Size(58)).preprocessed_cases().preprocessed_by_nnunet()
    cpus = study.environment["nnUNet_def_n_proc"]
    nnunet = ["-d", NUMBER, "-plans_name", "nnUNetPlans", "-c", "3d_fullres", "-np", cpus]
    commands = {
        "theirs": study.theirs("nnUNetv2_preprocess", *nnunet),
        "ours": study.ours("preprocess", NUMBER, "--plans", NO_BIAS),
    }
    made = {"theirs": "nnUNetPlans_3d_fullres", "ours": f"{NO_BIAS}_3d_fullres"}

    def clear(name: str) -> None:
        shutil.rmtree(study.preprocessed / made[name])

    found = in_turn(commands, runs, before=clear, environment=lambda _: study.environment)
    ours, theirs = found["ours"], found["theirs"]
    figures = side_by_side(theirs, ours)
    measured = (
        f"`nnUNetv2_preprocess -np {cpus}` by its own plans / `nnunet-spine preprocess` without bias step: 58 cases"
    )
    return [Row("preprocess", measured, figures, theirs.ratio(ours), "≥ 1.5")]
