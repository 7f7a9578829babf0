"""Which segments of a DICOM SEG, regions of an RTSTRUCT or values of a mask are the tumor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine.dataset_conversion.dicom_headers import SEGMENTATION_STORAGE, number_of, text_of, value_of
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.tumor_words import Meaning, meaning_of, names
from nnunet_spine.errors import BadInput

FRACTION_OF_TUMOR = 0.5
"""A voxel of a fractional segmentation is tumor from this fraction on, unless told otherwise."""


MOST_LISTED = 10
"""Numbers without a name that a note lists."""


@dataclass(frozen=True)
class Selection:
    """What a user says of where the tumor is in a reference; by default nothing.

    Parameters
    ----------
    labels
        Words of a label, description, type or name, or code values of a type, without regard to case. They apply to
        whatever has names: DICOM SEG, RTSTRUCT, segments of 3D Slicer, label tables and file names of BIDS.
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


TUMOR_CODES = {
    ("SCT", "108369006"),  # Neoplasm
    ("SCT", "372087000"),  # Neoplasm, Primary
    ("SCT", "86049000"),  # Neoplasm, Primary, malignant
    ("SCT", "14799000"),  # Neoplasm, Secondary
    ("SCT", "128462008"),  # Metastasis
    ("SCT", "25173007"),  # Recurrent tumor
    ("SCT", "254938000"),  # Astrocytoma
    ("SCT", "1163375002"),  # Glioblastoma
    ("SCT", "404029005"),  # Neurofibroma
    ("SCT", "134328007"),  # Lipoma
    ("SCT", "4147007"),  # Mass
    ("SCT", "52988006"),  # Lesion
    ("SCT", "228791009"),  # Gross tumor volume
    ("SRT", "M-8FFFF"),  # Neoplasm, in the codes before SNOMED CT
    ("SRT", "M-80003"),  # Neoplasm, Primary, malignant
    ("SRT", "M-80006"),  # Neoplasm, Secondary
    ("SRT", "M-01100"),  # Lesion
    ("SRT", "M-03000"),  # Mass
    ("DCM", "130052"),  # GTV Primary
    ("NCIt", "C113842"),  # Enhancing Lesion
}
"""Coded types that mean tumor whatever the language of the words; from pydicom's dictionary of codes."""

OTHER_CATEGORIES = {
    ("SCT", "123037004"),  # Anatomical Structure
    ("SCT", "91723000"),  # Anatomical Structure
    ("SRT", "T-D000A"),  # Anatomical Structure
    ("SCT", "260787004"),  # Physical object
    ("SCT", "91720002"),  # Body Substance
}
"""Coded categories of what is no tumor where neither words nor the type say so."""


OTHER_ROLES = {
    *("EXTERNAL", "PTV", "CTV", "TREATED_VOLUME", "IRRAD_VOLUME", "OAR", "BOLUS", "AVOIDANCE", "MARKER", "FIXATION"),
    *("REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "SUPPORT", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT"),
    *("BRACHY_CHANNEL", "BRACHY_ACCESSORY", "BRACHY_SRC_APP", "BRACHY_CHNL_SHLD"),
}
"""RT ROI Interpreted Types (PS3.3 C.8.8.8) of no tumor; ORGAN is what many programs write for every region."""


