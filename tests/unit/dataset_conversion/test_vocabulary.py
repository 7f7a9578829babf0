from __future__ import annotations

import pytest

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.dataset_conversion.vocabulary import (
    compartment_of,
    maker_of,
    region_of,
    tumor_type_of,
)


@pytest.mark.parametrize(
    ("text", "maker"),
    [
        ("SIEMENS", "SIEMENS"),
        ("Siemens Healthineers", "SIEMENS"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GE", "GE"),
        ("General Electric", "GE"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA_MEC", "Canon"),
        ("Canon Medical", "Canon"),
        ("Hitachi", "other"),
        ("Imagenetics", "other"),
        ("", "unknown"),
        ("unknown", "unknown"),
    ],
)
def test_makers(text: str, maker: str) -> None:
    assert maker_of(text) == maker


@pytest.mark.parametrize(
    ("texts", "compartment"),
    [
        (["intradural tumor", "Intramedullary ependymoma"], Compartment.INTRAMEDULLARY),
        (["extramedullary"], Compartment.EXTRAMEDULLARY),
        (["intramedullary and extramedullary"], Compartment.UNKNOWN),
        (["intradural"], Compartment.UNKNOWN),
        ([], Compartment.UNKNOWN),
    ],
)
def test_compartments(texts: list[str], compartment: Compartment) -> None:
    assert compartment_of(texts) is compartment


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("intramedullary ependymoma", "ependymoma"),
        ("Myxopapillary_Ependymoma", "myxopapillary ependymoma"),
        ("haemangioblastoma", "hemangioblastoma"),
        ("neurinoma", "schwannoma"),
        ("Smith's tumor", "unknown"),
    ],
)
def test_tumor_types(text: str, kind: str) -> None:
    assert tumor_type_of([text]) == kind


@pytest.mark.parametrize(
    ("texts", "region"),
    [
        (["CSPINE"], Region.CERVICAL),
        (["TSPINE"], Region.THORACIC),
        (["LSPINE"], Region.LUMBAR),
        (["LSSPINE"], Region.LUMBAR),
        (["SPINE", "t1_sag_HWS"], Region.CERVICAL),
        (["", "SAG L-SPINE"], Region.LUMBAR),
        (["SPINE", "cervical and thoracic"], Region.UNKNOWN),
        (["WHOLESPINE"], Region.UNKNOWN),
    ],
)
def test_regions(texts: list[str], region: Region) -> None:
    assert region_of(texts) is region
