"""Planar contours as a mask on a fine grid of their own: even-odd in a plane, slabs about planes, shapes between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

Points = npt.NDArray[np.float64]

SUBDIVISION = 5
"""Voxels of the fine grid along a voxel of the image, in the plane of the contours."""

MOST_VOXELS = 2e7
"""Beyond this many the fine grid is made coarser."""

PLANARITY_MM = 0.5
"""Largest extent of a contour across its plane; more means another orientation, or no plane at all."""

LINE = 1e-4
"""Contours whose extent is less than this share of their length lie on a line."""

SAME_PLANE_MM = 0.1
"""Contours closer than this lie in one plane."""

PARALLEL = 0.9999
"""Cosine from which on the contours' normal counts as an axis of the image."""

MOST_SLICES = 5000
"""More slices of the fine grid than this are no lesion's."""

MOST_SLICES_SKIPPED = 4.0
"""Planes up to this many slices apart belong to one lesion, and the gap is filled."""

MOST_OVER_USUAL = 1.5
"""So do planes up to this many times their usual distance apart."""

STEPS_PER_SLICE = 8
"""Steps of the fine grid from plane to plane where the planes are not evenly spaced."""


@dataclass(frozen=True, eq=False)
class _Frame:
    """Axes of the fine grid: two in the contours' plane and their normal, as rows, LPS; pixel size and edge in mm."""

    axes: npt.NDArray[np.float64]
    pixel_mm: npt.NDArray[np.float64]
    edge_mm: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Plane:
    """Contours of one plane, each (points, 2), in mm along the in-plane axes; `place_mm` along the normal."""

    place_mm: float
    contours: tuple[Points, ...]


@dataclass(frozen=True, eq=False)
class _Spans:
    """The fine grid: its box in the plane, pixels (u, v), and its slices."""

    low_mm: npt.NDArray[np.float64]
    pixel_mm: npt.NDArray[np.float64]
    pixels: tuple[int, int]
    slices_mm: npt.NDArray[np.float64]
    step_mm: float


def fill(regions: Sequence[Sequence[Points]], grid: Geometry) -> tuple[Volume, tuple[str, ...]]:
    """Fill the contours of one or more regions, and unite the regions.

    In a plane, a point is inside where a ray from it crosses the contours of its region an odd number of times: inner
    contours and keyholes are holes, contours side by side are parts. A plane stands for half a slice to both sides,
    where a slice is the usual distance of planes, but no more than the image's largest spacing. What lies between
    planes further apart is filled by the mean of their signed distances (Raya and Udupa, IEEE TMI 9:32-42, 1990), up
    to `MOST_SLICES_SKIPPED` slices or `MOST_OVER_USUAL` times the usual distance; larger gaps stay empty.

    Parameters
    ----------
    regions
        Contours of each region: arrays (points, 3), LPS, in mm, closed or not.
    grid
        The image's, which the fine grid subdivides where the contours lie in its planes.

    Returns
    -------
    mask, notes
        uint8 mask, and what a user should know.

    Raises
    ------
    Unusable
        Where contours are not planar, or lie in planes of different orientation.
    """
    frame = _frame([contour for region in regions for contour in region], grid)
    stacks = [_planes(region, frame) for region in regions]
    places = np.unique(np.round([plane.place_mm for stack in stacks for plane in stack], 3))
    slice_mm = min(_usual_gap(places), max(grid.spacing_xyz_mm))
    spans = _spans([p for stack in stacks for plane in stack for p in plane.contours], places, slice_mm, frame)
    array = np.zeros((len(spans.slices_mm), *spans.pixels[::-1]), bool)
    notes: list[str] = []
    for stack in stacks:
        notes += [text for text in _fill_stack(array, stack, spans, slice_mm) if text not in notes]
    return Volume(array.astype(np.uint8), _geometry(spans, frame)), tuple(notes)


