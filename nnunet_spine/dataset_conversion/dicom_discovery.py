"""From a DICOM export folder to pairs of a sagittal T1 after contrast and its reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_spine.dataset_conversion.dicom_headers import (
    Export,
    Series,
    number_of,
    read_export,
    read_header,
    text_of,
)
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.reference_matching import references_by_series
from nnunet_spine.dataset_conversion.reference_selection import words_of
from nnunet_spine.dataset_conversion.series_choice import Judgement, best, judge
from nnunet_spine.dataset_conversion.sources import Details, Discovery, Identity, SourceCase
from nnunet_spine.dataset_conversion.vocabulary import compartment_of, maker_of, region_of, tumor_type_of
from nnunet_spine.errors import BadInput
from nnunet_spine.progress import Progress, silent

WANTED = "one sagittal T1 series after contrast with a DICOM SEG or RTSTRUCT that references it"


def discover_export(folder: Path, *, progress: Progress = silent) -> Discovery:
    """Find the pairs of a DICOM export, nested in any way.

    Studies are numbered by the path of their first file; the private mapping tells which study a number is.

    Parameters
    ----------
    folder
        Root of the export.
    progress
        Told after each file.

    Raises
    ------
    BadInput
        Where the folder holds no DICOM file.
    """
    export = read_export(folder, progress=progress)
    if not export.series:
        found = len(export.not_dicom) + len(export.damaged)
        raise BadInput(
            f"The source folder holds no readable DICOM series ({found} files looked at). Give the root of a DICOM "
            "export, or a cases.csv that lists images and references."
        )
    references = references_by_series(export.series)
    cases: list[SourceCase] = []
    problems: list[Problem] = list(_file_notes(export))
    left_out: dict[str, Identity] = {}
    for number, series in enumerate(_studies(export.series, references), start=1):
        where = f"study {number}"
        try:
            chosen, reference = choose_pair(series, references)
            cases.append(_source_case(where, folder, chosen, reference))
        except Unusable as unusable:
            problems.append(unusable.at(where))
            left_out[where] = _identity(folder, series[0], None)
    return Discovery(tuple(cases), tuple(problems), left_out, export.not_dicom + export.damaged)


def _file_notes(export: Export) -> list[Problem]:
    notes = []
    if export.not_dicom:
        notes.append(note("source", f"{len(export.not_dicom)} files are not DICOM and were ignored"))
    if export.damaged:
        notes.append(
            note(
                "source",
                f"{len(export.damaged)} DICOM files are damaged or belong to no series and were ignored",
                remedy="The private mapping names them; export them again where a series then lacks slices",
            )
        )
    return notes


def _studies(series: Sequence[Series], references: Mapping[str, Sequence[Path]]) -> list[list[Series]]:
    """Series by study, in the order of their first file.

    References that name a series of another study do not make a study of their own.
    """
    known = {s.uid for s in series}
    placed = {path for uid, paths in references.items() if uid in known for path in paths}
    studies: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        studies[one.patient_id.strip().casefold(), one.study_uid].append(one)
    return [study for study in studies.values() if not all(set(one.files) <= placed for one in study)]


def choose_pair(study: Sequence[Series], references: Mapping[str, Sequence[Path]]) -> tuple[Series, Path]:
    """The series of a study to use, and the DICOM SEG or RTSTRUCT that references it.

    Of several series that qualify, the one that a reference was drawn on is meant.

    Parameters
    ----------
    study
        All series of one study.
    references
        SEG and RTSTRUCT files by the UID of the series that they reference.

    Raises
    ------
    Unusable
        Where the study holds no such pair, or more than one.
    """
    judgements = [judge(series) for series in study if series.is_mr]
    qualified = [judgement for judgement in judgements if judgement.qualifies]
    if not qualified:
        raise _no_series(study, judgements)
    chosen = best([judgement for judgement in qualified if references.get(judgement.series.uid)])
    if not chosen:
        raise _no_reference(qualified, judgements, references)
    if len(chosen) > 1:
        raise Unusable(
            f"{len(chosen)} series qualify equally and have a reference: {_listed(chosen)}",
            WANTED,
            "Name the one to use in a cases.csv",
        )
    if not chosen[0].series.patient_id.strip():
        raise Unusable(
            "no Patient ID in the headers",
            "one, since cases of a patient must stay in one fold",
            "List the images in a cases.csv, whose column patient then tells",
        )
    paths = references[chosen[0].series.uid]
    if len(paths) > 1:
        raise Unusable(
            f"{len(paths)} DICOM SEG or RTSTRUCT files reference {chosen[0].describe()}",
            "one reference",
            "Keep the one to use, or name it in a cases.csv",
        )
    return chosen[0].series, paths[0]


def _no_series(study: Sequence[Series], judgements: Sequence[Judgement]) -> Unusable:
    others = sorted({text_of(s.header, "Modality") or "no modality" for s in study if not s.is_mr})
    found = _listed(judgements) if judgements else f"no MR image series of single frames (modality {', '.join(others)})"
    return Unusable(f"no series qualifies: {found}", WANTED, "Add the series to the export, or name it in a cases.csv")


def _no_reference(
    qualified: Sequence[Judgement], judgements: Sequence[Judgement], references: Mapping[str, Sequence[Path]]
) -> Unusable:
    elsewhere = [judgement for judgement in judgements if references.get(judgement.series.uid)]
    drawn = f", but one references {_listed(elsewhere)}" if elsewhere else ""
    return Unusable(
        f"no DICOM SEG or RTSTRUCT references {_listed(qualified)}{drawn}",
        WANTED,
        "Add the reference, or name both in a cases.csv",
    )


def _listed(judgements: Sequence[Judgement]) -> str:
    return ", ".join(judgement.describe() for judgement in judgements)


def _source_case(where: str, folder: Path, series: Series, reference: Path) -> SourceCase:
    return SourceCase(
        where,
        series.files,
        reference,
        series_details(series.header, words_of(read_header(reference))),
        _identity(folder, series, reference),
    )


def series_details(header: Any, segment_words: Sequence[str]) -> Details:
    """What may be told of a case, from the image's header and the words of its reference's segments."""
    words = [text_of(header, k) for k in ("BodyPartExamined", "SeriesDescription", "ProtocolName", "StudyDescription")]
    return Details(
        compartment=compartment_of(segment_words),
        tumor_type=tumor_type_of(segment_words),
        maker=maker_of(text_of(header, "Manufacturer")),
        field_strength=number_of(header, "MagneticFieldStrength"),
        region=region_of(words),
    )


def _identity(folder: Path, series: Series, reference: Path | None) -> Identity:
    return Identity(
        series.patient_id,
        series.study_uid,
        series.uid,
        series.files[0].relative_to(folder).as_posix(),
        reference.relative_to(folder).as_posix() if reference else "",
    )
