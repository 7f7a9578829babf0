"""Taking a DICOM series apart if it holds several volumes: stacks, stations, echoes, time points.

Two rules keep a part from being taken for the whole. Slices of one direction that interleave in space, or continue each
other, are one stack: what differs between them does not take it apart. And a part that has fewer places than the stack
that it comes from says so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.dataset_conversion.dicom_headers import Series, Slice, number_of, numbers_of, text_of, words_in
from nnunet_spine.dataset_conversion.slice_grid import SAME_PLACE_MM

SAME_DIRECTION = 0.02
"""Slices whose direction cosines differ by less belong to one stack, which `slice_grid` then accepts or refuses."""

SAME_SPACING = 0.01
"""Pixel spacings that differ by less than this share, likewise."""

SAME_TIMES = 0.01
"""Echo and inversion times and b-values that differ by less than this share are one."""

SAME_TRIGGER_MS = 1.0
"""Trigger times that differ by less are one."""

SAME_PLACE_SHARE = 0.05
"""Slices nearer than this share of their thickness lie at one place: their coordinates may be rounded differently."""

FEWEST_PLACES = 3
"""A part that has fewer places, and not all of its stack, is no volume."""

STATION_MM = 5.0
"""Slices at one place along the normal whose first voxels lie further apart in the plane are different stations."""

SHARED_VIEW = 0.5
"""Slices that share this part of their width and height look at one place."""

COMMON_PLACES = 0.5
"""Stacks that share this part of their places are different volumes of one region."""

Floats = npt.NDArray[np.float64]


def parts_of(series: Series) -> list[Series]:
    """The volumes that a series holds, the series itself if it is one.

    Slices of different size, pixel spacing, direction or station cannot be one volume. What else differs takes a stack
    apart only if several slices lie at one place: makers number the interleaved slices of one volume as different
    acquisitions or stacks, too.

    Parameters
    ----------
    series
        With its slices.

    Returns
    -------
    list of Series
        In the order of their first slice, numbered from 1 if there are several. A part with fewer places than its
        stack has `is_subset`; one whose stack was cut in two by size, spacing or orientation has a `flaw`, and so have
        all parts, or the series, if slices say nothing of their place, or rescale, that others say.
    """
    flaw = _incomplete(series.slices)
    stacks, reasons = _split(list(series.slices), _ALWAYS)
    flaws = [flaw or one for one in _flaws(stacks)]
    parts: list[tuple[list[Slice], int, str]] = []
    for stack, flaw in zip(stacks, flaws, strict=True):
        inner, inner_reasons = _split(stack, _WHERE_DOUBLED, only_if_doubled=True)
        parts += [(part, _places(stack), flaw) for part in inner]
        reasons += [reason for reason in inner_reasons if reason not in reasons]
    if len(parts) < 2:
        return [replace(series, flaw=flaw)]
    apart = ", ".join(reasons)
    return [
        _part(series, slices, part=number, places_of_whole=whole, flaw=flaw, separated_by=apart)
        for number, (slices, whole, flaw) in enumerate(parts, start=1)
    ]


def _part(series: Series, slices: Sequence[Slice], **more: Any) -> Series:
    files = tuple(dict.fromkeys(one.path for one in slices))
    return replace(series, files=files, header=slices[0].header, slices=tuple(slices), places=_places(slices), **more)


_Key = Callable[[Sequence[Slice]], Sequence[Hashable]]
"""What slices are separated by: one value for each."""


def _split(
    slices: list[Slice], keys: Sequence[tuple[str, _Key]], *, only_if_doubled: bool = False
) -> tuple[list[list[Slice]], list[str]]:
    """Groups of slices with equal keys, each key applied in turn, and the names of the keys that told them apart."""
    groups, reasons = [slices], []
    for name, key in keys:
        divided: list[list[Slice]] = []
        for group in groups:
            if not only_if_doubled:
                divided += _grouped(group, key)
            elif doubled := doubled_places(group):
                parts = _grouped(group, key)
                divided += parts if _are_volumes(parts, group, doubled) else [group]
            else:
                divided.append(group)
        if len(divided) > len(groups):
            reasons.append(name)
        groups = divided
    return groups, reasons


def _are_volumes(parts: Sequence[Sequence[Slice]], whole: Sequence[Slice], doubled: int) -> bool:
    """Whether a key that takes a stack apart leaves volumes, and not every slice by itself."""
    if sum(map(doubled_places, parts)) >= doubled:
        return False
    places, all_places = [_places(part) for part in parts], _places(whole)
    return max(places) == all_places or min(places) >= FEWEST_PLACES


def _grouped(slices: Sequence[Slice], key: _Key) -> list[list[Slice]]:
    grouped: dict[Hashable, list[Slice]] = defaultdict(list)
    for value, one in zip(key(slices), slices, strict=True):
        grouped[value].append(one)
    return list(grouped.values())


def doubled_places(slices: Sequence[Slice]) -> int:
    """Number of slices of one orientation that lie at the place of another one."""
    along = positions_along_normal(slices)
    if along is None:
        return 0
    thickness = number_of(slices[0].header, "SliceThickness") or 0.0
    return int((np.diff(np.sort(along)) <= max(SAME_PLACE_MM, SAME_PLACE_SHARE * thickness)).sum())


def _places(slices: Sequence[Slice]) -> int:
    """Number of places along the normal; 0 if it is not known."""
    return 0 if positions_along_normal(slices) is None else len(slices) - doubled_places(slices)


def positions_along_normal(slices: Sequence[Slice], like: Slice | None = None) -> Floats | None:
    """Positions along the normal of the first slice, or of another one, in mm; None if a header lacks its place."""
    first = like or (slices[0] if slices else None)
    cosines = numbers_of(first.header, "ImageOrientationPatient", 6) if first else None
    positions = [numbers_of(one.header, "ImagePositionPatient", 3) for one in slices]
    if cosines is None or any(position is None for position in positions):
        return None
    along: Floats = np.asarray(positions, dtype=float) @ np.cross(cosines[:3], cosines[3:])
    return along


def _flaws(stacks: Sequence[list[Slice]]) -> list[str]:
    """What is wrong with each of several stacks: whether it continues or interleaves with another of its direction."""
    flaws = [""] * len(stacks)
    for i, one in enumerate(stacks):
        for j in range(i):
            what = _continues(one, stacks[j])
            flaws[i], flaws[j] = flaws[i] or what, flaws[j] or what
    return flaws


def _continues(one: list[Slice], other: list[Slice]) -> str:
    """What differs between two stacks that look at one place and are one stack by their places; "" if they are not."""
    both = [one[0], other[0]]
    if len(set(_normals(both))) > 1 or len(set(_stations([*one, *other]))) > 1:
        return ""
    along, others = positions_along_normal(one), positions_along_normal(other, like=one[0])
    if along is None or others is None:
        return ""
    gap = max(_gap(along), _gap(others), SAME_PLACE_MM)
    shared = int((np.abs(along[:, None] - others[None]).min(axis=1) <= gap / 4).sum())
    if shared >= COMMON_PLACES * min(len(along), len(others)):
        return ""
    kinds: dict[str, _Key] = {"size": _sizes, "pixel spacing": _spacings, "orientation": _directions}
    what = next((name for name, key in kinds.items() if len(set(key(both))) > 1), "place")
    return f"{len(one) + len(other)} slices of one stack, but of different {what}"


_PLACE = (("ImageOrientationPatient", 6, "orientation"), ("ImagePositionPatient", 3, "position"))


def _incomplete(slices: Sequence[Slice]) -> str:
    """What some slices lack that others have, so that those alone are not the whole; or ""."""
    for keyword, count, name in _PLACE:
        missing = sum(numbers_of(one.header, keyword, count) is None for one in slices)
        if 0 < missing < len(slices):
            return f"{missing} of {len(slices)} slices without {name}"
    rescales = [_rescale_of(one) for one in slices]
    missing = rescales.count(None)
    if missing and set(rescales) - {None, (1.0, 0.0)}:
        return f"{missing} of {len(slices)} slices without Rescale Slope, unlike the others"
    by_file = Counter(one.path for one in slices if one.frame)
    for one in slices:
        frames = number_of(one.header, "NumberOfFrames")
        if one.frame and frames is not None and frames != by_file[one.path]:
            return f"a file of {frames:.0f} frames that describes {by_file[one.path]}"
    return ""


def _rescale_of(one: Slice) -> tuple[float, float] | None:
    slope, intercept = (number_of(one.header, keyword) for keyword in ("RescaleSlope", "RescaleIntercept"))
    return None if slope is None else (slope, intercept or 0.0)


def _gap(along: Floats) -> float:
    return float(np.median(np.diff(np.sort(along)))) if len(along) > 1 else 0.0


_IsNear = Callable[[Floats, Floats], Any]
"""Whether each of some values (n, length) is near another one (length,), shape (n,)."""


def _near(values: Sequence[tuple[float, ...] | None], is_near: _IsNear) -> list[int]:
    """Number of the group of each value: values that a chain of near ones connects are one group, missing ones too.

    Parameters
    ----------
    values
        All of one length, or None.
    is_near
        What near is.
    """
    known = [value for value in values if value is not None]
    different = sorted(set(known))
    table = np.array(different, dtype=float)
    numbers = np.full(len(different), -1)
    for start in range(len(different)):
        if numbers[start] >= 0:
            continue
        numbers[start], pending = start, [start]
        while pending:
            at = pending.pop()
            fresh = np.flatnonzero((numbers < 0) & is_near(table, table[at]))
            numbers[fresh] = start
            pending += fresh.tolist()
    group = dict(zip(different, numbers.tolist(), strict=True))
    return [-1 if value is None else group[value] for value in values]


def _directions(slices: Sequence[Slice]) -> list[int]:
    values = [numbers_of(one.header, "ImageOrientationPatient", 6) for one in slices]
    return _near(values, lambda table, one: np.abs(table - one).max(axis=1) <= SAME_DIRECTION)


def _normals(slices: Sequence[Slice]) -> list[int]:
    """By the normal, whichever way it points: slices that are turned in their plane share it."""
    cosines = [numbers_of(one.header, "ImageOrientationPatient", 6) for one in slices]
    normals = [None if one is None else np.cross(one[:3], one[3:]) for one in cosines]
    values = [
        None if one is None else tuple((one * np.sign(one[np.abs(one).argmax()] or 1)).tolist()) for one in normals
    ]
    return _near(values, lambda table, one: np.abs(table - one).max(axis=1) <= SAME_DIRECTION)


def _spacings(slices: Sequence[Slice]) -> list[int]:
    values = [numbers_of(one.header, "PixelSpacing", 2) for one in slices]
    return _near(values, lambda table, one: (np.abs(table - one) <= SAME_SPACING * np.abs(one)).all(axis=1))


def _sizes(slices: Sequence[Slice]) -> list[Hashable]:
    return [(number_of(one.header, "Rows"), number_of(one.header, "Columns")) for one in slices]


def _in_plane(slices: Sequence[Slice]) -> list[tuple[float, ...] | None]:
    """Place of the center of each slice within the plane of the first one, in mm."""
    cosines = numbers_of(slices[0].header, "ImageOrientationPatient", 6)
    if cosines is None:
        return [None] * len(slices)
    axes = np.reshape(cosines, (2, 3))
    centers = [_center(one) for one in slices]
    return [None if place is None else tuple(float(v) for v in axes @ place) for place in centers]


def _center(one: Slice) -> Floats | None:
    """Place of the center of a slice, in mm; of its first voxel if its size is not known."""
    cosines = numbers_of(one.header, "ImageOrientationPatient", 6)
    first = numbers_of(one.header, "ImagePositionPatient", 3)
    if cosines is None or first is None:
        return None
    spacing = numbers_of(one.header, "PixelSpacing", 2) or (0.0, 0.0)
    rows, columns = (number_of(one.header, keyword) or 1.0 for keyword in ("Rows", "Columns"))
    along_row, along_column = np.reshape(cosines, (2, 3))
    center: Floats = (
        np.asarray(first) + along_row * spacing[1] * (columns - 1) / 2 + along_column * spacing[0] * (rows - 1) / 2
    )
    return center


def _stations(slices: Sequence[Slice]) -> list[int]:
    """By what part of the body the slices look at: those of one station share at least half of their view."""
    spacing = numbers_of(slices[0].header, "PixelSpacing", 2)
    size = [number_of(slices[0].header, keyword) for keyword in ("Columns", "Rows")]
    if spacing is None or None in size:
        return [0] * len(slices)
    reach = (1 - SHARED_VIEW) * np.array([float(n or 0.0) for n in size]) * spacing[::-1]
    return _near(_in_plane(slices), lambda table, one: (np.abs(table - one) <= reach).all(axis=1))


def _close_stations(slices: Sequence[Slice]) -> list[int]:
    return _near(_in_plane(slices), lambda table, one: np.abs(table - one).max(axis=1) <= STATION_MM)


def _number(keyword: str, share: float = 0.0, apart: float = 0.0) -> _Key:
    """By a number of the header, up to a share of it or an amount."""

    def groups(slices: Sequence[Slice]) -> list[int]:
        numbers = [number_of(one.header, keyword) for one in slices]
        values = [None if number is None else (number,) for number in numbers]
        return _near(values, lambda table, one: np.abs(table - one).max(axis=1) <= max(share * abs(one[0]), apart))

    return groups


def _text(keyword: str) -> _Key:
    return lambda slices: [text_of(one.header, keyword) for one in slices]


_ALWAYS: tuple[tuple[str, _Key], ...] = (
    ("size", _sizes),
    ("pixel spacing", _spacings),
    ("orientation", _directions),
    ("station", _stations),
)

_WHERE_DOUBLED: tuple[tuple[str, _Key], ...] = (
    ("station", _close_stations),
    ("stack", _text("StackID")),
    ("kind of image", lambda slices: [tuple(words_in(one.header, "ImageType")) for one in slices]),
    ("echo time", _number("EchoTime", SAME_TIMES)),
    ("inversion time", _number("InversionTime", SAME_TIMES)),
    ("b-value", _number("DiffusionBValue", SAME_TIMES)),
    ("time point", _number("TemporalPositionIdentifier")),
    ("trigger time", _number("TriggerTime", apart=SAME_TRIGGER_MS)),
    ("acquisition", _number("AcquisitionNumber")),
    ("frame of reference", _text("FrameOfReferenceUID")),
)
