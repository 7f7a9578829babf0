"""The vocabulary: case, patient, fold.

A *case* is one image with its reference; a *patient* may have several cases.
A *fold* is one round of the cross-validation: it trains on some cases and is
judged on the others. Fold numbers are nnU-Net's, from 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.files import numbered_rows, read_json, write_csv, write_json
from nnunet_spine.json_entries import Entry, is_file_name, is_name

UNKNOWN = "unknown"
SPLITS_FILE = "splits_final.json"
CASES_FILE = "cases.csv"
CHANNEL = "_0000"
"""What follows the case in the name of its image, before the suffix, as nnU-Net wants it."""

Closed = TypeVar("Closed", bound=StrEnum)


class Compartment(StrEnum):
    """Where a tumour lies; both documented compartments are intradural."""

    INTRAMEDULLARY = "intramedullary"
    EXTRAMEDULLARY = "extramedullary"
    UNKNOWN = "unknown"


class Region(StrEnum):
    """Part of the spine that the image shows."""

    CERVICAL = "cervical"
    THORACIC = "thoracic"
    LUMBAR = "lumbar"
    UNKNOWN = "unknown"


class Split(StrEnum):
    """Whether a case takes part in cross-validation, or is held out as a separate test set."""

    TRAIN = "train"
    TEST = "test"


@dataclass(frozen=True)
class Case:
    """What is known of a case without knowing the patient.

    Parameters
    ----------
    case
        Identifier of the case, ours, and nnU-Net's file name.
    patient
        Pseudonym of the patient, ours.
    compartment
        Where the tumour lies.
    tumor_type
        Free term, such as "ependymoma"; "unknown" where not given.
    maker
        Maker of the scanner.
    field_strength
        In tesla; None where not given.
    region
        Part of the spine.
    """

    case: str
    patient: str
    compartment: Compartment = Compartment.UNKNOWN
    tumor_type: str = UNKNOWN
    maker: str = UNKNOWN
    field_strength: float | None = None
    region: Region = Region.UNKNOWN


LONGEST_VALUE = 500
"""Characters of a value of cases.csv."""

CASE_COLUMNS = ("case", "patient", "compartment", "tumor_type", "maker", "field_strength", "region")


@dataclass(frozen=True)
class Fold:
    """One round of the cross-validation.

    Parameters
    ----------
    number
        nnU-Net's number, from 0.
    train, test
        Case identifiers, sorted; nnU-Net calls `test` "val".
    """

    number: int
    train: tuple[str, ...]
    test: tuple[str, ...]


def write_cases(path: Path, cases: Iterable[Case]) -> None:
    """Write `cases` as CSV with the columns `CASE_COLUMNS`."""
    write_csv(path, CASE_COLUMNS, [asdict(case) for case in cases])


def read_cases(path: Path) -> list[Case]:
    """Read a pseudonymous cases.csv; only `case` and `patient` must be there.

    Raises
    ------
    NotFound, BadInput
        Where the file is absent, a column is missing, a value is not one of the closed set, or a case is listed twice.
    """
    cases: dict[str, Case] = {}
    for number, row in numbered_rows(path, ("case", "patient")):
        case = _case_of_row(row, f"{path}, row {number}")
        if case.case in cases:
            raise BadInput(f"{path}, row {number}: the case {case.case} is listed twice. Keep one row for each case.")
        cases[case.case] = case
    return list(cases.values())


def parse_enum(kind: type[Closed], value: str, where: str) -> Closed:
    """Member of a closed set by its value, without regard to case; empty means "unknown" where the set has it.

    Raises
    ------
    BadInput
        Where the value is not in the set.
    """
    text = value.strip().lower() or UNKNOWN
    try:
        return kind(text)
    except ValueError as error:
        allowed = ", ".join(member.value for member in kind)
        raise BadInput(f"{where}: {kind.__name__.lower()} is {value[:40]!r}; expected one of {allowed}.") from error


def _case_of_row(row: dict[str, str], where: str) -> Case:
    if not row["case"] or not row["patient"]:
        raise BadInput(f"{where}: `case` and `patient` must not be empty.")
    if long := next((name for name in CASE_COLUMNS if len(row.get(name, "")) > LONGEST_VALUE), ""):
        raise BadInput(f"{where}: {long} has {len(row[long])} characters; expected at most {LONGEST_VALUE}.")
    if not (is_file_name(row["case"]) and is_name(row["patient"])):
        raise BadInput(f"{where}: `case` or `patient` holds a control character, or `case` a path. Correct it.")
    strength = row.get("field_strength", "")
    try:
        field_strength = float(strength.replace(",", ".")) if strength else None
    except ValueError:
        field_strength = math.nan
    if field_strength is not None and not 0 < field_strength < math.inf:
        raise BadInput(f"{where}: field_strength is {strength[:40]!r}; expected tesla, such as 1.5.")
    return Case(
        case=row["case"],
        patient=row["patient"],
        compartment=parse_enum(Compartment, row.get("compartment", ""), where),
        tumor_type=row.get("tumor_type", "") or UNKNOWN,
        maker=row.get("maker", "") or UNKNOWN,
        field_strength=field_strength,
        region=parse_enum(Region, row.get("region", ""), where),
    )


def write_splits(path: Path, folds: Sequence[Fold]) -> None:
    """Write nnU-Net's splits_final.json."""
    write_json(path, [{"train": list(fold.train), "val": list(fold.test)} for fold in folds])


def read_splits(path: Path) -> list[Fold]:
    """Read nnU-Net's splits_final.json.

    Raises
    ------
    NotFound, BadInput
        Where it is absent, is not a list of {"train": [...], "val": [...]}, trains a fold on its own test cases, or
        tests a case twice.
    """
    content = Entry(path, "", read_json(path), _NO_FOLDS)
    folds = [
        Fold(number, _identifiers(fold.get("train")), _identifiers(fold.get("val")))
        for number, fold in enumerate(content.items())
    ]
    if not folds:
        raise BadInput(f"{path} holds no fold. Run `nnunet-spine convert` to make it.")
    _check_folds(folds, path)
    return folds


_NO_FOLDS = "It is not a list of folds with `train` and `val`, as nnU-Net writes it. Give nnU-Net's splits_final.json."


def read_fold(path: Path, number: int) -> Fold:
    """Read one fold of nnU-Net's splits_final.json.

    Raises
    ------
    NotFound, BadInput
        As for `read_splits`; NotFound also where the file does not have the fold.
    """
    folds = read_splits(path)
    if not 0 <= number < len(folds):
        raise NotFound(
            f"There is no fold {number}: {path} has folds 0 to {len(folds) - 1}. "
            "Train one of those, or convert again with more folds."
        )
    return folds[number]


def _identifiers(cases: Entry) -> tuple[str, ...]:
    return tuple(sorted(str(case.value) if type(case.value) is int else case.file_name() for case in cases.items()))


def _check_folds(folds: Sequence[Fold], path: Path) -> None:
    seen: dict[str, int] = {}
    for fold in folds:
        leaked = sorted(set(fold.train) & set(fold.test))
        if leaked:
            raise BadInput(f"{path}: fold {fold.number} trains on cases that it is tested on: {', '.join(leaked[:5])}.")
        for case in fold.test:
            if seen.get(case) == fold.number:
                raise BadInput(f"{path}: fold {fold.number} lists its test case {case} twice. Keep it once.")
            if case in seen:
                raise BadInput(f"{path}: {case} is a test case of fold {seen[case]} and of fold {fold.number}.")
            seen[case] = fold.number
