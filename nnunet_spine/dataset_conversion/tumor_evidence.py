"""What says that each case's reference is the tumor, for the reports and before anything is converted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from nnunet_spine.dataset_conversion.instance_copies import is_copy
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import Selection
from nnunet_spine.dataset_conversion.references import evidence
from nnunet_spine.dataset_conversion.sources import Discovery, Proposal, SourceCase


def with_evidence(discovery: Discovery, selection: Selection) -> Discovery:
    """The discovery with what says that each case's reference is the tumor.

    A case whose reference nothing says that of is proposed as one that cannot be used; its conversion says why.
    """
    cases = {case.where: case for case in discovery.cases}
    proposals = [_proposal(one, cases.get(one.where), selection) for one in discovery.proposals]
    return replace(discovery, proposals=tuple(proposals))


def _proposal(proposal: Proposal, case: SourceCase | None, selection: Selection) -> Proposal:
    if case is None:
        return proposal
    try:
        evidence = check_tumor(case, selection)
    except Unusable as unusable:
        return replace(proposal, reason=unusable.found, usable=False)
    return replace(proposal, tumor=evidence)


def check_tumor(case: SourceCase, selection: Selection) -> str:
    """What says that a case's reference is the tumor, in words of ours; voxels are not read.

    Raises
    ------
    Unusable
        If nothing says so, or what the user asks for is not in the reference.
    """
    return evidence(case.reference, selection, case.claim)


def of_tumors(references: Sequence[Path], selection: Selection) -> list[Path]:
    """Those references of a study that say that they are of a tumor; all of them if none does.

    Parameters
    ----------
    references
        Files of DICOM.
    selection
        What is tumor in them.
    """
    if len(references) < 2:
        return list(references)
    return [path for path in references if _says_tumor(path, selection)] or list(references)


def once(references: Sequence[Path]) -> list[Path]:
    """The first of references of one image that have the same content, as an archive that stores them again writes."""
    kept: list[Path] = []
    for path in references:
        if not any(is_copy(earlier, path) for earlier in kept):
            kept.append(path)
    return kept


def _says_tumor(path: Path, selection: Selection) -> bool:
    try:
        return bool(evidence(path, selection))
    except Unusable:
        return False
