from __future__ import annotations

import pytest

from nnunet_spine.dataset_conversion.patient_key import patient_key, printable, spelt_differently


@pytest.mark.parametrize(
    "other",
    [
        "zq-7741",
        " ZQ-7741 ",
        "ZQ-77 41",
        "ZQ\u00a0-7741",
        "00ZQ-7741",
        "ZQ-7741\x00",
        "ＺＱ-7741",
        "ZQ-7741\r\n",
        "^ZQ-7741^",
    ],
)
def test_spellings_of_one_identifier(other: str) -> None:
    assert patient_key(other) == patient_key("ZQ-7741")


def test_the_order_about_the_caret_does_not_count() -> None:
    assert patient_key("Müller^Änne") == patient_key("ÄNNE ^ MU\u0308LLER")


@pytest.mark.parametrize(("one", "other"), [("A-10", "A-1"), ("10", "100"), ("0", ""), ("A-07", "A-7"), ("ab", "ba")])
def test_other_identifiers_stay_apart(one: str, other: str) -> None:
    assert patient_key(one) != patient_key(other)


def test_what_is_printable_is_one_line() -> None:
    assert printable("a\r\nb\x1b[2J\udc80\u202ec") == "a b [2J c"


def test_spellings_are_told_by_our_names() -> None:
    spelt = [("c3", "007"), ("c1", "7"), ("c2", "7"), ("c4", "8"), ("c5", ""), ("c6", " ")]
    assert spelt_differently(spelt) == [("c1", "c3")]
