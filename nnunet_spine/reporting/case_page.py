"""The page of one case: its figures, its montage, the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from nnunet_spine.errors import BadInput
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.reporting.case_volumes import CaseFiles, read_case
from nnunet_spine.reporting.overlays import draw_case
from nnunet_spine.reporting.page import render
from nnunet_spine.reporting.report_folder import put
from nnunet_spine.reporting.report_tables import case_table
from nnunet_spine.reporting.viewer import viewer_content, viewer_script

TEMPLATE = "case.html.j2"
FOLDER = "cases"


@dataclass(frozen=True)
class CasePlace:
    """A case among the others.

    Parameters
    ----------
    case
        Identifier.
    previous, following
        Cases before and after it; "" at the ends.
    labels
        Names of the models by key.
    title
        Of the report.
    probable
        Probable reasons of a low Dice by key of the model; none where the case is not among the worst.
    """

    case: str
    previous: str
    following: str
    labels: Mapping[str, str]
    title: str
    probable: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def remarks(self) -> list[tuple[str, str]]:
        """Key of the model and a sentence, for each model of which the case is among the worst."""
        return [
            (key, f"among the worst cases; probable reasons: {'; '.join(why)}.")
            for key, why in self.probable.items()
            if why
        ]


def page_link(case: str) -> str:
    """Where the page of a case is, as a link from index.html; "" for no case."""
    return f"{FOLDER}/{quote(case)}.html" if case else ""


def write_case_page(folder: Path, place: CasePlace, files: CaseFiles) -> str:
    """Write the page of a case, and its volumes where it has any.

    Returns
    -------
    reason
        Why it shows no picture, or leaves a mask out, or "".

    Raises
    ------
    BadInput
        Where the identifier cannot be a file's name.
    NotWritable
        Where the folder cannot be written.
    """
    case = place.case
    if case in {"", ".", ".."} or {"/", "\\", "\0"} & set(case):
        raise BadInput(f"The case {case!r} cannot be the name of a page. Give it an identifier without / and \\.")
    volumes = read_case(case, files)
    pictures = None if isinstance(volumes, str) else draw_case(volumes)
    viewer = None if isinstance(volumes, str) else viewer_content(volumes)
    reason = volumes if isinstance(volumes, str) else ""
    left_out = {} if isinstance(volumes, str) else volumes.remarks
    if viewer is not None and not isinstance(viewer, str):
        put(folder, f"{FOLDER}/{case}.js", viewer_script(viewer))
    text = render(
        TEMPLATE,
        title=case,
        place=place,
        results=files.results,
        fold=_first(files.results).fold,
        table_content=case_table(files.results),
        remarks=[(key, line) for key, r in files.results.items() for line in (r.problem, r.note) if line]
        + [(key or "annotation", line) for key, line in left_out.items()]
        + place.remarks(),
        several=len(files.results) > 1,
        pictures=pictures,
        viewer=None if isinstance(viewer, str) else viewer,
        viewer_reason=viewer if isinstance(viewer, str) else "",
        reason=reason,
        script=f"{quote(case)}.js",
        link=lambda other: f"{quote(other)}.html",
    )
    put(folder, f"{FOLDER}/{case}.html", text)
    return reason or " ".join(left_out.values())


def _first(results: Mapping[str, CaseResult]) -> CaseResult:
    return next(iter(results.values()))
