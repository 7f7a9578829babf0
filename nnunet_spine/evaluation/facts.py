"""Everything known of a judged case, in one place: its score, its metadata, what was seen, what its fold trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.cases import UNKNOWN, Case, Fold
from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.observation import Observation
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.files import numbered_rows

FEWEST = 5
"""Figures of fewer than this are not given: "not judged"."""


@dataclass(frozen=True)
class PlanningTables:
    """What `nnunet-spine plan` measured, by case; empty where its tables were not given.

    Parameters
    ----------
    ceiling_dice
        Dice of the reference after the resize to the network's grid and back.
    field_strength
        Strength of the image's bias field, 95th over 5th percentile in tissue.
    """

    ceiling_dice: Mapping[str, float] = field(default_factory=dict)
    field_strength: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CaseFacts:
    """What is known of a judged case.

    Parameters
    ----------
    result
        Its judgement, with a Dice.
    dice
        The same Dice, never None.
    metadata
        Its row of cases.csv; None without that table.
    seen
        What was seen of it.
    trained_on_maker, trained_on_type
        Training cases of its fold from the same maker, and of the same tumor type; None where that is not known of
        the case, or of no training case.
    ceiling_dice, field_strength
        As in `PlanningTables`; None where not given.
    """

    result: CaseResult
    dice: float
    metadata: Case | None
    seen: Observation
    trained_on_maker: int | None
    trained_on_type: int | None
    ceiling_dice: float | None
    field_strength: float | None


def gather(
    evaluation: Evaluation,
    seen: Mapping[str, Observation],
    folds: Sequence[Fold],
    *,
    cases: Sequence[Case] | None = None,
    planned: PlanningTables | None = None,
) -> tuple[CaseFacts, ...]:
    """Facts of each judged case, in the evaluation's order; excluded cases are left out.

    Parameters
    ----------
    evaluation, folds, cases
        As for `nnunet_spine.evaluation.evaluate.evaluate`.
    seen
        What was seen, by case.
    planned
        Tables of the plans.
    """
    planned = planned or PlanningTables()
    by_case = {case.case: case for case in cases or ()}
    trained = {fold.number: [by_case[c] for c in fold.train if c in by_case] for fold in folds}
    return tuple(
        CaseFacts(
            result=result,
            dice=result.dice,
            metadata=by_case.get(result.case),
            seen=seen.get(result.case, Observation()),
            trained_on_maker=_alike(by_case.get(result.case), trained[result.fold], lambda case: case.maker),
            trained_on_type=_alike(by_case.get(result.case), trained[result.fold], lambda case: case.tumor_type),
            ceiling_dice=planned.ceiling_dice.get(result.case),
            field_strength=planned.field_strength.get(result.case),
        )
        for result in evaluation.results
        if result.dice is not None
    )


def _alike(case: Case | None, trained: Sequence[Case], term: Callable[[Case], str]) -> int | None:
    """How many training cases share a case's term; None where nothing can be said."""
    known = [term(other) for other in trained if term(other) != UNKNOWN]
    if case is None or term(case) == UNKNOWN or not known:
        return None
    return known.count(term(case))


def read_planning_tables(ceiling: Path | None, fields: Path | None) -> PlanningTables:
    """Read PLANS_resize_ceiling.csv and PLANS_bias_fields.csv, each where it is given.

    Raises
    ------
    NotFound, BadInput
        Where a table is absent, or is not as `nnunet-spine plan` writes it.
    """
    return PlanningTables(_numbers(ceiling, "dice") if ceiling else {}, _numbers(fields, "strength") if fields else {})


def _numbers(path: Path, column: str) -> dict[str, float]:
    """A column of numbers by case; rows without a value are left out."""
    found: dict[str, float] = {}
    for number, row in numbered_rows(path, ("case", column)):
        case, text = row["case"], row[column]
        if case in found:
            raise BadInput(f"{path}, row {number}: the case {case[:40]!r} is listed twice. Keep one row for each case.")
        value = _number(text) if text else None
        if text and value is None:
            raise BadInput(
                f"{path}, row {number}: {column} is {text[:40]!r}; expected a number of at least 0, as "
                "`nnunet-spine plan` writes it."
            )
        if value is not None:
            found[case] = value
    return found


def _number(text: str) -> float | None:
    """A finite number of at least 0, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None