def _frame(contours: Sequence[Points], grid: Geometry) -> _Frame:
    normal = _common_normal(contours)
    thickness = max(float(np.ptp(contour @ normal)) for contour in contours)
    if thickness > PLANARITY_MM:
        raise Unusable(
            f"contours that extend {thickness:.1f} mm across their common plane",
            f"planar, parallel contours, within {PLANARITY_MM} mm",
            "Export the contours as drawn in one orientation, or as DICOM SEG",
        )
    directions = np.reshape(grid.direction, (3, 3)).T
    cosines = directions @ normal
    across = int(np.argmax(np.abs(cosines)))
    in_plane = [axis for axis in range(3) if axis != across]
    if abs(cosines[across]) > PARALLEL:
        spacing = np.asarray(grid.spacing_xyz_mm)[in_plane]
        axes = directions[[*in_plane, across]]
        return _Frame(axes, spacing / SUBDIVISION, axes[:2] @ grid.origin_xyz_mm - spacing / 2)
    first = np.cross(normal, directions[in_plane[1]])
    first /= np.linalg.norm(first)
    axes = np.array([first, np.cross(normal, first), normal])
    return _Frame(axes, np.full(2, min(grid.spacing_xyz_mm) / SUBDIVISION), np.zeros(2))


def _common_normal(contours: Sequence[Points]) -> npt.NDArray[np.float64]:
    """Unit normal of the plane that all contours fit best, each moved to the origin."""
    centred = np.concatenate([contour - contour.mean(axis=0) for contour in contours])
    extents, axes = np.linalg.svd(centred, full_matrices=False)[1:]
    if extents[1] <= LINE * max(float(extents[0]), 1.0):
        raise Unusable("contours that enclose no area", "closed contours about a lesion", "Check the contours")
    normal: npt.NDArray[np.float64] = axes[2]
    return normal


def _planes(contours: Sequence[Points], frame: _Frame) -> list[_Plane]:
    """Contours by plane, along the normal; a contour that is there twice counts once."""
    placed = sorted(((float((c @ frame.axes[2]).mean()), c @ frame.axes[:2].T) for c in contours), key=lambda p: p[0])
    groups: list[list[tuple[float, Points]]] = []
    for place, contour in placed:
        if groups and place - groups[-1][0][0] <= SAME_PLANE_MM:
            if not any(_equal(contour, other) for _, other in groups[-1]):
                groups[-1].append((place, contour))
        else:
            groups.append([(place, contour)])
    return [_Plane(float(np.mean([p for p, _ in group])), tuple(c for _, c in group)) for group in groups]


def _equal(first: Points, second: Points) -> bool:
    return first.shape == second.shape and bool(np.allclose(first, second, atol=1e-3))


def _usual_gap(places: npt.NDArray[np.float64]) -> float:
    gaps = np.diff(places)
    gaps = gaps[gaps > SAME_PLANE_MM]
    return float(np.median(gaps)) if len(gaps) else np.inf


def _spans(contours: Sequence[Points], places: npt.NDArray[np.float64], slice_mm: float, frame: _Frame) -> _Spans:
    """The fine grid about all contours; its pixels nest in those of the image, its slices lie on even planes."""
    points = np.concatenate(contours)
    slices = float(np.ptp(places)) / slice_mm + 1.0
    steps = (places - places[0]) / slice_mm
    even = np.abs(steps - np.rint(steps)).max() <= 0.02
    count = max(1, round(slices) if even else int(np.ceil(slices * STEPS_PER_SLICE)))
    if count > MOST_SLICES:
        raise Unusable(
            f"contours in planes over {np.ptp(places):.0f} mm, {slice_mm:.2f} mm apart",
            f"at most {MOST_SLICES} slices of contours",
            "Check the coordinates of the contours",
        )
    step_mm = slices * slice_mm / count
    pixel_mm = frame.pixel_mm.copy()
    while np.prod(np.ptp(points, axis=0) / pixel_mm + 2) * count > MOST_VOXELS:
        pixel_mm *= 1.25
    first = np.floor((points.min(axis=0) - frame.edge_mm) / pixel_mm)
    last = np.ceil((points.max(axis=0) - frame.edge_mm) / pixel_mm)
    width, height = (int(n) for n in np.maximum(last - first, 1))
    slices_mm = places[0] - slice_mm / 2 + (np.arange(count) + 0.5) * step_mm
    return _Spans(frame.edge_mm + first * pixel_mm, pixel_mm, (width, height), slices_mm, step_mm)


