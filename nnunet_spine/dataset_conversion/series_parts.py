"""Taking a DICOM series apart where it holds several volumes: stacks, stations, echoes, time points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from nnunet_spine.dataset_conversion.dicom_headers import Series, Slice, number_of, numbers_of, text_of, words_in

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines within a stack."""

STATION_MM = 5.0
"""Stacks of one orientation whose first voxels lie further apart within the plane are different stations."""

POSITION_TOLERANCE_MM = 0.01
"""Differences of slice positions up to this are rounding of the header."""


def parts_of(series: Series) -> list[Series]:
    """The volumes that a series holds, the series itself where it is one.

    Slices of different size, pixel spacing, orientation or stack make different volumes. What else differs between
    them does only where several slices lie at one place: makers number the interleaved slices of one volume
    as different acquisitions too.

    Parameters
    ----------
    series
        With its slices.

    Returns
    -------
    list of Series
        In the order of their first slice, numbered from 1 where there are several.
    """
    groups, reasons = _split(list(series.slices), _ALWAYS, only_where_doubled=False)
    parts = []
    for group in groups:
        inner, inner_reasons = _split(group, _WHERE_DOUBLED, only_where_doubled=True)
        parts += inner
        reasons += [reason for reason in inner_reasons if reason not in reasons]
    if len(parts) < 2:
        return [series]
    return [_part(series, slices, number, ", ".join(reasons)) for number, slices in enumerate(parts, start=1)]


def _part(series: Series, slices: Sequence[Slice], number: int, reasons: str) -> Series:
    files = tuple(dict.fromkeys(one.path for one in slices))
    return replace(
        series, files=files, header=slices[0].header, slices=tuple(slices), part=number, told_apart_by=reasons
    )


_Key = Callable[[Sequence[Slice]], Sequence[Hashable]]
"""What slices are told apart by: one value for each."""


def _split(
    slices: list[Slice], keys: Sequence[tuple[str, _Key]], *, only_where_doubled: bool
) -> tuple[list[list[Slice]], list[str]]:
    """Groups of slices with equal keys, each key applied in turn, and the names of the keys that told them apart."""
    groups, reasons = [slices], []
    for name, key in keys:
        divided = []
        for group in groups:
            if not only_where_doubled:
                divided += _grouped(group, key)
            elif doubled := doubled_places(group):
                parts = _grouped(group, key)
                divided += parts if sum(map(doubled_places, parts)) < doubled else [group]
            else:
                divided.append(group)
        if len(divided) > len(groups):
            reasons.append(name)
        groups = divided
    return groups, reasons


def _grouped(slices: Sequence[Slice], key: _Key) -> list[list[Slice]]:
    grouped: dict[Hashable, list[Slice]] = defaultdict(list)
    for value, one in zip(key(slices), slices, strict=True):
        grouped[value].append(one)
    return list(grouped.values())


def doubled_places(slices: Sequence[Slice]) -> int:
    """Number of slices of one orientation that lie at the place of another one."""
    along = positions_along_normal(slices)
    return 0 if along is None else int((np.diff(np.sort(along)) <= POSITION_TOLERANCE_MM).sum())


def positions_along_normal(slices: Sequence[Slice]) -> npt.NDArray[np.float64] | None:
    """Positions along the normal of the first slice, in mm; None where a header lacks its place."""
    cosines = numbers_of(slices[0].header, "ImageOrientationPatient", 6) if slices else None
    positions = [numbers_of(one.header, "ImagePositionPatient", 3) for one in slices]
    if cosines is None or any(position is None for position in positions):
        return None
    along: npt.NDArray[np.float64] = np.asarray(positions, dtype=float) @ np.cross(cosines[:3], cosines[3:])
    return along


def _orientations(slices: Sequence[Slice]) -> list[int]:
    return _near([numbers_of(one.header, "ImageOrientationPatient", 6) for one in slices], ORIENTATION_TOLERANCE)


def _stations(slices: Sequence[Slice]) -> list[int]:
    """By the place of the first voxel within the plane."""
    places: list[tuple[float, ...] | None] = []
    for one in slices:
        cosines = numbers_of(one.header, "ImageOrientationPatient", 6)
        position = numbers_of(one.header, "ImagePositionPatient", 3)
        if cosines is None or position is None:
            places.append(None)
        else:
            places.append(tuple(np.reshape(cosines, (2, 3)) @ np.asarray(position)))
    return _near(places, STATION_MM)


def _near(values: Sequence[tuple[float, ...] | None], tolerance: float) -> list[int]:
    """Number of the group of each value; a value joins the first group whose first value is within the tolerance."""
    firsts: list[tuple[float, ...] | None] = []
    numbers = []
    for value in values:
        found = (n for n, first in enumerate(firsts) if _is_near(value, first, tolerance))
        number = next(found, len(firsts))
        if number == len(firsts):
            firsts.append(value)
        numbers.append(number)
    return numbers


def _is_near(value: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if value is None or other is None:
        return value is other
    return bool(np.abs(np.subtract(value, other)).max() <= tolerance)


def _number(keyword: str) -> _Key:
    return lambda slices: [number_of(one.header, keyword) for one in slices]


_ALWAYS: tuple[tuple[str, _Key], ...] = (
    ("size", lambda slices: [(text_of(one.header, "Rows"), text_of(one.header, "Columns")) for one in slices]),
    ("pixel spacing", lambda slices: [numbers_of(one.header, "PixelSpacing", 2) for one in slices]),
    ("orientation", _orientations),
    ("stack", lambda slices: [text_of(one.header, "StackID") for one in slices]),
)

_WHERE_DOUBLED: tuple[tuple[str, _Key], ...] = (
    ("station", _stations),
    ("kind of image", lambda slices: [tuple(words_in(one.header, "ImageType")) for one in slices]),
    ("echo time", _number("EchoTime")),
    ("inversion time", _number("InversionTime")),
    ("b-value", _number("DiffusionBValue")),
    ("time point", _number("TemporalPositionIdentifier")),
    ("trigger time", _number("TriggerTime")),
    ("acquisition", _number("AcquisitionNumber")),
)