@dataclass(frozen=True)
class Structure:
    """A segment of a DICOM SEG or of 3D Slicer, a region of an RTSTRUCT, or a named value of a label map.

    Parameters
    ----------
    number
        Segment Number, ROI Number, or value of the mask.
    words
        Label or name, and description.
    codes
        Coded types, as (scheme, value).
    types
        Meanings of the coded types.
    categories
        Coded categories, as (scheme, value).
    layer
        Of several volumes in one file, the one that holds the segment.
    has_other_role
        Whether the plan of a radiotherapy uses the region as something else than the tumor.
    """

    number: int
    words: tuple[str, ...]
    codes: tuple[tuple[str, str], ...] = ()
    types: tuple[str, ...] = ()
    categories: tuple[tuple[str, str], ...] = ()
    layer: int = 0
    has_other_role: bool = False

    @property
    def meaning(self) -> Meaning:
        """What words, type, category and role say that it is."""
        if not self.has_other_role:
            return self._named_meaning
        return Meaning.OTHER if self._named_meaning in (Meaning.NOTHING, Meaning.OTHER) else Meaning.BOTH

    @property
    def _named_meaning(self) -> Meaning:
        words = meaning_of([*self.words, *self.types])
        if TUMOR_CODES.isdisjoint(self.codes):
            anatomy = not OTHER_CATEGORIES.isdisjoint(self.categories)
            return Meaning.OTHER if words is Meaning.NOTHING and anatomy else words
        return Meaning.TUMOR if words in (Meaning.NOTHING, Meaning.TUMOR) else Meaning.BOTH

    @property
    def is_named_by_label(self) -> bool:
        """Whether the label or description says tumor, not the coded type alone."""
        return meaning_of(self.words) is Meaning.TUMOR

    def is_named(self, labels: Sequence[str]) -> bool:
        """Whether one of the labels names it."""
        values = {value.lower() for _, value in self.codes}
        words = (*self.words, *self.types)
        return any(label.strip().lower() in values or names(words, label) for label in labels)

    def is_selected(self, selection: Selection) -> bool:
        """Whether a user's numbers or labels mean it."""
        return self.number in selection.numbers or self.is_named(selection.labels)


@dataclass(frozen=True)
class Claim:
    """What the source says of a reference file as a whole.

    Parameters
    ----------
    says
        What says that it is the tumor, in words of ours, such as "the column reference"; empty if nothing does.
    structures
        Named values of a label map, from a table beside it.
    is_by_label
        Whether the file was chosen by --tumor-label, so that nothing in it needs that name.
    labels
        Names that the data set uses for its tumor.
    """

    says: str = ""
    structures: tuple[Structure, ...] = ()
    is_by_label: bool = False
    labels: tuple[str, ...] = ()

    def key(self) -> str:
        """Text that changes if other values of the file are tumor; empty if the file alone decides."""
        return "" if not self.structures else repr([(one.number, one.words) for one in self.structures])


NO_CLAIM = Claim()


@dataclass(frozen=True)
class Parts:
    """How messages name a reference and its parts, such as "a DICOM SEG" of one "segment".

    `named_by` is what says which part is tumor, if it is not the parts' own labels or types.
    """

    whole: str
    part: str
    named_by: str = ""

    @property
    def this(self) -> str:
        """Such as "the DICOM SEG"."""
        return f"the {self.whole.partition(' ')[2]}"

    def counted(self, count: int) -> str:
        """Such as "a DICOM SEG of 2 segments"."""
        return f"{self.whole} of {count} {self.part}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class Choice:
    """What of a reference is tumor, and what says so, in words of ours.

    `is_whole` says that only the file was named for the tumor, not its one part.
    """

    structures: tuple[Structure, ...]
    says: str
    is_whole: bool = False

    @property
    def numbers(self) -> list[int]:
        """Their numbers, in the file's order."""
        return [one.number for one in self.structures]


def structures_of(header: Any) -> list[Structure]:
    """Segments of a DICOM SEG, without a label map's background (0), or regions of an RTSTRUCT, in the file's order."""
    segments = [_segment(item, place) for place, item in enumerate(value_of(header, "SegmentSequence") or [], start=1)]
    if text_of(header, "SOPClassUID") == SEGMENTATION_STORAGE[1]:
        segments = [one for one in segments if one.number > 0]
    observations = value_of(header, "RTROIObservationsSequence") or []
    return segments + [_region(item, observations) for item in value_of(header, "StructureSetROISequence") or []]


