"""Tables of a report as (caption, header, rows), in cells of text, for the pages and for report.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nnunet_spine.evaluation import tables
from nnunet_spine.evaluation.results import CaseResult, Evaluation

Table = tuple[str, Sequence[str], Sequence[Sequence[str]]]
"""Caption, header, rows."""

_UNITS = ("ml", "mm")
_NAMES = {"iou": "IoU", "hd95_mm": "HD95, mm", "nsd_1mm": "NSD at 1 mm", "nsd_2mm": "NSD at 2 mm"}
"""Names of measures that are no plain words."""


@dataclass(frozen=True)
class Section:
    """A part of the report that is made of tables.

    Parameters
    ----------
    heading
        Above them.
    tables
        What it shows.
    notes
        Paragraphs below.
    """

    heading: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()

    @property
    def anchor(self) -> str:
        """Identifier of the section on the page."""
        return "section-" + "".join(c if c.isalnum() else "-" for c in self.heading.lower())


def score(result: CaseResult | None) -> str:
    """Dice of a case to two decimals, and whether it was missed."""
    if result is None or result.dice is None:
        return tables.UNDEFINED
    return f"{result.dice:.2f}" + ("" if result.detected else " missed")


def case_table(results: Mapping[str, CaseResult]) -> Table:
    """What was found for one case: a row for each figure, a column for each model."""
    several = len(results) > 1
    rows = [
        ("Dice", *[score(r) for r in results.values()]),
        ("detected", *[_yes_or_no(r.detected) for r in results.values()]),
        ("volume of the reference, ml", *[tables.number(r.reference_volume_ml) for r in results.values()]),
        ("volume of the prediction, ml", *[tables.number(r.prediction_volume_ml) for r in results.values()]),
    ]
    found = [_measures(r) for r in results.values()]
    names = next((list(measures) for measures in found if measures), [])
    rows += [(_name(name), *[_cell(measures.get(name)) for measures in found]) for name in names]
    return "Figures of this case", ("", *(results if several else ["value"])), rows


def measures_section(models: Mapping[str, Evaluation]) -> Section | None:
    """Measures of every case besides Dice; None where no model has any."""
    found = [table for key, model in models.items() if (table := _measures_table(key, model, len(models) > 1))]
    return Section("Measures per case", found) if found else None


def _measures_table(key: str, evaluation: Evaluation, several: bool) -> Table | None:
    by_case = {r.case: measures for r in evaluation.results if (measures := _measures(r))}
    if not by_case:
        return None
    names = list(next(iter(by_case.values())))
    rows = [(case, *[_cell(measures[name]) for name in names]) for case, measures in by_case.items()]
    return f"Measures of each case{f', {key}' if several else ''}", ("case", *map(_name, names)), rows


def _measures(result: CaseResult) -> dict[str, Any]:
    """Measures by name; none where the evaluation has none."""
    return asdict(result.measures) if result.measures else {}


def _name(field: str) -> str:
    """A measure's name for a reader: volume_difference_ml is "volume difference, ml"."""
    if field in _NAMES:
        return _NAMES[field]
    stem, _, unit = field.rpartition("_")
    return f"{stem.replace('_', ' ')}, {unit}" if unit in _UNITS else field.replace("_", " ")


def _cell(value: float | None) -> str:
    return str(value) if isinstance(value, int) else tables.number(value)


def _yes_or_no(value: bool | None) -> str:
    return tables.UNDEFINED if value is None else "yes" if value else "no"
