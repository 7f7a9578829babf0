from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydicom.dataset import Dataset

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import (
    NO_CLAIM,
    NO_SELECTION,
    Claim,
    Parts,
    Selection,
    Structure,
    choose,
    structures_of,
)
from nnunet_spine.dataset_conversion.tumor_words import Meaning
from nnunet_spine.errors import BadInput

PARTS = Parts("a DICOM SEG", "segment")
LISTED = Claim("the column reference")
TUMOR = Structure(1, ("Tumor", ""))
CORD = Structure(2, ("Spinal cord", ""))
NAMELESS = Structure(1, ("Segment_1", ""), (("SCT", "85756007"),), ("Tissue",))
CODED = Structure(3, ("Befund", ""), (("SCT", "108369006"),), ("",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": (" ",)}, "label is empty"),
        ({"numbers": (0,)}, "below 1"),
        ({"fraction": 0.0}, "fraction is 0.0"),
        ({"fraction": 1.1}, "fraction is 1.1"),
        ({"fraction": float("nan")}, "fraction is nan"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Selection(**options)


def test_the_manifest_tells_what_differs() -> None:
    assert Selection().parameters() == {}
    told = Selection(("cord",), (2,), 0.3).parameters()
    assert told == {"tumor_labels": ["cord"], "segments": [2], "fraction": 0.3}


def test_labels_name_words_meanings_and_code_values() -> None:
    structure = Structure(3, ("x", ""), (("SCT", "85756007"),), ("Tissue",))
    assert structure.is_selected(Selection(labels=("85756007",)))
    assert structure.is_selected(Selection(labels=("TISSUE",)))
    assert not structure.is_selected(Selection(labels=("8575",), numbers=(1,)))


@pytest.mark.parametrize(
    ("words", "codes", "expected"),
    [
        (["GTV_1"], [], Meaning.TUMOR),
        (["Tumeur"], [("SCT", "108369006")], Meaning.TUMOR),
        (["Befund"], [("SRT", "M-8FFFF")], Meaning.TUMOR),
        (["edema"], [("SCT", "108369006")], Meaning.BOTH),
        (["CTV tumor"], [], Meaning.BOTH),
        (["cord"], [("SCT", "2748008")], Meaning.OTHER),
        (["Segment 1"], [("SCT", "85756007")], Meaning.NOTHING),
    ],
)
def test_words_and_coded_types_say_what_it_is(
    words: list[str], codes: list[tuple[str, str]], expected: Meaning
) -> None:
    assert Structure(1, tuple(words), tuple(codes)).meaning is expected


def test_an_anatomical_category_is_another_structure_where_nothing_else_is_said() -> None:
    anatomy = (("SCT", "123037004"),)
    assert Structure(1, ("Segment_1",), categories=anatomy).meaning is Meaning.OTHER
    assert Structure(1, ("Tumor",), categories=anatomy).meaning is Meaning.TUMOR


def region(name: str, kind: str) -> Structure:
    """A region of an RTSTRUCT with a name and an RT ROI Interpreted Type."""
    item, observation, header = Dataset(), Dataset(), Dataset()
    item.ROINumber, item.ROIName = 7, name
    observation.ReferencedROINumber, observation.RTROIInterpretedType = 7, kind
    header.StructureSetROISequence, header.RTROIObservationsSequence = [item], [observation]
    (structure,) = structures_of(header)
    return structure


@pytest.mark.parametrize(
    "kind",
    [
        *("EXTERNAL", "PTV", "CTV", "TREATED_VOLUME", "IRRAD_VOLUME", "OAR", "BOLUS", "AVOIDANCE", "MARKER"),
        *("REGISTRATION", "ISOCENTER", "CONTRAST_AGENT", "CAVITY", "BRACHY_CHANNEL", "BRACHY_ACCESSORY"),
        *("BRACHY_SRC_APP", "BRACHY_CHNL_SHLD", "SUPPORT", "FIXATION", "DOSE_REGION", "CONTROL", "DOSE_MEASUREMENT"),
        "avoidance",
    ],
)
def test_regions_of_another_role_are_no_tumor_by_their_names_alone(kind: str) -> None:
    assert region("GTV", kind).meaning is Meaning.BOTH
    assert region("ROI 1", kind).meaning is Meaning.OTHER
    assert region("Spinal cord", kind).meaning is Meaning.OTHER


@pytest.mark.parametrize(
    ("name", "kind", "meaning"),
    [
        ("GTV", "ORGAN", Meaning.TUMOR),  # what many programs write for all regions
        ("GTV", "", Meaning.TUMOR),
        ("GTV", "UNDEFINED", Meaning.TUMOR),
        ("ROI 1", "ORGAN", Meaning.NOTHING),
        ("ROI 1", "GTV", Meaning.TUMOR),
        ("Spinal cord", "GTV", Meaning.BOTH),
        ("Lungs-GTV", "ORGAN", Meaning.BOTH),
        ("zGTV_opt", "GTV", Meaning.BOTH),
        ("Spinal cord", "ORGAN", Meaning.OTHER),
    ],
)
def test_a_region_is_what_name_and_type_say(name: str, kind: str, meaning: Meaning) -> None:
    assert region(name, kind).meaning is meaning


@pytest.mark.parametrize(
    ("structures", "selection", "claim", "numbers", "says"),
    [
        ([TUMOR], NO_SELECTION, NO_CLAIM, [1], "its only segment, by its label"),
        ([CORD, TUMOR], NO_SELECTION, NO_CLAIM, [1], "1 of 2 segments (number 1), by its label"),
        ([CORD, CODED], NO_SELECTION, NO_CLAIM, [3], "1 of 2 segments (number 3), by its coded type"),
        (
            [TUMOR, CODED],
            NO_SELECTION,
            NO_CLAIM,
            [1, 3],
            "2 of 2 segments (numbers 1, 3), by their label and their coded type",
        ),
        ([NAMELESS], NO_SELECTION, LISTED, [1], "its only segment, by the column reference"),
        ([NAMELESS], Selection(numbers=(1,)), NO_CLAIM, [1], "its only segment, by --segment"),
        ([CORD], Selection(labels=("cord",)), NO_CLAIM, [2], "its only segment, by --tumor-label"),
        ([CORD, TUMOR], Selection(labels=("cord",)), LISTED, [2], "1 of 2 segments (number 2), by --tumor-label"),
        (
            [CORD, TUMOR],
            Selection(("cord",), (2,)),
            NO_CLAIM,
            [2],
            "1 of 2 segments (number 2), by --tumor-label and --segment",
        ),
        (
            [CORD, NAMELESS],
            NO_SELECTION,
            Claim("x", labels=("segment 1",)),
            [1],
            "1 of 2 segments (number 1), by the --tumor-label of the data set",
        ),
        (
            [CORD, TUMOR],
            NO_SELECTION,
            Claim("x", labels=("cord",)),
            [2],
            "1 of 2 segments (number 2), by the --tumor-label of the data set",
        ),
    ],
)
def test_what_is_tumor_is_told(
    structures: list[Structure], selection: Selection, claim: Claim, numbers: list[int], says: str
) -> None:
    chosen = choose(structures, selection, PARTS, claim)
    assert (chosen.numbers, chosen.says) == (numbers, says)


def test_one_number_does_for_tumors_others_and_layers() -> None:
    """Two tumors are united anyway, what is not taken may share, and layers are separate volumes."""
    lesion = Structure(1, ("Lesion",))
    assert choose([TUMOR, lesion], NO_SELECTION, PARTS).numbers == [1, 1]
    assert choose([TUMOR, CORD, Structure(2, ("Canal",))], NO_SELECTION, PARTS).numbers == [1]
    assert choose([TUMOR, replace(CORD, number=1, layer=1)], NO_SELECTION, PARTS).numbers == [1]


@pytest.mark.parametrize(
    ("structures", "selection", "claim", "message"),
    [
        ([NAMELESS], NO_SELECTION, NO_CLAIM, "1 segment, which nothing names as a tumor"),
        ([CORD], NO_SELECTION, NO_CLAIM, "1 segment, which is named as another structure"),
        ([CORD], NO_SELECTION, LISTED, "1 segment, which is named as another structure"),
        ([Structure(1, ("tumor edema",))], NO_SELECTION, LISTED, "which is named as a tumor and another structure"),
        ([CORD, NAMELESS], NO_SELECTION, LISTED, "2 segments, none of which is named as a tumor .1 named as another"),
        ([], NO_SELECTION, LISTED, "0 segments, so nothing in it is a tumor"),
        ([CORD, TUMOR], Selection(numbers=(2,)), LISTED, "--segment 2, which the DICOM SEG names as another structure"),
        ([CORD, TUMOR], Selection(numbers=(5,)), LISTED, "none of which has a number or label that was asked for"),
        ([TUMOR], Selection(labels=("GTV",)), LISTED, "1 segment, which has no number or label that was asked for"),
        ([TUMOR, NAMELESS], Selection(numbers=(1,)), LISTED, "--segment 1, a number that 2 segments"),
        ([TUMOR, NAMELESS], NO_SELECTION, LISTED, "the number 1, which the tumor and another segment of the DICOM SEG"),
        ([TUMOR, NAMELESS], Selection(labels=("tumor",)), LISTED, "the number 1, which the tumor and another segment"),
        ([CORD, CODED, replace(CORD, number=3)], NO_SELECTION, NO_CLAIM, "the number 3, which the tumor and another"),
    ],
)
def test_what_nothing_says_is_asked_for(
    structures: list[Structure], selection: Selection, claim: Claim, message: str
) -> None:
    with pytest.raises(Unusable, match=message):
        choose(structures, selection, PARTS, claim)
