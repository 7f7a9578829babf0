"""One self-contained HTML page of a conversion: cases, folds, strata, and what was found in the source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_spine.manifest import versions
from nnunet_spine.reporting.page import render

TEMPLATE = "conversion.html.j2"
SEVERITIES = {
    "error": "Left out",
    "warning": "To be looked at",
    "note": "Notes",
}
"""Severities in the order of the page, with their headings."""

_CASE_HEADER = (
    "Case",
    "Patient",
    "Fold",
    "Compartment",
    "Size",
    "Volume (ml)",
    "Tumor type",
    "Maker",
    "Tesla",
    "Region",
)


def conversion_page(report: Mapping[str, Any]) -> str:
    """Page of the content of conversion_report.json; equal content gives an equal page."""
    problems = [
        (severity, heading, _problems(report["problems"], severity)) for severity, heading in SEVERITIES.items()
    ]
    return render(
        TEMPLATE,
        title=f"Conversion of {report['dataset']}",
        lead=_lead(report),
        problems=[(severity, heading, rows) for severity, heading, rows in problems if rows],
        fold_header=("Compartment, lesion size", *[f"Fold {n}" for n in range(len(report["folds"]))], "All"),
        fold_rows=_fold_rows(report),
        case_header=_CASE_HEADER,
        case_rows=[_case_row(case) for case in report["case_list"]],
        choice_rows=[row for case in report["case_list"] if any((row := _choice_row(case))[1:])],
        change_header=("When (UTC)", "Command", "Added", "References replaced"),
        change_rows=[_change_row(change) for change in report["changes"]],
        files=list(report.get("files", {}).items()),
        versions=versions(),
    )


def _lead(report: Mapping[str, Any]) -> str:
    parts = [f"{_count(report['cases'], 'case')} of {_count(report['patients'], 'patient')}"]
    parts.append(f"{report['left_out'] or 'nothing'} left out")
    parts += [_count(report["warnings"], "warning"), _count(report["notes"], "note")]
    return f"{', '.join(parts)}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _problems(problems: Sequence[Mapping[str, str]], severity: str) -> list[Mapping[str, str]]:
    return [problem for problem in problems if problem["severity"] == severity]


def _fold_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Cases by stratum and fold; the last row is the total."""
    stratum_of = {case["case"]: case["stratum"] for case in report["case_list"]}
    rows = []
    for stratum in report["strata"]:
        counts = [sum(stratum_of[case] == stratum for case in test) for test in report["folds"]]
        rows.append((stratum, *map(str, counts), str(sum(counts))))
    sizes = [len(test) for test in report["folds"]]
    return [*rows, ("test cases", *map(str, sizes), str(sum(sizes)))]


def _case_row(case: Mapping[str, Any]) -> tuple[str, ...]:
    size = case["stratum"].split(", ")[1] if case["stratum"] else ""
    fold = "held out" if case["fold"] is None else str(case["fold"])
    tesla = "" if case["field_strength"] is None else f"{case['field_strength']:g}"
    details = (case["tumor_type"], case["maker"], tesla, case["region"])
    return (case["case"], case["patient"], fold, case["compartment"], size, f"{case['volume_ml']:.3g}", *details)


def _choice_row(case: Mapping[str, Any]) -> tuple[str, ...]:
    return (case["case"], case.get("confidence", ""), case.get("reason", ""))


def _change_row(change: Mapping[str, Any]) -> tuple[str, ...]:
    replaced = [entry["case"] for entry in change["replaced_references"]]
    added = change["added"]
    return (
        change["at"][:16].replace("T", " "),
        change["command"],
        ", ".join(added) or "none",
        ", ".join(replaced) or "none",
    )
