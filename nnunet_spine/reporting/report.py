"""One self-contained HTML page: the table of results first, then models side by side, Dice per fold, every case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation import source_deck, tables
from nnunet_spine.evaluation.compare import Comparison
from nnunet_spine.evaluation.masks import locate_predictions, volumes_by_case
from nnunet_spine.evaluation.results import CaseResult, Evaluation
from nnunet_spine.files import write_text
from nnunet_spine.manifest import versions
from nnunet_spine.reporting.figures import DARK, LIGHT, MODEL_COLOURS, Theme
from nnunet_spine.reporting.overlays import OverlayInput, draw_all, find_images
from nnunet_spine.reporting.page import embedded, render
from nnunet_spine.reporting.strip_plot import strip_plot_png

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class ReportModel:
    """A model to report.

    Parameters
    ----------
    label
        Its name.
    evaluation
        Its judgement.
    predictions
        Prediction by case; or a folder of them, or nnU-Net's trained-model folder.
    """

    label: str
    evaluation: Evaluation
    predictions: Mapping[str, Path] | Path

    def paths(self) -> Mapping[str, Path]:
        """Prediction by case; cases without one are absent."""
        if not isinstance(self.predictions, Path):
            return self.predictions
        return locate_predictions(self.predictions, {r.case: r.fold for r in self.evaluation.results}).paths


def write_report(
    path: Path,
    *,
    title: str,
    models: Sequence[ReportModel],
    comparison: Comparison | None,
    images: Path,
    references: Path,
    notes: Sequence[str],
    departures: Mapping[str, Sequence[str]],
) -> None:
    """Write the report as one HTML file that needs no network and no script; equal inputs give equal bytes.

    Parameters
    ----------
    path
        The file, complete or not there at all.
    title
        Heading of the page.
    models
        One or more.
    comparison
        Of the same models in the same order, or None.
    images
        Folder of CASE_0000.nii.gz, stored sagittal: array axis 0 is the slice.
    references
        Folder of CASE.nii.gz.
    notes
        Caveats, shown on top.
    departures
        What differs from the protocol, a line each, by the label of a model.

    Raises
    ------
    BadInput
        Where there is no model, or two have one label.
    NotFound
        Where a folder of predictions holds none of the cases.
    NotWritable
        Where `path` cannot be written.
    """
    keyed = _keyed(models)
    evaluations = {key: model.evaluation for key, model in keyed.items()}
    page = render(
        TEMPLATE,
        title=title,
        notes=list(notes),
        models=[_model_content(key, model, departures.get(model.label)) for key, model in keyed.items()],
        header=tables.HEADER,
        definitions=tables.definitions(models[0].evaluation.criterion),
        deck_rows=source_deck.published_rows(),
        deck_notes=source_deck.footnotes(),
        comparison=_comparison_content(comparison) if comparison else None,
        plot={theme: _plot(evaluations, colours) for theme, colours in (("light", LIGHT), ("dark", DARK))},
        cases=_cases_content(keyed, images, references),
        other_departures={
            label: lines for label, lines in departures.items() if label not in {m.label for m in models}
        },
        versions=versions(),
    )
    write_text(path, page)


def _keyed(models: Sequence[ReportModel]) -> dict[str, ReportModel]:
    labels = [model.label for model in models]
    if not labels or len(set(labels)) != len(labels) or len(labels) > len(ascii_uppercase):
        raise BadInput(f"A report needs models with different labels; found {labels or 'none'}.")
    return dict(zip(ascii_uppercase, models, strict=False))


def _model_content(key: str, model: ReportModel, departures: Sequence[str] | None) -> dict[str, Any]:
    return {
        "key": key,
        "label": model.label,
        "colour": MODEL_COLOURS[(ord(key) - ord("A")) % len(MODEL_COLOURS)],
        "rows": tables.table_rows(model.evaluation),
        "average_note": tables.average_note(model.evaluation),
        "problems": model.evaluation.all_problems(),
        "notes": model.evaluation.all_notes(),
        "departures": departures,
    }


def _comparison_content(comparison: Comparison) -> dict[str, Any]:
    return {
        "notes": [*comparison.notes, *comparison.verdicts, *comparison.explanations],
        "header": tables.COMPARISON_HEADER,
        "rows": tables.comparison_rows(comparison),
        "paired": [tables.paired_table(summary) for summary in comparison.paired],
    }


def _plot(evaluations: Mapping[str, Evaluation], theme: Theme) -> str:
    return embedded(strip_plot_png(evaluations, theme))


def _cases_content(keyed: Mapping[str, ReportModel], images: Path, references: Path) -> list[dict[str, Any]]:
    """One entry for each case that any model was judged on, by fold and case."""
    results: dict[str, dict[str, CaseResult]] = {}
    for key, model in keyed.items():
        for result in model.evaluation.results:
            results.setdefault(result.case, {})[key] = result
    order = sorted(results, key=lambda case: (next(iter(results[case].values())).fold, case))
    image_paths, reference_paths = find_images(images), volumes_by_case(references)
    prediction_paths = {key: model.paths() for key, model in keyed.items()}
    inputs = {
        case: OverlayInput(
            image_paths.get(case),
            reference_paths.get(case),
            results[case],
            {key: paths[case] for key, paths in prediction_paths.items() if case in paths},
        )
        for case in order
    }
    return [
        {
            "number": number,
            "overlay": overlay,
            "result": next(iter(results[overlay.case].values())),
            "scores": [_score(results[overlay.case].get(key)) for key in keyed],
        }
        for number, overlay in enumerate(draw_all(inputs), start=1)
    ]


def _score(result: CaseResult | None) -> str:
    if result is None or result.dice is None:
        return tables.UNDEFINED
    return f"{result.dice:.2f}" + ("" if result.detected else " missed")
