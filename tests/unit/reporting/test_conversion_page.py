from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from nnunet_spine.reporting.conversion_page import conversion_page


def case(number: int, fold: int | None, stratum: str | None, volume: float) -> dict[str, Any]:
    return {
        "case": f"spine_{number:03d}", "patient": f"P{number:03d}", "compartment": "intramedullary",
        "tumor_type": "ependymoma", "maker": "Canon", "field_strength": 1.5 if number == 1 else None,
        "region": "lumbar", "split": "train" if stratum else "test", "fold": fold, "stratum": stratum,
        "volume_ml": volume,
    }  # fmt: skip


REPORT: dict[str, Any] = {
    "dataset": "Dataset058_Spine", "cases": 3, "patients": 3, "left_out": 1, "warnings": 0, "notes": 2,
    "strata": {"intramedullary, large": 1, "intramedullary, small": 1},
    "folds": [["spine_001"], ["spine_002"]],
    "case_list": [
        case(1, 0, "intramedullary, small", 0.25), case(2, 1, "intramedullary, large", 7.5), case(3, None, None, 1.0),
    ],
    "problems": [
        {"severity": "note", "where": "spine_001", "found": "one <b>thing</b>", "expected": "", "remedy": ""},
        {"severity": "error", "where": "study 4", "found": "no series", "expected": "one", "remedy": "Add it"},
        {"severity": "note", "where": "folds", "found": "another", "expected": "", "remedy": ""},
    ],
    "changes": [
        {"at": "2026-02-03T04:05:06+00:00", "command": "convert", "added": ["spine_003"], "replaced_references": []},
    ],
}  # fmt: skip


class Rows(HTMLParser):
    """Cells of all rows of tables, and addresses of all that is loaded."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.loaded: list[str] = []
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in {"th", "td"}:
            self._in_cell = True
            self.rows[-1].append("")
        self.loaded += [value or "" for name, value in attrs if name in {"src", "srcset", "href"}]

    def handle_endtag(self, tag: str) -> None:
        if tag in {"th", "td"}:
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data


def test_the_page_tells_what_the_report_tells() -> None:
    page = conversion_page(REPORT)
    found = Rows()
    found.feed(page)
    assert "3 cases of 3 patients, 1 left out, 0 warnings, 2 notes." in page
    assert ["intramedullary, large", "0", "1", "1"] in found.rows
    assert ["intramedullary, small", "1", "0", "1"] in found.rows
    assert ["test cases", "1", "1", "2"] in found.rows
    details = ["ependymoma", "Canon", "1.5", "lumbar"]
    assert ["spine_001", "P001", "0", "intramedullary", "small", "0.25", *details] in found.rows
    assert [
        "spine_003",
        "P003",
        "held out",
        "intramedullary",
        "",
        "1",
        "ependymoma",
        "Canon",
        "",
        "lumbar",
    ] in found.rows
    assert ["2026-02-03 04:05", "convert", "spine_003", "none"] in found.rows
    assert "<strong>study 4</strong>: no series. Expected: one. <em>Add it.</em>" in page
    assert page.index('id="error"') < page.index('id="note"')
    assert 'id="warning"' not in page


def test_it_needs_no_network_and_escapes_what_it_tells() -> None:
    page = conversion_page(REPORT)
    found = Rows()
    found.feed(page)
    assert all(address.startswith("#") for address in found.loaded)
    assert "<script" not in page
    assert "one &lt;b&gt;thing&lt;/b&gt;" in page
    assert page == conversion_page(REPORT)


def test_it_tells_why_each_image_was_taken_and_what_became_of_the_files() -> None:
    first, *others = REPORT["case_list"]
    chosen = {**first, "confidence": "high", "reason": "series 5: sagittal"}
    page = conversion_page({**REPORT, "case_list": [chosen, *others], "files": {"used": 7, "hidden": 0, "total": 7}})
    found = Rows()
    found.feed(page)
    assert ["spine_001", "high", "series 5: sagittal"] in found.rows
    assert not any(row[:1] == ["spine_002"] and len(row) == 3 for row in found.rows)
    assert found.rows.count(["used", "7"]) == found.rows.count(["total", "7"]) == 1
    assert 'id="files"' not in conversion_page(REPORT)


def test_an_empty_source_of_problems_says_nothing_left_out() -> None:
    page = conversion_page({**REPORT, "problems": [], "left_out": 0, "notes": 0, "changes": []})
    assert "nothing left out" in page
    assert 'id="changes"' not in page
