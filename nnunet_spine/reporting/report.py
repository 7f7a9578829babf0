"""A report as one folder that opens from disk: results first, then models side by side, plots, and a page per case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation import source_deck, tables
from nnunet_spine.evaluation.compare import Comparison
from nnunet_spine.evaluation.masks import locate_predictions, volumes_by_case
from nnunet_spine.evaluation.results import EVALUATION_FILE, REMEDY, CaseResult, Evaluation
from nnunet_spine.evaluation.summary import summarise
from nnunet_spine.files import folder_content, is_regular_file, system_reason
from nnunet_spine.json_entries import Entry, read_entry
from nnunet_spine.manifest import versions
from nnunet_spine.nnunet.environment import allocated_cpus
from nnunet_spine.progress import Progress, silent
from nnunet_spine.reporting.case_page import CasePlace, page_link, write_case_page
from nnunet_spine.reporting.case_volumes import CaseFiles, find_images
from nnunet_spine.reporting.figures import MODEL_COLOURS
from nnunet_spine.reporting.insight_sections import insight_sections, probable_reasons
from nnunet_spine.reporting.markdown import report_markdown
from nnunet_spine.reporting.page import render
from nnunet_spine.reporting.plots import comparison_plots, result_plots
from nnunet_spine.reporting.report_folder import put, report_folder, write_contents
from nnunet_spine.reporting.report_tables import Section, measures_section, score
from nnunet_spine.reporting.viewer import viewer_files

TEMPLATE = "report.html.j2"
INDEX_FILE = "index.html"
MARKDOWN_FILE = "report.md"
TABLES_FOLDER = "tables"


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
    folder
        Folder of its evaluation, whose CSV and JSON files are copied into the report; None copies nothing.
    """

    label: str
    evaluation: Evaluation
    predictions: Mapping[str, Path] | Path
    folder: Path | None = None

    def paths(self) -> Mapping[str, Path]:
        """Prediction by case; cases without one are absent."""
        if not isinstance(self.predictions, Path):
            return self.predictions
        return locate_predictions(self.predictions, {r.case: r.fold for r in self.evaluation.results}).paths


def write_report(
    folder: Path,
    *,
    title: str,
    models: Sequence[ReportModel],
    comparison: Comparison | None,
    images: Path,
    references: Path,
    notes: Sequence[str],
    departures: Mapping[str, Sequence[str]],
    sections: Sequence[Section] = (),
    comparison_folder: Path | None = None,
    progress: Progress = silent,
) -> dict[str, str]:
    """Write the report as one folder that needs no network; equal inputs give equal bytes.

    Parameters
    ----------
    folder
        Complete or not there at all; an earlier report is replaced, anything else is refused.
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
    sections
        Further tables, shown after results and comparison.
    comparison_folder
        Whose CSV and JSON files are copied, as for a model.
    progress
        Told after each case.

    Returns
    -------
    dict
        Why there is no picture, or a mask is left out, by case; empty if all pictures are complete.

    Raises
    ------
    BadInput
        Where there is no model, or two have one label.
    NotFound
        Where a folder of predictions holds none of the cases.
    NotWritable
        Where `folder` cannot be written, or holds what is not of a report.
    """
    keyed = _keyed(models)
    with report_folder(folder) as staging:
        evaluations = {key: model.evaluation for key, model in keyed.items()}
        files = _case_files(keyed, images, references)
        contents = {key: _content_of(model) for key, model in keyed.items()}
        measures = measures_section(evaluations)
        content = {
            "title": title,
            "notes": list(notes),
            **_models_content(keyed, departures),
            "comparison": _comparison_content(comparison) if comparison else None,
            "plots": result_plots(evaluations),
            "comparison_plots": comparison_plots(evaluations) if comparison else [],
            "sections": [*sections, *insight_sections(contents), *([measures] if measures else [])],
            "cases": [_case_row(case, found.results, keyed) for case, found in files.items()],
            "versions": versions(),
        }
        probable = {key: probable_reasons(content) for key, content in contents.items()}
        reasons = _write_cases(staging, title, {k: m.label for k, m in keyed.items()}, files, probable, progress)
        copied = _copy_tables(staging, {**{k: m.folder for k, m in keyed.items()}, "comparison": comparison_folder})
        _put_all(staging, "viewer", viewer_files())
        for plot in (*content["plots"], *content["comparison_plots"]):
            _put_all(staging, "figures", plot.files())
        put(staging, INDEX_FILE, render(TEMPLATE, **content, reasons=reasons, copied=copied))
        put(staging, MARKDOWN_FILE, report_markdown(content))
        write_contents(staging, {"title": title, "models": {key: model.label for key, model in keyed.items()}})
    return reasons


def _keyed(models: Sequence[ReportModel]) -> dict[str, ReportModel]:
    labels = [model.label for model in models]
    if not labels or len(set(labels)) != len(labels) or len(labels) > len(ascii_uppercase):
        raise BadInput(f"A report needs models with different labels; found {labels or 'none'}.")
    return dict(zip(ascii_uppercase, models, strict=False))


