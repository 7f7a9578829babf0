"""What to use of one study: a series, its reference, how sure that is, and what else would fit."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.dataset_conversion.contrast_timing import SAME_TIME_SECONDS, acquired_at, with_timing
from nnunet_spine.dataset_conversion.dicom_headers import Series, number_of, text_of
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_matching import named_instances, slices_not_there
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.series_choice import Confidence, Judgement, best, judge
from nnunet_spine.dataset_conversion.series_parts import parts_of
from nnunet_spine.dataset_conversion.tumor_evidence import of_tumors, once

WANTED = "one sagittal T1 series after contrast with a DICOM SEG or RTSTRUCT that references it"

MODALITIES = frozenset(
    (
        *("CT", "MR", "PT", "NM", "US", "CR", "DX", "MG", "XA", "RF", "OT", "SC", "SR", "PR", "KO", "SEG", "REG"),
        *("DOC", "ECG", "RTSTRUCT", "RTDOSE", "RTPLAN", "RTIMAGE"),
    )
)
"""Values of Modality that messages may name."""


@dataclass(frozen=True)
class Chosen:
    """The series of a study to use.

    Parameters
    ----------
    judgement
        What speaks for it.
    reference
        Its reference; None where there is none.
    confidence, notes
        How sure the choice is, and what a user should know of it.
    files
        Those of the whole series, of which the choice may be a part.
    """

    judgement: Judgement
    reference: Path | None
    confidence: Confidence
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def series(self) -> Series:
        """The series."""
        return self.judgement.series


@dataclass(frozen=True)
class StudyView:
    """The MR series of a study, taken apart and judged, with what was drawn on each and which of that is of tumors."""

    judgements: tuple[Judgement, ...]
    drawn: tuple[tuple[Path, ...], ...]
    references: tuple[tuple[Path, ...], ...]
    others: tuple[str, ...] = ()
    whole: Mapping[Hashable, Series] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        study: Sequence[Series],
        references: Mapping[Hashable, Sequence[Path]],
        selection: Selection = NO_SELECTION,
    ) -> StudyView:
        """View of all series of a study.

        Parameters
        ----------
        study
            Its series.
        references
            Files by the key of the series that they reference.
        selection
            What is tumor in them.
        """
        parts = [part for series in study if series.is_mr for part in parts_of(series)]
        judged = with_timing([judge(part) for part in parts])
        asked = {path for part in parts if part.part for path in references.get(part.key, ())}
        cited = {path: named_instances(path) for path in asked}
        others = {_modality(series) for series in study if not series.is_mr}
        drawn = [_of_part(one.series, references.get(one.series.key, ()), cited) for one in judged]
        meant = set(of_tumors(sorted({path for paths in drawn for path in paths}), selection))
        return cls(
            tuple(judged),
            tuple(tuple(paths) for paths in drawn),
            tuple(tuple(once([path for path in paths if path in meant])) for paths in drawn),
            tuple(sorted(others)),
            {series.key: series for series in study},
        )

    def referenced(self) -> list[Judgement]:
        """Those that a reference was drawn on."""
        return [one for one, paths in zip(self.judgements, self.references, strict=True) if paths]

    def references_of(self, judgement: Judgement) -> tuple[Path, ...]:
        """Reference files of one series."""
        return self.references[self.judgements.index(judgement)]


def _modality(series: Series) -> str:
    """Modality where it is one of the standard's; free text could carry a name."""
    modality = text_of(series.header, "Modality")
    return modality if modality in MODALITIES else "other" if modality else "no modality"


def _of_part(series: Series, paths: Sequence[Path], cited: Mapping[Path, set[str]]) -> list[Path]:
    """Those of a series' references that were drawn on this part of it, where they name their instances (`cited`)."""
    if not series.part:
        return list(paths)
    own = {text_of(one.header, "SOPInstanceUID") for one in series.slices}
    return [path for path in paths if not cited[path] or cited[path] & own]


def propose(view: StudyView) -> Chosen | None:
    """The likeliest series, with or without a reference; None where no series of the study could be meant."""
    qualified = [one for one in view.judgements if one.qualifies]
    candidates = [one for one in view.referenced() if one.qualifies] or qualified
    likeliest = best(candidates)
    if likeliest:
        taken = _last(likeliest)
        rivals = [one for one in candidates if one is not taken]
        confidence = _confidence(taken, equal=len(likeliest) > 1, rivals=bool(rivals))
    elif any(one.is_sagittal_t1 for one in view.judgements):
        taken, rivals = _last([one for one in view.judgements if one.is_sagittal_t1]), []
        confidence = Confidence.LOW
    else:
        return None
    references = view.references_of(taken)
    notes = (*_rival_notes(taken, likeliest, rivals), *_part_notes(taken, view), *_reference_notes(taken, view))
    files = tuple(path for one in view.judgements if one.series.key == taken.series.key for path in one.series.files)
    return Chosen(taken, references[0] if references else None, confidence, notes, tuple(dict.fromkeys(files)))


