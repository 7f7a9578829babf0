"""What discovery found, as a cases.csv for a person to correct, and as a table without patients' identities."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nnunet_spine.dataset_conversion.image_checks import check_volume_geometry
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.private_mapping import check_place
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.slice_grid import check_headers
from nnunet_spine.dataset_conversion.sources import Discovery, Proposal, SourceCase
from nnunet_spine.dataset_conversion.tumor_evidence import check_tumor
from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import PRIVATE_MODE, csv_text, write_bytes
from nnunet_spine.images import is_volume_file

COLUMNS = (
    *("patient", "image", "reference", "compartment", "tumor_type", "split", "maker", "field_strength", "region"),
    *("series", "part", "use", "confidence", "reason"),
)
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Line:
    """One line of the table: a study without its patient's identity.

    Parameters
    ----------
    where, patient
        Our names; patients are numbered in the order of the source.
    use
        "yes" or "no".
    confidence, reason
        As in `Proposal`, with what says that the reference is the tumor.
    """

    where: str
    patient: str
    use: str
    confidence: str
    reason: str


def table_of(discovery: Discovery) -> list[Line]:
    """The proposals under our names."""
    patients: dict[str, int] = {}
    lines = []
    for one in discovery.proposals:
        number = patients.setdefault(patient_key(one.identity.patient_id), len(patients) + 1)
        use = "yes" if one.usable else "no"
        lines.append(Line(one.where, f"patient {number}", use, one.confidence or "-", one.reasons))
    return lines


def preview(discovery: Discovery, selection: Selection = NO_SELECTION) -> list[Problem]:
    """Problems of the source and of its cases, as far as headers show them; `selection` is what the user says."""
    problems = list(discovery.problems)
    for case in discovery.cases:
        try:
            problems += [note(case.where, text) for text in _check(case)]
            check_tumor(case, selection)
        except Unusable as unusable:
            problems.append(unusable.at(case.where))
    return problems


def _check(case: SourceCase) -> tuple[str, ...]:
    if is_volume_file(case.image[0]):
        return check_volume_geometry(case.image[0])
    return check_headers(case.image, case.frames).notes()


def write_proposals(path: Path, discovery: Discovery, *, shared: Iterable[Path] = ()) -> None:
    """Write a cases.csv that `read_case_list` reads back; it names patients, so that only its owner can read it.

    Parameters
    ----------
    path
        CSV to write.
    discovery
        What was found.
    shared
        Folders that are meant to be shared, in which it must not lie.

    Raises
    ------
    BadInput
        Where the place is in such a folder, in a git work tree, or no .csv, or nothing was found.
    NotWritable
        Where another list is there, which a person may have corrected.
    """
    if path.suffix.lower() != ".csv":
        raise BadInput(f"The list of cases {path.name} is no .csv. Give a name such as cases.csv with --write-cases.")
    check_place(path, list(shared), what="list of cases", option="--write-cases")
    text = csv_text(COLUMNS, [_row(one, path.absolute().parent) for one in discovery.proposals])
    try:
        content = text.encode()
    except UnicodeEncodeError as failure:
        raise BadInput(
            "A folder or file of the source has a name that is not UTF-8, which no list can hold. Rename it, or "
            "convert the source as it is."
        ) from failure
    if path.exists() and path.read_bytes() != content:
        raise NotWritable(
            f"{path} is there already and may hold corrections. Remove it, or give another place with --write-cases."
        )
    write_bytes(path, content, mode=PRIVATE_MODE)


def _row(one: Proposal, folder: Path) -> dict[str, object]:
    details = one.details
    known = {name: "" if (value := getattr(details, name)) == UNKNOWN else value for name in vars(details)}
    return {
        **known,
        "patient": one.identity.patient_id,
        "image": _relative(one.image, folder),
        "reference": _relative(one.reference, folder),
        "split": one.split.value,
        "series": one.identity.series_uid if one.image and one.image.is_dir() else "",
        "part": one.part or "",
        "use": "yes" if one.usable else "no",
        "confidence": one.confidence,
        "reason": one.reasons,
    }


def _relative(path: Path | None, folder: Path) -> str:
    """A path as the list names it: relative to its folder where it lies below, else absolute."""
    if path is None:
        return ""
    absolute = Path(os.path.normpath(path.absolute()))
    return absolute.relative_to(folder).as_posix() if absolute.is_relative_to(folder) else absolute.as_posix()