def _models_content(keyed: Mapping[str, ReportModel], departures: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    labels = {model.label for model in keyed.values()}
    return {
        "models": [_model_content(key, model, departures.get(model.label)) for key, model in keyed.items()],
        "header": tables.HEADER,
        "definitions": tables.definitions(next(iter(keyed.values())).evaluation.criterion),
        "deck_rows": source_deck.published_rows(),
        "deck_notes": source_deck.footnotes(),
        "other_departures": {label: lines for label, lines in departures.items() if label not in labels},
    }


def _model_content(key: str, model: ReportModel, departures: Sequence[str] | None) -> dict[str, Any]:
    summary = summarise(model.evaluation)
    return {
        "key": key,
        "label": model.label,
        "colour": MODEL_COLOURS[(ord(key) - ord("A")) % len(MODEL_COLOURS)],
        "rows": tables.table_rows(model.evaluation),
        "average_note": tables.average_note(model.evaluation),
        "summary": ("Patient by patient, with 95 % intervals", tables.SUMMARY_HEADER, tables.summary_rows(summary)),
        "summary_notes": tables.summary_notes(summary),
        "problems": model.evaluation.all_problems(),
        "notes": model.evaluation.all_notes(),
        "departures": departures,
    }


def _comparison_content(comparison: Comparison) -> dict[str, Any]:
    return {
        "notes": comparison.notes,
        "verdicts": comparison.verdicts,
        "explanations": comparison.explanations,
        "header": tables.COMPARISON_HEADER,
        "rows": tables.comparison_rows(comparison),
        "paired": [tables.paired_table(summary) for summary in comparison.paired],
        "tests": [
            *map(tables.methods_table, comparison.method_tests),
            *map(tables.tests_table, comparison.tests),
        ],
    }


def _case_files(keyed: Mapping[str, ReportModel], images: Path, references: Path) -> dict[str, CaseFiles]:
    """Files and judgements of each case that any model was judged on, by fold and case."""
    results: dict[str, dict[str, CaseResult]] = {}
    for key, model in keyed.items():
        for result in model.evaluation.results:
            results.setdefault(result.case, {})[key] = result
    order = sorted(results, key=lambda case: (next(iter(results[case].values())).fold, case))
    image_paths, reference_paths = find_images(images), volumes_by_case(references)
    prediction_paths = {key: model.paths() for key, model in keyed.items()}
    return {
        case: CaseFiles(
            image_paths.get(case),
            reference_paths.get(case),
            results[case],
            {key: paths[case] for key, paths in prediction_paths.items() if case in paths},
        )
        for case in order
    }


def _case_row(case: str, results: Mapping[str, CaseResult], keys: Iterable[str]) -> dict[str, Any]:
    first = next(iter(results.values()))
    return {
        "case": case,
        "link": page_link(case),
        "cells": (
            str(first.fold),
            tables.number(first.reference_volume_ml),
            *[score(results.get(key)) for key in keys],
        ),
    }


def _content_of(model: ReportModel) -> Entry:
    """What its evaluation.json says; nothing if no folder of it was given."""
    if model.folder is None:
        return Entry(Path(EVALUATION_FILE), "", {}, REMEDY)
    return read_entry(model.folder / EVALUATION_FILE, REMEDY)


def _write_cases(
    folder: Path,
    title: str,
    labels: Mapping[str, str],
    files: Mapping[str, CaseFiles],
    probable: Mapping[str, Mapping[str, Sequence[str]]],
    progress: Progress,
) -> dict[str, str]:
    """Pages of all cases; why there is no picture, by case."""
    order = ["", *files, ""]
    places = [
        CasePlace(
            case, order[i], order[i + 2], labels, title, {key: found.get(case, ()) for key, found in probable.items()}
        )
        for i, case in enumerate(files)
    ]
    reasons = {}
    with ThreadPoolExecutor(allocated_cpus()) as pool:
        written = pool.map(lambda place: write_case_page(folder, place, files[place.case]), places)
        for done, (place, reason) in enumerate(zip(places, written, strict=True), start=1):
            progress(done, len(places), place.case)
            if reason:
                reasons[place.case] = reason
    return reasons


def _copy_tables(folder: Path, sources: Mapping[str, Path | None]) -> list[str]:
    """Copy what evaluation and comparison wrote; links to the copies."""
    copied = []
    for name, source in sources.items():
        for path in folder_content(source) if source else ():
            if path.suffix in {".csv", ".json"} and is_regular_file(path):
                copied.append(f"{TABLES_FOLDER}/{name}/{path.name}")
                put(folder, copied[-1], _content_to_copy(path))
    return copied


def _content_to_copy(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {system_reason(error)}. Check its permissions.") from error


def _put_all(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    for file, content in files.items():
        put(folder, f"{name}/{file}", content)
