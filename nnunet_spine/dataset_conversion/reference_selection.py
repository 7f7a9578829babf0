"""Which segments of a DICOM SEG, regions of an RTSTRUCT or values of a mask are the tumor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine.dataset_conversion.dicom_headers import number_of, text_of, value_of
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.vocabulary import is_tumor, names
from nnunet_spine.errors import BadInput

FRACTION_OF_TUMOR = 0.5
"""A voxel of a fractional segmentation is tumor from this fraction on, unless told otherwise."""


@dataclass(frozen=True)
class Selection:
    """What a user says of where the tumor is in a reference; by default nothing.

    Parameters
    ----------
    labels
        Words of a label, description, type or name, or code values of a type, without regard to case. They apply to
        DICOM SEG and RTSTRUCT.
    numbers
        Segment Numbers of a DICOM SEG, ROI Numbers of an RTSTRUCT, values of a mask.
    fraction
        From which fraction on a voxel of a fractional DICOM SEG is tumor, where 1 is its Maximum Fractional Value.

    Raises
    ------
    BadInput
        Where a value cannot be meant.
    """

    labels: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()
    fraction: float = FRACTION_OF_TUMOR

    def __post_init__(self) -> None:
        if not all(label.strip() for label in self.labels):
            raise BadInput("A tumor label is empty. Give a word of the segment's label, description or type.")
        if any(number < 1 for number in self.numbers):
            raise BadInput("A segment's number is below 1. Expected the numbers that the reference gives its segments.")
        if not 0.0 < self.fraction <= 1.0:
            raise BadInput(f"The fraction is {self.fraction}. Expected more than 0 and at most 1, such as 0.5.")

    def parameters(self) -> dict[str, Any]:
        """What differs from the default, for the manifest."""
        told = {"tumor_labels": list(self.labels), "segments": list(self.numbers)}
        fraction = {"fraction": self.fraction} if self.fraction != FRACTION_OF_TUMOR else {}
        return {key: value for key, value in told.items() if value} | fraction

    @classmethod
    def from_parameters(cls, told: Mapping[str, Any]) -> Selection:
        """The selection that `parameters` told of."""
        labels, numbers = tuple(told.get("tumor_labels", ())), tuple(told.get("segments", ()))
        return cls(labels, numbers, told.get("fraction", FRACTION_OF_TUMOR))


NO_SELECTION = Selection()


@dataclass(frozen=True)
class Structure:
    """A segment of a DICOM SEG or a region of an RTSTRUCT.

    Parameters
    ----------
    number
        Segment Number or ROI Number.
    words
        Label or name, description, and meanings of its types.
    codes
        Coded types, as (scheme, value).
    """

    number: int
    words: tuple[str, ...]
    codes: tuple[tuple[str, str], ...] = ()

    def is_selected(self, selection: Selection) -> bool:
        """Whether a user's numbers or labels mean it."""
        values = {value.lower() for _, value in self.codes}
        return self.number in selection.numbers or any(
            label.strip().lower() in values or names(self.words, label) for label in selection.labels
        )


def structures_of(header: Any) -> list[Structure]:
    """Segments of a DICOM SEG, without a label map's background (0), or regions of an RTSTRUCT, in the file's order."""
    segments = [one for item in value_of(header, "SegmentSequence") or [] if (one := _segment(item)).number > 0]
    observations = value_of(header, "RTROIObservationsSequence") or []
    return segments + [_region(item, observations) for item in value_of(header, "StructureSetROISequence") or []]


def words_of(header: Any) -> list[str]:
    """Words of all segments or regions of a reference."""
    return [word for structure in structures_of(header) for word in structure.words]


def _segment(item: Any) -> Structure:
    types = value_of(item, "SegmentedPropertyTypeCodeSequence") or []
    words = (text_of(item, "SegmentLabel"), text_of(item, "SegmentDescription"), *_meanings(types))
    return Structure(int(number_of(item, "SegmentNumber") or 0), words, _codes(types))


def _region(item: Any, observations: Sequence[Any]) -> Structure:
    number = int(number_of(item, "ROINumber") or 0)
    words = [text_of(item, "ROIName"), text_of(item, "ROIDescription")]
    codes: tuple[tuple[str, str], ...] = ()
    for observation in observations:
        if text_of(observation, "ReferencedROINumber") == str(number):
            types = value_of(observation, "RTROIIdentificationCodeSequence") or []
            words += [text_of(observation, k) for k in ("ROIObservationLabel", "RTROIInterpretedType")]
            words += _meanings(types)
            codes += _codes(types)
    return Structure(number, tuple(words), codes)


def _meanings(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(text_of(item, "CodeMeaning") for item in items)


def _codes(items: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeValue")) for item in items)


def tumor_numbers(structures: Sequence[Structure], selection: Selection, what: str) -> list[int]:
    """Numbers of what is tumor: what the user named, else the only one, else those whose words or codes say so.

    Parameters
    ----------
    structures
        All of a reference.
    selection
        What the user says.
    what
        How messages name the reference and its parts, such as "a DICOM SEG of {} segments".

    Raises
    ------
    Unusable
        Where none is.
    """
    found = what.format(len(structures))
    if selection.labels or selection.numbers:
        chosen = [structure.number for structure in structures if structure.is_selected(selection)]
        if not chosen:
            raise Unusable(
                f"{found}, none of which has a number or label that was asked for",
                "the numbers or labels given with --segment or --tumor-label",
                "Compare them with the reference in a viewer",
            )
        return chosen
    if len(structures) == 1:
        return [structures[0].number]
    chosen = [structure.number for structure in structures if is_tumor(structure.words, structure.codes)]
    if not chosen:
        raise Unusable(
            f"{found}, none of which is named as a tumor",
            "one alone, or a label, description or type such as tumor, lesion, neoplasm or GTV",
            "Name the one to use with --tumor-label or --segment",
        )
    return chosen
