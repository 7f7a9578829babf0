"""The report as Markdown: its tables for a paper, and its light plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nnunet_spine.reporting.plots import Plot
from nnunet_spine.reporting.report_tables import Table

DECK_CAPTION = "As published; * marks a figure that its own table rules out"
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#])")


def report_markdown(content: Mapping[str, Any]) -> str:
    """Text of report.md; equal content gives equal text.

    Parameters
    ----------
    content
        As the template of index.html takes it.
    """
    several = len(content["models"]) > 1
    parts = [f"# {escaped(content['title'])}", "Research software, not a medical device."]
    parts += [bullets(content["notes"]), "## Results"]
    for model in content["models"]:
        caption = f"{model['key']}: {model['label']}" if several else model["label"]
        parts += [markdown_table((caption, content["header"], model["rows"])), escaped(model["average_note"])]
        parts += [markdown_table(model["summary"]), *map(escaped, model["summary_notes"])]
        parts += [bullets(model["problems"], "Not complete:"), bullets(model["notes"])]
    parts += [escaped(content["definitions"]), "### For comparison, the source deck"]
    parts += [markdown_table((DECK_CAPTION, content["header"], content["deck_rows"]))]
    parts += [escaped(note) for note in content["deck_notes"]]
    if content["comparison"]:
        parts += _comparison(content["comparison"], content["comparison_plots"])
    for section in content["sections"]:
        parts += [f"## {escaped(section.heading)}", *map(markdown_table, section.tables), *map(escaped, section.notes)]
    parts += ["## Plots", *map(_plot, content["plots"]), "## Cases", _cases(content)]
    parts += ["## Departures from the protocol", *_departures(content)]
    parts += [
        markdown_table(("Software that made this report", ("package", "version"), [*content["versions"].items()]))
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """Text whose characters mean nothing to Markdown."""
    return _SPECIAL.sub(r"\\\1", text)


def bullets(lines: Iterable[str], lead: str = "") -> str:
    """A list, below a line of its own; "" where there is nothing to list."""
    listed = "\n".join(f"- {escaped(line)}" for line in lines)
    return f"{lead}\n\n{listed}" if lead and listed else listed


def markdown_table(table: Table) -> str:
    """Caption and table; the first column is left-aligned, the others right-aligned."""
    caption, header, rows = table
    lines = [_row(header), "|".join(["", ":---", *["---:"] * (len(header) - 1), ""]), *map(_row, rows)]
    return f"**{escaped(caption)}**\n\n" + "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(escaped, cells))} |"


def _comparison(comparison: Mapping[str, Any], plots: Iterable[Plot]) -> list[str]:
    parts = ["## Comparison", *[f"**{escaped(verdict)}**" for verdict in comparison["verdicts"]]]
    parts += map(escaped, (*comparison["notes"], *comparison["explanations"]))
    parts.append(markdown_table(("Fold by fold", comparison["header"], comparison["rows"])))
    parts += [
        markdown_table((f"Case by case: {head[0]}", ("", "cases or Dice"), rows)) for head, rows in comparison["paired"]
    ]
    parts += [markdown_table((f"Tests: {head[0]}", ("", "value"), rows)) for head, rows in comparison["tests"]]
    return [*parts, *map(_plot, plots)]


def _plot(plot: Plot) -> str:
    return f"![{escaped(plot.alt)}](figures/{plot.name}_light.png)\n\n{escaped(plot.caption)}"


def _cases(content: Mapping[str, Any]) -> str:
    models = content["models"]
    dice = [f"Dice {model['key']}" for model in models] if len(models) > 1 else ["Dice"]
    rows = [(row["case"], *row["cells"]) for row in content["cases"]]
    return markdown_table(("Dice per case", ("case", "fold", "reference, ml", *dice), rows))


def _departures(content: Mapping[str, Any]) -> list[str]:
    by_label = {model["label"]: model["departures"] for model in content["models"]} | content["other_departures"]
    return [
        f"**{escaped(label)}**\n\n" + ("Not recorded." if lines is None else bullets(lines) or "None.")
        for label, lines in by_label.items()
    ]
