from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from nnunet_spine.dataset_conversion.dicom_headers import Series
from nnunet_spine.dataset_conversion.series_choice import best, contrast_of, judge, orientation_of, weighting_of


def header(**tags: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in tags.items():
        setattr(dataset, keyword, value)
    return dataset


def series(number: int, **tags: Any) -> Series:
    base = {
        "SeriesNumber": number,
        "ImageOrientationPatient": [0, 1, 0, 0, 0, -1],
        "RepetitionTime": 600,
        "EchoTime": 10,
        "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    }
    return Series(f"1.{number}", (Path("f"),), header(**{**base, **tags}))


@pytest.mark.parametrize(
    ("cosines", "plane"),
    [
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([0, -1, 0, 0, 0, 1], "sagittal"),
        ([0.3, 0.954, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
    ],
)
def test_the_plane_comes_from_the_geometry(cosines: list[float], plane: str) -> None:
    finding = orientation_of(header(ImageOrientationPatient=cosines, SeriesDescription="AX SAG COR"))
    assert finding.words == plane
    assert bool(finding.score) == (plane == "sagittal")


def test_no_orientation_is_no_plane() -> None:
    assert orientation_of(header()).score == 0


@pytest.mark.parametrize(
    ("tags", "is_t1"),
    [
        ({"RepetitionTime": 550, "EchoTime": 9}, True),  # spin echo
        ({"RepetitionTime": 2000, "EchoTime": 20, "InversionTime": 860}, True),  # T1 FLAIR
        ({"RepetitionTime": 2300, "EchoTime": 3, "InversionTime": 900, "ScanningSequence": ["GR", "IR"]}, True),
        ({"RepetitionTime": 5, "EchoTime": 2, "ScanningSequence": "GR"}, True),
        ({"RepetitionTime": 3500, "EchoTime": 100}, False),  # T2
        ({"RepetitionTime": 3500, "EchoTime": 15}, False),  # proton density
        ({"RepetitionTime": 4000, "EchoTime": 35, "InversionTime": 160}, False),  # STIR
        ({"RepetitionTime": 9000, "EchoTime": 30, "InversionTime": 2500}, False),  # T2 FLAIR
        ({"RepetitionTime": 700, "EchoTime": 20, "ScanningSequence": "GR"}, False),  # T2*
        ({"SeriesDescription": "t1_tse_sag"}, True),
        ({"SeriesDescription": "t2_tse_sag"}, False),
        ({"SeriesDescription": "sag"}, False),
        ({"RepetitionTime": 3500, "EchoTime": 100, "SeriesDescription": "t1"}, False),  # times outweigh words
    ],
)
def test_weighting_comes_from_the_times(tags: dict[str, Any], is_t1: bool) -> None:
    assert bool(weighting_of(header(**tags)).score) == is_t1


@pytest.mark.parametrize(
    ("description", "after"),
    [
        ("SAG T1 +C", True),
        ("SAG T1 +GD", True),
        ("t1_tse_sag_KM", True),
        ("T1 SAG POST", True),
        ("T1W_TSE_SAG_CE", True),
        ("sag t1 gad fs", True),
        ("sag t1 with contrast", True),
        ("SAG T1 C+", True),
        ("SAG T1 PRE", False),
        ("t1_sag_nativ", False),
        ("t1 sag ohne KM", False),
        ("T1 SAG without contrast", False),
        ("T1 SAG NON-CONTRAST", False),
        ("T1 SAG unenhanced", False),
        ("SAG T1 -C", False),
        ("T1 sag posterior fossa", False),
        ("T1 SAG cervical", False),
        ("T1 SAG SUB post-pre", False),
    ],
)
def test_contrast_by_words(description: str, after: bool) -> None:
    assert bool(contrast_of(header(SeriesDescription=description)).score) == after


@pytest.mark.parametrize(
    ("tags", "after"),
    [
        ({"ContrastBolusAgent": "Gadovist"}, True),
        ({"ContrastBolusVolume": 7.5}, True),
        ({"ContrastBolusAgent": "NONE"}, False),
        ({"ContrastBolusAgent": ""}, False),
        ({"ContrastBolusVolume": 0}, False),
        ({"ContrastBolusAgent": "Gadovist", "SeriesDescription": "T1 PRE"}, False),  # written into every series
        ({"ContrastBolusAgent": "Gadovist", "ImageType": ["DERIVED", "SECONDARY", "SUBTRACTION"]}, False),
        ({}, False),
    ],
)
def test_contrast_by_tags(tags: dict[str, Any], after: bool) -> None:
    assert bool(contrast_of(header(**tags)).score) == after


def test_tags_and_words_together_are_surest() -> None:
    tagged = judge(series(3, ContrastBolusAgent="Gd"))
    both = judge(series(4, ContrastBolusAgent="Gd", SeriesDescription="SAG T1 POST"))
    words = judge(series(5, SeriesDescription="SAG T1 POST"))
    assert [one.series.number for one in best([tagged, both, words])] == ["4"]


def test_an_original_comes_before_what_was_derived_from_it() -> None:
    original = judge(series(3, ContrastBolusAgent="Gd", ImageType=["ORIGINAL", "PRIMARY"]))
    derived = judge(series(4, ContrastBolusAgent="Gd", ImageType=["DERIVED", "SECONDARY"]))
    assert best([derived, original]) == [original]


def test_equal_series_are_both_named() -> None:
    two = [judge(series(n, ContrastBolusAgent="Gd")) for n in (3, 4)]
    assert best(two) == two
    assert two[0].describe() == "series 3 (sagittal, T1, after contrast)"


def test_none_that_qualifies_is_none() -> None:
    assert best([judge(series(3))]) == []
    assert judge(series(3)).describe() == "series 3 (sagittal, T1, no sign of contrast agent)"
