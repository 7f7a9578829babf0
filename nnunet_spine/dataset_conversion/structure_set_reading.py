"""An RTSTRUCT as a mask: pydicom reads the contours, `contour_filling` fills them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.dataset_conversion.contour_filling import Points, fill
from nnunet_spine.dataset_conversion.dicom_files import open_dataset
from nnunet_spine.dataset_conversion.dicom_headers import number_of, text_of
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import (
    NO_CLAIM,
    Claim,
    Parts,
    Selection,
    Structure,
    choose,
    structures_of,
    unnamed_notes,
)
from nnunet_spine.dataset_conversion.slice_grid import FARTHEST_MM
from nnunet_spine.dataset_conversion.slice_pixels import DECODING_ERRORS
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

FILLED_TYPES = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
OTHER_TYPES = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
"""Contour Geometric Types (PS3.3 C.8.8.6): those that enclose an area, and those that do not."""

STRUCTURE_SET = Parts("an RTSTRUCT", "region")

UNIT_GRID = Geometry((1, 1, 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


def read_structure_set(
    path: Path, grid: Geometry | None, selection: Selection, claim: Claim = NO_CLAIM
) -> tuple[Volume, tuple[str, ...]]:
    """Read the tumor of an RTSTRUCT.

    Parameters
    ----------
    path
        The file.
    grid
        The image's, whose planes and slice spacing decide how contours are filled; 1 mm where None.
    selection, claim
        Which regions, and what the source says of the file.

    Returns
    -------
    mask, notes
        Union of the regions as uint8 on a fine grid of its own, and what a user should know.

    Raises
    ------
    Unusable
        If it cannot be read, nothing says which region is tumor, or its contours enclose nothing.
    """
    try:
        dataset = open_dataset(path)
        structures = structures_of(dataset)
        if not structures:
            raise Unusable("an RTSTRUCT without regions", "a region with contours", "Export the structures again")
        numbers = choose(structures, selection, STRUCTURE_SET, claim).numbers
        contours = [_contours(dataset, number) for number in numbers]
        unnamed = unnamed_notes(_unnamed(dataset, structures), "regions", "contour")
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise Unusable(
            "the RTSTRUCT is damaged: its regions or the numbers of its contours cannot be read",
            "regions with contours of three coordinates a point",
            "Export the structures again",
        ) from failure
    kinds = Counter(kind for region in contours for kind, _ in region)
    regions = [[points for kind, points in region if kind in FILLED_TYPES and len(points) > 2] for region in contours]
    if not any(regions):
        raise Unusable(
            f"no contour of the RTSTRUCT encloses an area (types: {_counted(kinds) or 'no contour'})",
            f"contours of type {FILLED_TYPES[0]}",
            "Check the structures, or export them as DICOM SEG",
        )
    mask, notes = fill([region for region in regions if region], grid or UNIT_GRID)
    return mask, (*_notes(kinds, len(numbers), len(structures)), *unnamed, *notes)


def _contours(dataset: Any, number: int) -> list[tuple[str, Points]]:
    """Type and points (LPS, mm) of each contour of a region."""
    items = [
        contour
        for region in dataset.get("ROIContourSequence") or []
        if text_of(region, "ReferencedROINumber") == str(number)
        for contour in region.get("ContourSequence") or []
    ]
    return [(text_of(item, "ContourGeometricType"), _points(item.get("ContourData"))) for item in items]


def _unnamed(dataset: Any, structures: Sequence[Structure]) -> Counter[int]:
    """Contours of regions that are not among the structures, by their number."""
    known = {one.number for one in structures}
    contours = Counter[int]()
    for region in dataset.get("ROIContourSequence") or []:
        number = int(number_of(region, "ReferencedROINumber") or 0)
        if number not in known:
            contours[number] += len(region.get("ContourSequence") or [])
    return +contours


def _points(data: Any) -> npt.NDArray[np.float64]:
    if isinstance(data, bytes):  # more than 64 kB, which explicit encodings hold without a type
        data = data.decode("ascii").rstrip("\0 ").split("\\")
    values = np.atleast_1d(np.asarray([] if data is None else data, dtype=float))
    if len(values) % 3 or not (np.abs(values) <= FARTHEST_MM).all():
        raise Unusable(
            f"a contour of {len(values)} numbers, or with one that is no coordinate in mm",
            f"three coordinates a point, within {FARTHEST_MM:.0f} mm",
            "Export the structures again",
        )
    return values.reshape(-1, 3)


def _notes(kinds: Counter[str], used: int, count: int) -> Iterable[str]:
    if count > 1:
        yield f"{used} of {count} regions of the RTSTRUCT are tumor and were used"
    others = Counter({kind: n for kind, n in kinds.items() if kind not in FILLED_TYPES})
    if others:
        yield f"contours that enclose no area were left out: {_counted(others)}"


def _counted(kinds: Counter[str]) -> str:
    """Numbers of contours by type; text that is no defined type is not repeated."""
    known = Counter[str]()
    for kind, n in kinds.items():
        known[kind if kind in FILLED_TYPES + OTHER_TYPES else "an unknown type"] += n
    return ", ".join(f"{n} {kind}" for kind, n in sorted(known.items()))
