"""Strata, worst cases and calibration of evaluations as sections of a report; all of it as evaluation.json tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnunet_spine.evaluation import calibration
from nnunet_spine.evaluation.strata import TABLE_HEADER, Strata
from nnunet_spine.evaluation.worst_cases import FREQUENCY_HEADER, Frequency
from nnunet_spine.reporting.report_tables import Section, Table

WORST_HEADER = ("case", "Dice", "probable reasons")
NO_REASON = "none found in what was measured"

Content = Mapping[str, Any]
"""Content of an evaluation.json."""


def insight_sections(contents: Mapping[str, Content]) -> list[Section]:
    """Sections of the evaluations by the keys of their models; an evaluation without such parts adds nothing.

    Parameters
    ----------
    contents
        Content of evaluation.json by key of the model.
    """
    several = len(contents) > 1
    named = {f", {key}" if several else "": content for key, content in contents.items()}
    found = [_strata(named), _worst(named), _calibration(named)]
    return [section for section in found if section.tables]


def probable_reasons(content: Content) -> dict[str, Sequence[str]]:
    """Probable reasons of each of the worst cases, by case."""
    return {one["case"]: one["probable"] for one in (content.get("worst_cases") or {}).get("cases", ())}


def _strata(named: Mapping[str, Content]) -> Section:
    strata = {key: Strata.from_json(content["strata"]) for key, content in named.items() if content.get("strata")}
    tables: list[Table] = [
        (f"By stratum{key}", TABLE_HEADER, [tuple(cell.strip() for cell in row) for row in one.table_rows()])
        for key, one in strata.items()
    ]
    return Section("Strata", tables, list(dict.fromkeys(line for one in strata.values() for line in one.remarks())))


def _worst(named: Mapping[str, Content]) -> Section:
    parts = {key: content["worst_cases"] for key, content in named.items() if content.get("worst_cases")}
    tables: list[Table] = []
    for key, part in parts.items():
        tables.append((f"Worst cases{key}", WORST_HEADER, list(_worst_rows(part))))
        frequencies = [Frequency.from_json(one).cells() for one in part["frequencies"]]
        tables.append((f"How often each reason holds{key}", FREQUENCY_HEADER, frequencies))
    return Section("Worst cases", tables, list(dict.fromkeys(part["definition"] for part in parts.values())))


def _worst_rows(part: Content) -> Iterator[tuple[str, ...]]:
    for one in part["cases"]:
        yield one["case"], f"{one['dice']:.2f}", "; ".join(one["probable"]) or NO_REASON


def _calibration(named: Mapping[str, Content]) -> Section:
    parts = {key: content["calibration"] for key, content in named.items() if content.get("calibration")}
    tables: list[Table] = [
        (f"Reliability over voxels{key}", calibration.BIN_HEADER, calibration.bin_cells(part["voxels"]["bins"]))
        for key, part in parts.items()
        if part["voxels"]
    ]
    notes = [
        f"{key.removeprefix(', ')}: {line}" if key else line
        for key, part in parts.items()
        for line in part["sentences"]
    ]
    return Section("Calibration", tables, [*notes, *dict.fromkeys(part["definition"] for part in parts.values())])
