"""What a conversion tells of the data set as a whole, and what earlier conversions told that still holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nnunet_spine.dataset_conversion.added_cases import Added
from nnunet_spine.dataset_conversion.case_conversion import measure_images
from nnunet_spine.dataset_conversion.conversion import StoredCase
from nnunet_spine.dataset_conversion.file_account import in_words
from nnunet_spine.dataset_conversion.found_source import FoundSource
from nnunet_spine.dataset_conversion.known import Known
from nnunet_spine.dataset_conversion.matching import Matches
from nnunet_spine.dataset_conversion.near_duplicates import near_duplicates
from nnunet_spine.dataset_conversion.patient_key import spelt_differently
from nnunet_spine.dataset_conversion.problems import Problem, Severity, note
from nnunet_spine.dataset_conversion.raw_dataset import case_paths
from nnunet_spine.errors import BadInput

SHOWN_ERRORS = 3
"""Studies or rows whose reason a message repeats."""


def left_out_by_source(known: Known) -> list[Problem]:
    """What the last conversion left out: another command does not change that."""
    return [problem for problem in known.problems if problem.severity is Severity.ERROR]


def without_errors(problems: Sequence[Problem]) -> list[Problem]:
    """Problems that leave nothing out."""
    return [problem for problem in problems if problem.severity is not Severity.ERROR]


def image_warnings(staging: Path, cases: Sequence[StoredCase], added: Sequence[Added], processes: int) -> list[Problem]:
    """Warnings of images that two patients share, where one of them is `added`; only the others are read again."""
    if not added:
        return []
    described = {one.stored.case.case: one.descriptor for one in added if one.descriptor}
    known = [one for one in cases if one.case.case not in described]
    paths = [case_paths(staging, one.split, one.case.case)[0] for one in known]
    measured = measure_images(paths, processes=processes)
    everything = described | {one.case.case: found for one, found in zip(known, measured, strict=True)}
    return near_duplicates([one.case for one in cases], everything, set(described))


def spelling_notes(found: FoundSource, added: Sequence[Added], known: Known | None) -> list[Problem]:
    """Notes on patients who are one by our rule and not by their spelling, where a new case is one of them."""
    spelt = [(one.stored.case.case, found.discovery.cases[one.number].identity.patient_id) for one in added]
    new = {case for case, _ in spelt}
    spelt += [(case, row.get("patient_id", "")) for case, row in (known.rows if known else {}).items()]
    return [
        note(
            ", ".join(cases),
            f"{len(cases)} spellings of one patient identifier (spaces, case, zeros in front, order about ^) were "
            "taken as one patient",
            remedy="Where they are different patients, give them different identifiers in a cases.csv",
        )
        for cases in spelt_differently(spelt)
        if new & set(cases)
    ]


def absence_notes(matches: Matches) -> list[Problem]:
    """A note on how many known cases the source does not have."""
    count = len(matches.absent)
    return [note("source", f"{count} known cases are not in this source; they were kept")] if count else []


def lasting(known: Known) -> tuple[Problem, ...]:
    """Earlier notes and warnings on cases; what was left out then is told by the source that holds it."""
    names = set(known.by_name)
    return tuple(
        problem
        for problem in known.problems
        if problem.severity is not Severity.ERROR and set(problem.where.split(", ")) <= names
    )


@contextmanager
def after_what_was_left_out(problems: Sequence[Problem]) -> Iterator[None]:
    """Put what was left out before the message of a `BadInput` in the block, since it may be the cause."""
    try:
        yield
    except BadInput as failure:
        left_out = _errors_in_words(problems)
        raise BadInput(f"Left out: {left_out} Then: {failure}" if left_out else str(failure)) from failure


def _errors_in_words(problems: Sequence[Problem]) -> str:
    errors = [problem.describe() for problem in problems if problem.severity is Severity.ERROR]
    more = f" And {len(errors) - SHOWN_ERRORS} more." if len(errors) > SHOWN_ERRORS else ""
    return f"{' '.join(errors[:SHOWN_ERRORS])}{more}"


def nothing_usable(problems: Sequence[Problem], files: dict[str, int]) -> str:
    """Message of a source without a usable case; `files` by what became of them."""
    looked_at = f" Looked at {in_words(files)}." if files else ""
    return f"No case of the source can be used; nothing was written. {_errors_in_words(problems)}{looked_at}"
