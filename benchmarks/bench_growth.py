"""Rows memory and growth: convert, preprocess, train, predict and evaluate with 58 and with 580 small cases.

Training keeps cases in memory up to a budget, so its memory grows with them; its second row has a budget that holds few
of them: it reads the others again in each epoch. Both numbers of cases train in batches of two: by nnU-Net's rule,
which takes at most 5 % of the cases, the many would have 22, and a step of 22 takes more memory than a step of two.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from convert_exports import Size
from evaluate import ours as evaluate_command
from evaluate import write_cohort
from measuring import Cost, Row, in_turn
from prepared import NO_BIAS, NUMBER, Prepared, Study

from nnunet_spine.files import read_json, write_json
from nnunet_spine.training.loader import DEFAULT_BUDGET_MIB

FEW, MANY = 58, 580
SIDE, SLICES = 48, 8
TIMED = ("convert", "preprocess", "evaluate")
GROWING = f"train, {DEFAULT_BUDGET_MIB} MiB for cases"
"""Has no target: up to the budget, cases are to be kept."""

BUDGET_MIB = 4
"""Less than the cases of either study: both read cases again."""

BATCH_SIZE = 2


@dataclass(frozen=True)
class Step:
    """A command, and what is removed before it."""

    command: list[str]
    before: Callable[[], None]
    environment: dict[str, str]


def rows(prepared: Prepared, runs: int) -> list[Row]:
    """Measure; medians of `runs`, as many of each number of cases, in turn."""
    few, many = (steps_of(prepared, cases) for cases in (FEW, MANY))
    found: list[Row] = []
    for name in few:
        least, most = medians_of(few[name], many[name], runs)
        figures = f"{most.peak_mib:.0f} MiB / {least.peak_mib:.0f} MiB"
        target = "" if name == GROWING else "≤ 1.15"
        found.append(Row("memory", f"`{name}`: {MANY} cases / {FEW}", figures, most.peak_mib / least.peak_mib, target))
        if name in TIMED:
            first, last = least.seconds / FEW, most.seconds / MANY
            figures = f"{last * 1e3:.0f} ms / {first * 1e3:.0f} ms"
            found.append(
                Row("growth", f"`{name}`, time per case: {MANY} cases / {FEW}", figures, last / first, "≤ 1.1")
            )
    return found


def steps_of(prepared: Prepared, cases: int) -> dict[str, Step]:
    """The commands for so many cases."""
    size = Size(cases, SIDE, SLICES, only_wanted=True)
    study = in_small_batches(prepared.study(size)).trained_one()
    anew = prepared.work / f"anew_{cases}"
    judged = prepared.work / f"evaluate_{cases}_{SIDE}"
    if not judged.is_dir():
        write_cohort(judged, cases, (SLICES, SIDE, SIDE))
    predicted = study.root / "predicted"
    predict = study.ours("predict", NUMBER, "--plans", NO_BIAS, "--folds", "0", "--device", "cpu")
    predict += ["--input", str(study.raw / "imagesTr"), "--output", str(predicted)]
    results = study.root / "results_again"
    budget = {"NNUNET_SPINE_CASES_MIB": str(BUDGET_MIB)}
    training = {**study.environment, "nnUNet_results": str(results)}
    return {
        "convert": Step(study.ours("convert", study.export, "--root", anew), clear(anew), {}),
        "preprocess": Step(
            study.ours("preprocess", NUMBER, "--plans", NO_BIAS),
            clear(study.preprocessed / f"{NO_BIAS}_3d_fullres"),
            study.environment,
        ),
        GROWING: Step(study.train(0), clear(results), training),
        f"train, {BUDGET_MIB} MiB for cases": Step(study.train(0), clear(results), {**training, **budget}),
        "predict": Step(predict, clear(predicted), study.environment),
        "evaluate": Step(evaluate_command(judged), clear(judged / "out"), {}),
    }


def medians_of(few: Step, many: Step, runs: int) -> tuple[Cost, Cost]:
    """Median costs of two steps that run in turn."""
    steps = {"few": few, "many": many}
    found = in_turn(
        {name: step.command for name, step in steps.items()},
        runs,
        before=lambda name: steps[name].before(),
        environment=lambda name: steps[name].environment,
        codes="01",
    )
    return found["few"].median, found["many"].median


def in_small_batches(study: Study) -> Study:
    """The study with `BATCH_SIZE` in its plans."""
    plans_file = study.planned().preprocessed / f"{NO_BIAS}.json"
    plans = read_json(plans_file)
    plans["configurations"]["3d_fullres"]["batch_size"] = BATCH_SIZE
    write_json(plans_file, plans)
    return study


def clear(folder: Path) -> Callable[[], None]:
    """A function that removes a folder."""
    return lambda: shutil.rmtree(folder, ignore_errors=True)
