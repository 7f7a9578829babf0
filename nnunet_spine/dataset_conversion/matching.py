"""Which cases of a source a data set knows already, which are new, and which have another reference."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from nnunet_spine.cases import Split
from nnunet_spine.dataset_conversion.known import Known
from nnunet_spine.dataset_conversion.patient_key import printable
from nnunet_spine.dataset_conversion.problems import Problem, Unusable, note
from nnunet_spine.dataset_conversion.sources import SourceCase

Digests = tuple[str, str]
"""SHA-256 of a source's image and reference."""


@dataclass(frozen=True)
class Matches:
    """What a source has for a data set; numbers count its cases.

    Parameters
    ----------
    new
        Cases to add.
    corrected
        Known case by number, where the reference is another.
    present
        Known case by number, all of them.
    absent
        Known cases that the source does not have.
    problems
        What is left out, and notes.
    """

    new: tuple[int, ...]
    corrected: dict[int, str] = field(default_factory=dict)
    present: dict[int, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def match(cases: Sequence[SourceCase], digests: Sequence[Digests], known: Known) -> Matches:
    """Find the known cases of a source.

    A case is known by the bytes of its image. A known patient's series of the same UID, or file of the same path, with
    other bytes is a changed image, and left out. A reference that the case has had and was replaced is not a
    correction.
    """
    present = _by_image(cases, digests, known)
    claimed = set(present.values())
    new, problems = [], []
    for number, source in enumerate(cases):
        if number in present:
            problems += _split_note(source, known, present[number])
            continue
        try:
            _check_new(source, digests[number][0], known, claimed)
            new.append(number)
        except Unusable as unusable:
            problems.append(unusable.at(source.where))
    corrected = {n: case for n, case in present.items() if _is_correction(digests[n][1], case, known)}
    absent = tuple(one.case.case for one in known.cases if one.case.case not in claimed)
    return Matches(tuple(new), corrected, present, absent, tuple(problems))


def _is_correction(reference: str, case: str, known: Known) -> bool:
    return reference != known.by_name[case].digests[1] and reference not in known.earlier_references(case)


def _by_image(cases: Sequence[SourceCase], digests: Sequence[Digests], known: Known) -> dict[int, str]:
    """Known case by number: the same image of the same patient, or of one whose name nobody told."""
    waiting: dict[str, list[str]] = defaultdict(list)
    for one in known.cases:
        waiting[one.digests[0]].append(one.case.case)
    found = {}
    for number, source in enumerate(cases):
        here = waiting[digests[number][0]]
        mine = [case for case in here if not source.patient_key or known.key_of(case) in ("", source.patient_key)]
        if mine:
            found[number] = min(mine, key=lambda case: (known.by_name[case].digests[1] != digests[number][1], case))
            here.remove(found[number])
    return found


def _check_new(source: SourceCase, image: str, known: Known, claimed: set[str]) -> None:
    elsewhere = [one.case.case for one in known.cases if one.digests[0] == image and one.case.case not in claimed]
    if elsewhere:
        raise Unusable(
            f"the image of the known case {elsewhere[0]}, under another patient",
            "the patient that the private mapping names",
            "Correct the patient in the source; where the mapping is wrong, convert to a data set of another number",
        )
    for one in known.cases:  # one that the source has as it was is another part of the same series
        if one.case.case not in claimed and _is_place_of(source, known, one.case.case):
            raise Unusable(
                f"another image in the place of the known case {one.case.case}, which is kept as it is",
                "the bytes that were converted, since models were trained on them",
                "Give another examination a file name of its own; to use the changed image instead, convert to a data "
                "set of another number",
            )
    other = [one for one in known.cases if source.patient_key and known.key_of(one.case.case) == source.patient_key]
    if other and other[0].split is not source.split:
        raise Unusable(
            f"a {source.split} case of a patient whose known case {other[0].case.case} is a {other[0].split} case",
            "one split for all cases of a patient",
            f"Give it the split {other[0].split}",
        )


def _is_place_of(source: SourceCase, known: Known, case: str) -> bool:
    row, identity = known.rows.get(case, {}), source.identity
    if not source.patient_key or known.key_of(case) != source.patient_key:
        return False
    if identity.series_uid:
        return row.get("series_uid") == identity.series_uid
    return bool(identity.image) and not row.get("series_uid") and row.get("image") == printable(identity.image)


def _split_note(source: SourceCase, known: Known, case: str) -> list[Problem]:
    split: Split = known.by_name[case].split
    if source.split is split or not source.identity.image:
        return []
    return [note(case, f"the source now says {source.split}; it stays a {split} case")]
