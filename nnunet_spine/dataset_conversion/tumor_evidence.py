"""What says that each case's reference is the tumor, for the reports and before anything is converted."""

from __future__ import annotations

from dataclasses import replace

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import Selection
from nnunet_spine.dataset_conversion.references import evidence
from nnunet_spine.dataset_conversion.sources import Discovery, Proposal, SourceCase


def with_evidence(discovery: Discovery, selection: Selection) -> Discovery:
    """The discovery with what says that each case's reference is the tumor.

    A case whose reference nothing says that of is proposed as one that cannot be used; its conversion tells why.
    """
    cases = {case.where: case for case in discovery.cases}
    proposals = [_proposal(one, cases.get(one.where), selection) for one in discovery.proposals]
    return replace(discovery, proposals=tuple(proposals))


def _proposal(proposal: Proposal, case: SourceCase | None, selection: Selection) -> Proposal:
    if case is None:
        return proposal
    try:
        told = check_tumor(case, selection)
    except Unusable as unusable:
        return replace(proposal, reason=unusable.found, usable=False)
    return replace(proposal, tumor=told)


def check_tumor(case: SourceCase, selection: Selection) -> str:
    """What says that a case's reference is the tumor, in words of ours; voxels are not read.

    Raises
    ------
    Unusable
        If nothing says so, or what the user asks for is not in the reference.
    """
    return evidence(case.reference, selection, case.claim)