def _geometry(spans: _Spans, frame: _Frame) -> Geometry:
    first = np.array([*(spans.low_mm + spans.pixel_mm / 2), spans.slices_mm[0]])
    origin = tuple(float(v) for v in frame.axes.T @ first)
    spacing = (float(spans.pixel_mm[0]), float(spans.pixel_mm[1]), spans.step_mm)
    size = (*spans.pixels, len(spans.slices_mm))
    return Geometry(size, spacing, origin, tuple(map(float, frame.axes.T.ravel())))  # type: ignore[arg-type]


def _fill_stack(array: npt.NDArray[np.bool_], planes: Sequence[_Plane], spans: _Spans, slice_mm: float) -> list[str]:
    """Add one region to `array`, shape (slices, v, u); returns notes on gaps between planes."""
    places = np.array([plane.place_mm for plane in planes])
    shapes = [_fill_plane(plane, spans) for plane in planes]
    usual = _usual_gap(places) if len(places) > 2 else 0.0
    widest = max(MOST_SLICES_SKIPPED * slice_mm, MOST_OVER_USUAL * usual)
    distances: dict[int, npt.NDArray[np.float64]] = {}
    for i, place in enumerate(spans.slices_mm):
        nearest = int(np.argmin(np.abs(places - place)))
        if abs(places[nearest] - place) <= slice_mm / 2 + SAME_PLANE_MM / 2:
            array[i] |= shapes[nearest]
            continue
        above = int(np.searchsorted(places, place))
        if 0 < above < len(places) and places[above] - places[above - 1] <= widest * 1.001:
            weight = (place - places[above - 1]) / (places[above] - places[above - 1])
            low, high = (distances.setdefault(k, _signed_distance(shapes[k], spans)) for k in (above - 1, above))
            array[i] |= (1 - weight) * low + weight * high > 0
    return _gap_notes(np.diff(places), slice_mm, widest)


def _fill_plane(plane: _Plane, spans: _Spans) -> npt.NDArray[np.bool_]:
    """Pixels (v, u) whose centres lie inside an odd number of contours.

    Along each row of pixel centres, what is inside changes at each edge that is crossed. Libraries that test each pixel
    against each edge take minutes where contours are large.
    """
    width, height = spans.pixels
    changes = np.zeros((height, width + 1), np.uint8)  # modulo 256, which keeps odd and even apart
    for contour in plane.contours:
        first = (contour - spans.low_mm) / spans.pixel_mm - 0.5
        last = np.roll(first, -1, axis=0)
        rows = np.ceil(np.sort(np.stack([first[:, 1], last[:, 1]]), axis=0)).astype(np.intp).clip(0, height)
        counts = rows[1] - rows[0]
        edge = np.repeat(np.arange(len(contour)), counts)
        row = np.arange(len(edge)) + np.repeat(rows[0] - np.cumsum(counts) + counts, counts)
        (u, v), (along_u, along_v) = first[edge].T, (last - first)[edge].T
        column = np.ceil(u + (row - v) * along_u / along_v).astype(np.intp).clip(0, width)
        np.add.at(changes, (row, column), 1)
    crossed = np.cumsum(changes, axis=1, dtype=np.uint8, out=changes)[:, :width]
    return (crossed & 1).astype(bool)


def _signed_distance(shape: npt.NDArray[np.bool_], spans: _Spans) -> npt.NDArray[np.float64]:
    """Distance from the shape's edge in mm, positive inside."""
    sampling = spans.pixel_mm[::-1]
    padded = np.pad(shape, 1)
    signed: npt.NDArray[np.float64] = ndimage.distance_transform_edt(padded, sampling) - ndimage.distance_transform_edt(
        ~padded, sampling
    )
    return signed[1:-1, 1:-1]


def _gap_notes(gaps: npt.NDArray[np.float64], slice_mm: float, widest: float) -> list[str]:
    notes = []
    filled = gaps[(gaps > slice_mm * 1.1) & (gaps <= widest * 1.001)]
    empty = gaps[gaps > widest * 1.001]
    if len(filled):
        notes.append(
            f"contours skip slices: {len(filled)} gaps of up to {filled.max():.1f} mm between planes were filled by "
            "the shapes on both sides"
        )
    if len(empty):
        notes.append(f"{len(empty)} gaps of {empty.min():.1f} mm and more between contours were left empty")
    return notes