def words_of(header: Any) -> list[str]:
    """Words of all segments or regions of a reference."""
    return [word for structure in structures_of(header) for word in (*structure.words, *structure.types)]


def _segment(item: Any, place: int) -> Structure:
    """A segment, whose number is its place in the file where it has none."""
    number = number_of(item, "SegmentNumber")
    types = value_of(item, "SegmentedPropertyTypeCodeSequence") or []
    categories = value_of(item, "SegmentedPropertyCategoryCodeSequence") or []
    return Structure(
        place if number is None else int(number),
        (text_of(item, "SegmentLabel"), text_of(item, "SegmentDescription")),
        _codes(types),
        _meanings(types),
        _codes(categories),
    )


def _region(item: Any, observations: Sequence[Any]) -> Structure:
    number = int(number_of(item, "ROINumber") or 0)
    words = [text_of(item, "ROIName"), text_of(item, "ROIDescription")]
    codes: tuple[tuple[str, str], ...] = ()
    meanings: tuple[str, ...] = ()
    roles: set[str] = set()
    for observation in observations:
        if text_of(observation, "ReferencedROINumber") == str(number):
            types = value_of(observation, "RTROIIdentificationCodeSequence") or []
            words += [text_of(observation, k) for k in ("ROIObservationLabel", "RTROIInterpretedType")]
            meanings += _meanings(types)
            codes += _codes(types)
            roles.add(text_of(observation, "RTROIInterpretedType").upper())
    return Structure(number, tuple(words), codes, meanings, has_other_role=not OTHER_ROLES.isdisjoint(roles))


def _meanings(items: Sequence[Any]) -> tuple[str, ...]:
    return tuple(text_of(item, "CodeMeaning") for item in items)


