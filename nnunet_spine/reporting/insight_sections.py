"""Strata, worst cases and calibration of evaluations as sections of a report; all of it as evaluation.json tells it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnunet_spine.evaluation import calibration
from nnunet_spine.evaluation.strata import TABLE_HEADER, Strata
from nnunet_spine.evaluation.worst_cases import FREQUENCY_HEADER, Frequency
from nnunet_spine.json_entries import Entry
from nnunet_spine.reporting.report_tables import Section, Table

WORST_HEADER = ("case", "Dice", "probable reasons")
NO_REASON = "none found in what was measured"


def insight_sections(contents: Mapping[str, Entry]) -> list[Section]:
    """Sections of the evaluations by the keys of their models; an evaluation without such parts adds nothing.

    Parameters
    ----------
    contents
        Content of evaluation.json by key of the model.

    Raises
    ------
    BadInput
        If such a part is not as `nnunet-spine evaluate` writes it; file and key are named.
    """
    several = len(contents) > 1
    named = {f", {key}" if several else "": content for key, content in contents.items()}
    found = [_strata(named), _worst(named), _calibration(named)]
    return [section for section in found if section.tables]


def probable_reasons(content: Entry) -> dict[str, Sequence[str]]:
    """Probable reasons of each of the worst cases, by case; `BadInput` as for `insight_sections`."""
    part = content.given("worst_cases")
    cases = part.get("cases").items() if part else []
    return {one.get("case").text(): _texts(one.get("probable")) for one in cases}


def _texts(entry: Entry) -> list[str]:
    return [item.text() for item in entry.items()]


def _parts(named: Mapping[str, Entry], key: str) -> dict[str, Entry]:
    """What stands at a key of each content, where anything does."""
    return {name: part for name, content in named.items() if (part := content.given(key))}


def _strata(named: Mapping[str, Entry]) -> Section:
    strata = {key: Strata.from_entry(part) for key, part in _parts(named, "strata").items()}
    tables: list[Table] = [
        (f"By stratum{key}", TABLE_HEADER, [tuple(cell.strip() for cell in row) for row in one.table_rows()])
        for key, one in strata.items()
    ]
    return Section("Strata", tables, list(dict.fromkeys(line for one in strata.values() for line in one.remarks())))


def _worst(named: Mapping[str, Entry]) -> Section:
    parts = _parts(named, "worst_cases")
    tables: list[Table] = []
    for key, part in parts.items():
        tables.append((f"Worst cases{key}", WORST_HEADER, list(_worst_rows(part))))
        frequencies = [Frequency.from_entry(one).cells() for one in part.get("frequencies").items()]
        tables.append((f"How often each reason holds{key}", FREQUENCY_HEADER, frequencies))
    return Section("Worst cases", tables, list(dict.fromkeys(part.get("definition").text() for part in parts.values())))


def _worst_rows(part: Entry) -> Iterator[tuple[str, ...]]:
    for one in part.get("cases").items():
        reasons = "; ".join(_texts(one.get("probable")))
        yield one.get("case").text(), f"{one.get('dice').number():.2f}", reasons or NO_REASON


def _calibration(named: Mapping[str, Entry]) -> Section:
    parts = _parts(named, "calibration")
    tables: list[Table] = [
        (f"Reliability over voxels{key}", calibration.BIN_HEADER, calibration.bin_cells(_bins(voxels)))
        for key, part in parts.items()
        if (voxels := part.given("voxels"))
    ]
    notes = [
        f"{key.removeprefix(', ')}: {line}" if key else line
        for key, part in parts.items()
        for line in _texts(part.get("sentences"))
    ]
    definitions = dict.fromkeys(part.get("definition").text() for part in parts.values())
    return Section("Calibration", tables, [*notes, *definitions])


def _bins(voxels: Entry) -> list[dict[str, Any]]:
    return [
        {
            "low": one.get("low").number(),
            "high": one.get("high").number(),
            "n": one.get("n").count(),
            "mean_confidence": one.get("mean_confidence").optional(Entry.number),
            "observed_frequency": one.get("observed_frequency").optional(Entry.number),
        }
        for one in voxels.get("bins").items()
    ]