def choose(view: StudyView) -> Chosen:
    """The series to use, and the reference that was drawn on it.

    Of several series that qualify, the one that a reference was drawn on is meant; where the headers do not decide
    between several of those, the one acquired last is taken, and the notes say so.

    Raises
    ------
    Unusable
        Where the study holds no such pair, or several references of the series.
    """
    if not any(one.qualifies for one in view.judgements):
        raise _no_series(view)
    chosen = propose(view)
    if chosen is None or chosen.reference is None:
        raise _no_reference(view)
    if not chosen.series.patient_id.strip():
        raise Unusable(
            "no Patient ID in the headers",
            "one, since cases of a patient must stay in one fold",
            "List the images in a cases.csv, whose column patient then tells",
        )
    references = view.references_of(chosen.judgement)
    if len(references) > 1:
        raise Unusable(
            f"{len(references)} DICOM SEG or RTSTRUCT files reference {chosen.judgement.describe()}",
            "one reference",
            "Keep the one to use, or name it in a cases.csv",
        )
    missing = slices_not_there(chosen.reference, view.whole.get(chosen.series.key, chosen.series))
    if missing:
        slices = f"{missing} slices that are" if missing > 1 else "1 slice that is"
        raise Unusable(
            f"the reference of {chosen.series.name} was drawn on {slices} not in the export",
            "all slices of the series",
            "Export the whole series again",
        )
    return chosen


def _confidence(taken: Judgement, *, equal: bool, rivals: bool) -> Confidence:
    if equal or taken.confidence is Confidence.LOW:
        return Confidence.LOW
    return Confidence.MEDIUM if rivals else taken.confidence


def _last(judgements: Sequence[Judgement]) -> Judgement:
    """The one acquired last; by the series number among those of one time, or if times are not known."""
    times = [acquired_at(one.series.header) for one in judgements]
    latest = max((time for time in times if time is not None), default=None)
    if latest is not None:
        judgements = [
            one
            for one, time in zip(judgements, times, strict=True)
            if time is not None and latest - time <= SAME_TIME_SECONDS
        ]
    return max(judgements, key=lambda one: (number_of(one.series.header, "SeriesNumber") or 0.0, -one.series.part))


def _rival_notes(taken: Judgement, likeliest: Sequence[Judgement], rivals: Sequence[Judgement]) -> list[str]:
    if not rivals:
        return []
    why = "acquired last" if len(likeliest) > 1 else "which more signs speak for"
    names = ", ".join(one.series.name for one in rivals)
    return [f"{len(rivals) + 1} series fit: {taken.series.name} was taken, {why}; {names} would fit too"]


def _part_notes(taken: Judgement, view: StudyView) -> list[str]:
    parts = [one for one in view.judgements if one.series.key == taken.series.key]
    if len(parts) < 2:
        return []
    slices = len(taken.series.slices)
    told_apart = f"{len(parts)} volumes, separated by {taken.series.separated_by}"
    return [f"series {taken.series.number} holds {told_apart}; part {taken.series.part} of {slices} slices was taken"]


def _reference_notes(taken: Judgement, view: StudyView) -> list[str]:
    drawn, kept = len(view.drawn[view.judgements.index(taken)]), len(view.references_of(taken))
    if kept == drawn or kept != 1:
        return []
    why = "the one of a tumor was taken, of equal ones the first"
    return [f"{drawn} references were drawn on {taken.series.name}: {why}"]


def _no_series(view: StudyView) -> Unusable:
    found = _listed(view.judgements) or f"no MR image series (modality {', '.join(view.others)})"
    return Unusable(f"no series qualifies: {found}", WANTED, "Add the series to the export, or name it in a cases.csv")


def _no_reference(view: StudyView) -> Unusable:
    elsewhere = [one for one in view.referenced() if not one.qualifies]
    drawn = f", but one references {_listed(elsewhere)}" if elsewhere else ""
    qualified = [one for one in view.judgements if one.qualifies]
    return Unusable(
        f"no DICOM SEG or RTSTRUCT references {_listed(qualified)}{drawn}",
        WANTED,
        "Add the reference, or name both in a cases.csv",
    )


def _listed(judgements: Sequence[Judgement]) -> str:
    return ", ".join(judgement.describe() for judgement in judgements)