def _codes(items: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    return tuple((text_of(item, "CodingSchemeDesignator"), text_of(item, "CodeValue")) for item in items)


def choose(structures: Sequence[Structure], selection: Selection, parts: Parts, claim: Claim = NO_CLAIM) -> Choice:
    """What is tumor: what the user asks for, else what is named as one, else the only part of a file named for it.

    Parameters
    ----------
    structures
        All of a reference.
    selection
        What the user says.
    parts
        How messages name them.
    claim
        What the source says of the file.

    Raises
    ------
    Unusable
        If nothing says what is tumor, what is asked for is missing or named as another structure, or the tumor shares
        its number with something else.
    """
    choice = _choice(structures, selection, parts, claim)
    _check_separable(choice.structures, structures, parts)
    return choice


def _choice(structures: Sequence[Structure], selection: Selection, parts: Parts, claim: Claim) -> Choice:
    if (selection.labels and not claim.is_by_label) or selection.numbers:
        return _asked_for(structures, selection, parts)
    if own := [one for one in structures if one.is_named(claim.labels)]:
        return Choice(tuple(own), f"{_which(own, structures, parts)}, by the --tumor-label of the data set")
    if chosen := [one for one in structures if one.meaning is Meaning.TUMOR]:
        return Choice(tuple(chosen), f"{_which(chosen, structures, parts)}, by {_witness(chosen, parts)}")
    if len(structures) == 1 and claim.says and (structures[0].meaning is Meaning.NOTHING or claim.is_by_label):
        return Choice(tuple(structures), f"its only {parts.part}, by {claim.says}", is_whole=True)
    raise _not_named(structures, parts)


def _asked_for(structures: Sequence[Structure], selection: Selection, parts: Parts) -> Choice:
    chosen = [one for one in structures if one.is_selected(selection)]
    if not chosen:
        missing = "which has no" if len(structures) == 1 else "none of which has a"
        raise Unusable(
            f"{parts.counted(len(structures))}, {missing} number or label that was asked for",
            "the numbers or labels given with --segment or --tumor-label",
            "Compare them with the reference in a viewer",
        )
    for one in (one for one in chosen if not one.is_named(selection.labels)):
        _check_number(one, structures, parts)
    options = [
        option
        for option, used in (
            ("--tumor-label", any(one.is_named(selection.labels) for one in chosen)),
            ("--segment", any(one.number in selection.numbers for one in chosen)),
        )
        if used
    ]
    return Choice(tuple(chosen), f"{_which(chosen, structures, parts)}, by {' and '.join(options)}")


def _check_number(one: Structure, structures: Sequence[Structure], parts: Parts) -> None:
    """Refuse a part that was asked for by a number under which this file has something else."""
    if one.meaning is Meaning.OTHER:
        raise Unusable(
            f"--segment {one.number}, which {parts.this} names as another structure",
            "a part that is not named as something else; numbers may change places between patients",
            "Name the tumor with --tumor-label, which may be any name",
        )
    alike = sum(other.number == one.number for other in structures)
    if alike > 1:
        raise Unusable(
            f"--segment {one.number}, a number that {alike} {parts.part}s of {parts.this} have",
            "a number of one alone",
            "Name the tumor with --tumor-label",
        )


def _check_separable(chosen: Sequence[Structure], structures: Sequence[Structure], parts: Parts) -> None:
    """Refuse a tumor that has number and layer of a part that was not chosen: their voxels are the same."""
    places = {(one.number, one.layer) for one in chosen}
    if others := [one for one in structures if one not in chosen and (one.number, one.layer) in places]:
        numbers = ", ".join(str(number) for number in sorted({one.number for one in others}))
        raise Unusable(
            f"the number {numbers}, which the tumor and another {parts.part} of {parts.this} have",
            f"a number of its own for each {parts.part}",
            f"Save it again with a number for each {parts.part}",
        )


def _which(chosen: Sequence[Structure], structures: Sequence[Structure], parts: Parts) -> str:
    if len(structures) == 1:
        return f"its only {parts.part}"
    numbers = ", ".join(str(one.number) for one in chosen)
    counted = f"{len(chosen)} of {len(structures)} {parts.part}s"
    return f"{counted} (number{'' if len(chosen) == 1 else 's'} {numbers})"


def _witness(chosen: Sequence[Structure], parts: Parts) -> str:
    whose = "its" if len(chosen) == 1 else "their"
    witnesses = dict.fromkeys("label" if one.is_named_by_label else "coded type" for one in chosen)
    return parts.named_by or " and ".join(f"{whose} {witness}" for witness in witnesses)


def unnamed_notes(found: Mapping[int, int], parts: str, unit: str) -> tuple[str, ...]:
    """A note on parts of a reference that nothing names; no note if all have names.

    Parameters
    ----------
    found
        How many units, such as voxels, by number.
    parts, unit
        How the note calls them, such as "values" and "voxel".
    """
    if not found:
        return ()
    listed = [f"{number} ({n} {unit}{'' if n == 1 else 's'})" for number, n in sorted(found.items())]
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    shown = ", ".join(listed[:MOST_LISTED])
    return (f"the reference also holds {parts} without a name, which were not taken as tumor: {shown}{more}",)


def _not_named(structures: Sequence[Structure], parts: Parts) -> Unusable:
    """Why no part of a reference is known for the tumor."""
    found = parts.counted(len(structures))
    counts = Counter(one.meaning for one in structures)
    if len(structures) == 1:
        (meaning,) = counts
        named = "which nothing names as a tumor" if meaning is Meaning.NOTHING else f"which is named as {meaning}"
    else:
        listed = ", ".join(
            f"{n} whose name says neither" if meaning is Meaning.NOTHING else f"{n} named as {meaning}"
            for meaning, n in counts.items()
        )
        named = f"none of which is named as a tumor ({listed})" if structures else "so nothing in it is a tumor"
    return Unusable(
        f"{found}, {named}",
        "a label, description or type such as tumor, lesion, neoplasm or GTV",
        "Name the one to use with --tumor-label"
        + ("" if structures and set(counts) == {Meaning.OTHER} else " or --segment"),
    )
