"""From a DICOM export folder to pairs of a sagittal T1 after contrast and its reference."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_spine.dataset_conversion.dicom_grouping import Export, read_export
from nnunet_spine.dataset_conversion.dicom_headers import Series, number_of, read_header, text_of
from nnunet_spine.dataset_conversion.file_account import account
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note, warning
from nnunet_spine.dataset_conversion.reference_matching import references_by_series
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection, words_of
from nnunet_spine.dataset_conversion.sources import CORRECT, Details, Discovery, Found, Identity, Proposal, SourceCase
from nnunet_spine.dataset_conversion.study_choice import Chosen, StudyView, choose, propose
from nnunet_spine.dataset_conversion.vocabulary import compartment_of, maker_of, region_of, tumor_type_of
from nnunet_spine.errors import BadInput
from nnunet_spine.progress import Progress, silent


def discover_export(
    folder: Path, *, selection: Selection = NO_SELECTION, processes: int = 1, progress: Progress = silent
) -> Discovery:
    """Find the pairs of a DICOM export, nested in any way.

    Studies are numbered by the path of their first file; the private mapping tells which study a number is.

    Parameters
    ----------
    folder
        Root of the export.
    selection
        What is tumor in the references.
    processes
        That read headers, this one included.
    progress
        Told after each file.

    Raises
    ------
    BadInput
        Where the folder holds no DICOM file.
    """
    export = read_export(folder, processes=processes, progress=progress)
    if not export.series:
        found = len(export.not_dicom) + len(export.damaged)
        unseen = " ".join(problem.describe() for problem in export.below.warnings())
        raise BadInput(
            f"The source folder holds no readable DICOM series ({found} files looked at). Give the root of a DICOM "
            f"export, or a cases.csv that lists images and references.{f' {unseen}' if unseen else ''}"
        )
    references = references_by_series(export.series)
    studies = _studies(export.series, references)
    of_interest = [study for study in studies if _may_hold_a_pair(study)]
    looked = [
        _look(f"study {number}", folder, StudyView.of(series, references, selection), series[0])
        for number, series in enumerate(of_interest, start=1)
    ]
    cases = tuple(one.case for one in looked if one.case)
    absent = sorted(path.relative_to(folder).as_posix() for path in export.below.absent)
    return Discovery(
        cases,
        (
            *_file_notes(export, len(studies) - len(of_interest)),
            *(problem for one in looked for problem in one.problems),
        ),
        {one.proposal.where: one.proposal.identity for one in looked if not one.case},
        (*export.not_dicom, *export.damaged, *absent),
        account(export, cases),
        tuple(one.proposal for one in looked),
    )


def _may_hold_a_pair(study: Sequence[Series]) -> bool:
    """Whether a study is worth a word when nothing of it is used: it holds MR, or references without their images."""
    return any(one.is_mr for one in study) or all(one.is_reference for one in study)


def _look(where: str, folder: Path, view: StudyView, first: Series) -> Found:
    try:
        chosen = choose(view)
    except Unusable as unusable:
        likeliest = propose(view)
        if likeliest is None:
            proposal = Proposal(where, _identity(folder, first, None), unusable.found, usable=False)
        else:
            details = series_details(likeliest.series.header, ())
            proposal = _proposal(where, folder, likeliest, details=details, obstacle=unusable.found)
        return Found(proposal, problems=(unusable.at(where),))
    case = _source_case(where, folder, chosen, chosen.reference) if chosen.reference else None
    details = case.details if case else Details()
    notes = tuple(note(where, text, remedy=CORRECT) for text in chosen.notes)
    notes += (*_elsewhere_note(where, chosen), *_count_warning(where, view, chosen))
    return Found(_proposal(where, folder, chosen, details=details, obstacle=""), case, notes)


def _elsewhere_note(where: str, chosen: Chosen) -> tuple[Problem, ...]:
    if not chosen.judgement.elsewhere:
        return ()
    found = f"{chosen.series.name} is of another body part by its headers"
    return (note(where, found, "the spine", CORRECT),)


def _count_warning(where: str, view: StudyView, chosen: Chosen) -> tuple[Problem, ...]:
    """A warning if the headers of a series count more images than there are."""
    slices = view.whole[chosen.series.key].slices
    counted = number_of(chosen.series.header, "ImagesInAcquisition") or 0.0
    if counted <= len(slices):
        return ()
    found = f"series {chosen.series.number} has {len(slices)} images, and its headers count {counted:.0f}"
    return (
        warning(where, found, "all images of the acquisition", "Export the whole series again if some are missing"),
    )


def _file_notes(export: Export, others: int) -> list[Problem]:
    notes = export.below.warnings()
    if export.unnamed:
        notes.append(
            note(
                "source",
                f"{export.unnamed} DICOM files have no Series Instance UID; they were grouped by the patient, study, "
                "number, description and time of their series",
                remedy=CORRECT,
            )
        )
    if export.shared:
        notes.append(
            note(
                "source",
                f"{export.shared} Series Instance UIDs belong to several patients or studies; their files were "
                "separated by these",
                remedy=CORRECT,
            )
        )
    if others:
        notes.append(note("source", f"{others} studies hold neither MR images nor segmentations and were not used"))
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
    if export.copies:
        notes.append(note("source", f"{len(export.copies)} DICOM files are copies of others and were not used again"))
    return notes


def _studies(series: Sequence[Series], references: Mapping[Hashable, Sequence[Path]]) -> list[list[Series]]:
    """Series by study, in the order of their first file.

    References that name a series of another study do not make a study of their own.
    """
    placed = {path for paths in references.values() for path in paths}
    studies: dict[tuple[str, str], list[Series]] = defaultdict(list)
    for one in series:
        study = one.study_uid or text_of(one.header, "StudyDate")
        studies[patient_key(one.patient_id), study].append(one)
    return [study for study in studies.values() if not all(set(one.files) <= placed for one in study)]


def _source_case(where: str, folder: Path, chosen: Chosen, reference: Path) -> SourceCase:
    return SourceCase(
        where,
        chosen.series.files,
        reference,
        series_details(chosen.series.header, words_of(read_header(reference))),
        _identity(folder, chosen.series, reference),
        frames=chosen.series.frames,
    )


def _proposal(where: str, folder: Path, chosen: Chosen, *, details: Details, obstacle: str) -> Proposal:
    """The choice as a person would correct it; `obstacle` is what keeps it from being used."""
    series = chosen.series
    return Proposal(
        where,
        _identity(folder, series, chosen.reference),
        obstacle or chosen.judgement.reason(),
        chosen.confidence.value,
        common_place(chosen.files) if series.uid else chosen.files[0],
        chosen.reference,
        series.part,
        details,
        usable=not obstacle,
    )


def common_place(files: Sequence[Path]) -> Path:
    """The file of a series of one, else the deepest folder that holds all of its files."""
    return files[0] if len(files) == 1 else Path(os.path.commonpath([path.parent for path in files]))


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
