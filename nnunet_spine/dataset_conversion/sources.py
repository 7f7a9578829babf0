"""What discovery hands to conversion: pairs of image and reference, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.cases import UNKNOWN, Compartment, Region, Split
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.problems import Problem
from nnunet_spine.dataset_conversion.reference_selection import NO_CLAIM, Claim

CORRECT = "To decide otherwise, correct the list that --write-cases makes"
"""Remedy of a choice that a person may see differently."""


TUMOR_TOLD = "; tumor: "
"""What stands before the words that say why a reference is the tumor."""


@dataclass(frozen=True)
class Details:
    """What may be told of a case; see `nnunet_spine.cases.Case` for the fields."""

    compartment: Compartment = Compartment.UNKNOWN
    tumor_type: str = UNKNOWN
    maker: str = UNKNOWN
    field_strength: float | None = None
    region: Region = Region.UNKNOWN


@dataclass(frozen=True)
class Identity:
    """What may not be told: it goes into the private mapping, and nowhere else.

    Parameters
    ----------
    patient_id
        As the source has it.
    study_uid, series_uid
        Empty where the image is not DICOM.
    image, reference
        Paths relative to the source.
    """

    patient_id: str = ""
    study_uid: str = ""
    series_uid: str = ""
    image: str = ""
    reference: str = ""


@dataclass(frozen=True)
class SourceCase:
    """One image with its reference, still under the source's names.

    Parameters
    ----------
    where
        Our name of its place in the source, such as "study 3", for messages.
    image
        All files of a DICOM series, or one volume file.
    reference
        A volume file, a DICOM SEG or an RTSTRUCT.
    details
        What may be told.
    identity
        What may not; kept out of `repr`.
    split
        Whether it takes part in cross-validation.
    frames
        Frame numbers (from 1) of each file of `image`; empty where each holds one frame.
    claim
        What the source says of the reference as a whole.
    """

    where: str
    image: tuple[Path, ...]
    reference: Path
    details: Details
    identity: Identity = field(repr=False)
    split: Split = Split.TRAIN
    frames: tuple[tuple[int, ...], ...] = ()
    claim: Claim = field(default=NO_CLAIM, repr=False)

    @property
    def patient_key(self) -> str:
        """What groups cases by patient, however the identifier is spelt; see `patient_key`."""
        return patient_key(self.identity.patient_id)


@dataclass(frozen=True)
class Proposal:
    """What discovery takes of one study, session or row, or would if a person said so.

    Parameters
    ----------
    where
        Our name of its place in the source.
    identity
        Whose it is; private.
    reason, confidence
        Why it was taken, or what is in the way; "high", "medium" or "low", empty where nothing fits.
    image, reference
        A file or the folder of a series; None where there is none. Private.
    part
        Number of the part of the series, from 1; 0 for a whole series.
    details, split
        As in `SourceCase`.
    usable
        Whether it is among the cases.
    tumor
        What says that the reference is the tumor, in words of ours; empty if that is not known.
    """

    where: str
    identity: Identity = field(repr=False)
    reason: str
    confidence: str = ""
    image: Path | None = field(default=None, repr=False)
    reference: Path | None = field(default=None, repr=False)
    part: int = 0
    details: Details = Details()
    split: Split = Split.TRAIN
    usable: bool = True
    tumor: str = ""

    @property
    def reasons(self) -> str:
        """Why it was taken, and what says that its reference is the tumor."""
        return with_tumor(self.reason, self.tumor)


def with_tumor(reason: str, tumor: str) -> str:
    """A reason with what says that the reference is the tumor, instead of what was said before."""
    kept = reason.split(TUMOR_TOLD)[0]
    return f"{kept}{TUMOR_TOLD if kept else TUMOR_TOLD.lstrip('; ')}{tumor}" if tumor else reason


@dataclass(frozen=True)
class Found:
    """What came of one study or session; without a case, the problems say why."""

    proposal: Proposal
    case: SourceCase | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Discovery:
    """All that a source holds.

    Parameters
    ----------
    cases
        Pairs in the source's order.
    problems
        What was left out, and notes.
    left_out
        Identities of what was left out, by `where`; private.
    ignored
        Relative paths of files that are not DICOM, or that could not be looked at; private.
    files
        Number of files by what became of them; they add up to all files of the source. Empty for a list of cases.
    proposals
        What was found, in the source's order.
    """

    cases: tuple[SourceCase, ...]
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, Identity] = field(default_factory=dict, repr=False)
    ignored: tuple[str, ...] = field(default=(), repr=False)
    files: dict[str, int] = field(default_factory=dict)
    proposals: tuple[Proposal, ...] = ()
