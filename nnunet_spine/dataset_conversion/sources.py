"""What discovery hands to conversion: pairs of image and reference, and what was left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nnunet_spine.cases import UNKNOWN, Compartment, Region, Split
from nnunet_spine.dataset_conversion.patient_key import patient_key
from nnunet_spine.dataset_conversion.problems import Problem


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
    """

    where: str
    image: tuple[Path, ...]
    reference: Path
    details: Details
    identity: Identity = field(repr=False)
    split: Split = Split.TRAIN

    @property
    def patient_key(self) -> str:
        """What groups cases by patient, however the identifier is spelt; see `patient_key`."""
        return patient_key(self.identity.patient_id)


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
        Relative paths of files that are not DICOM; private.
    """

    cases: tuple[SourceCase, ...]
    problems: tuple[Problem, ...] = ()
    left_out: dict[str, Identity] = field(default_factory=dict, repr=False)
    ignored: tuple[str, ...] = field(default=(), repr=False)
