"""A mask on another grid: every voxel where the grids agree, else the same volume in the voxels that it covers most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from scipy import ndimage

from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

LATTICE_TOLERANCE = 0.02
"""Grids agree where voxel centres do within this fraction of a voxel."""

LEAST_SAMPLES, MOST_SAMPLES = 8, 64
"""Sub-samples along an axis of a voxel of the image: one for each voxel of the mask, within these limits."""

MOST_SAMPLES_IN_ALL = 5e7
"""Beyond this many for a lesion there are fewer in each voxel, so that memory stays below some 100 MB."""

MOST_PARTS = 50
"""A mask in more parts than this is taken as one."""

HALF = 0.5 - 1e-6
"""A voxel is covered by half from here on; sums of sub-samples are not exact."""

KEPT_VOLUME = 0.015
"""Largest change of a part's volume, as a fraction, that voxels covered by half may bring."""

INSIDE_TOLERANCE = 0.01
"""A part is wholly on the grid where its sub-samples find its volume within this fraction."""


@dataclass(frozen=True, eq=False)
class Placed:
    """A mask on a new grid (uint8), and how much of it, in ml, lies on that grid."""

    mask: Volume
    inside_ml: float


@dataclass(frozen=True, eq=False)
class _Coverage:
    """How much of each voxel of a box lies in the mask, 0 to 1, shape (z, y, x).

    The box begins at `start_zyx`; `cut` tells whether the grid ends within the box that the part needs.
    """

    fractions: npt.NDArray[np.float64]
    start_zyx: npt.NDArray[np.intp]
    cut: bool

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for a, n in zip(self.start_zyx, self.fractions.shape, strict=True))


def place(mask: Volume, grid: Geometry) -> Placed:
    """Put a mask on a grid by physical space.

    Where voxel centres of both grids agree, whatever the order and direction of axes and the size, every voxel is
    kept. Else each connected part of the mask takes the voxels that it covers at least half, where these have its
    volume within `KEPT_VOLUME`. Where they do not, as on thick slices, it takes as many voxels as have its volume:
    those that it covers most, and of voxels covered alike those nearest its centre. So the volume stays within 2 % or
    half a voxel.

    Parameters
    ----------
    mask
        0 and 1, not empty.
    grid
        Any.
    """
    if same_lattice(mask.geometry, grid):
        placed = Volume.of(_nearest(mask.image(), grid))
        return Placed(placed, float(placed.array.sum()) * grid.voxel_ml)
    array = np.zeros(grid.shape_zyx, np.uint8)
    carried = inside_ml = 0.0
    for part in _parts(mask):
        coverage = _covered(part, grid)
        if coverage is None:
            continue
        part_ml = _inside_ml(part, coverage, grid)
        inside_ml += part_ml
        voxels = part_ml / grid.voxel_ml
        half = int((coverage.fractions >= HALF).sum())
        if abs(half - voxels) <= KEPT_VOLUME * voxels:
            _take(array[coverage.box], coverage, grid, half)
        else:
            carried += voxels
            carried -= _take(array[coverage.box], coverage, grid, round(carried))
    return Placed(Volume(array, grid), inside_ml)


def _inside_ml(part: Volume, coverage: _Coverage, grid: Geometry) -> float:
    """Volume of a part on the grid: its own where the grid does not cut it, since sub-samples miss a little."""
    whole_ml = float(part.array.sum()) * part.geometry.voxel_ml
    sampled_ml = float(coverage.fractions.sum()) * grid.voxel_ml
    uncut = not coverage.cut or abs(sampled_ml - whole_ml) <= INSIDE_TOLERANCE * whole_ml
    return whole_ml if uncut else sampled_ml


def same_lattice(first: Geometry, second: Geometry) -> bool:
    """Whether the voxel centres of one grid, continued without end, are those of the other."""
    transform = np.linalg.inv(second.affine_lps()) @ first.affine_lps()
    nearest = np.rint(transform)
    if not np.array_equal(np.abs(nearest[:3, :3]).sum(axis=0), [1, 1, 1]):
        return False
    if abs(round(float(np.linalg.det(nearest[:3, :3])))) != 1:
        return False
    return bool(
        np.abs((transform - nearest) @ _corners(np.zeros(3), np.asarray(first.size_xyz) - 1.0)).max()
        <= LATTICE_TOLERANCE
    )


def _corners(low: npt.NDArray[np.float64], high: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Homogeneous corners of a box, shape (4, 8)."""
    corners = np.array(np.meshgrid(*zip(low, high, strict=True), indexing="ij")).reshape(3, -1)
    return np.vstack([corners, np.ones(corners.shape[1])])


def _parts(mask: Volume) -> list[Volume]:
    """The connected parts of a mask, each on the box that it fills, the largest first."""
    labels, count = ndimage.label(mask.array, np.ones((3, 3, 3)))
    if count > MOST_PARTS:
        labels, count = (mask.array != 0).astype(np.int32), 1
    parts = [_cut(labels == number + 1, box, mask.geometry) for number, box in enumerate(ndimage.find_objects(labels))]
    return sorted(parts, key=lambda part: -int(part.array.sum()))


def _cut(part: npt.NDArray[np.bool_], box: tuple[slice, ...], geometry: Geometry) -> Volume:
    array = part[box].astype(np.uint8)
    return Volume(array, _sub_grid(geometry, np.array([along.start for along in box]), array.shape, np.ones(3)))


def _sub_grid(
    grid: Geometry, start_zyx: npt.NDArray[np.intp], shape: tuple[int, ...], samples_zyx: npt.NDArray[np.float64]
) -> Geometry:
    """Grid of a box of `shape` voxels from `start_zyx`, each voxel divided into `samples_zyx`."""
    samples = samples_zyx[::-1]
    first = start_zyx[::-1] - 0.5 + 0.5 / samples
    origin = (grid.affine_lps() @ [*first, 1.0])[:3]
    size = tuple(int(n * s) for n, s in zip(shape[::-1], samples, strict=True))
    spacing = tuple(float(v) for v in np.asarray(grid.spacing_xyz_mm) / samples)
    return Geometry(size, spacing, tuple(map(float, origin)), grid.direction)  # type: ignore[arg-type]


def _covered(part: Volume, grid: Geometry) -> _Coverage | None:
    """How much of each voxel about a part it covers, by sub-samples; None where the part lies off the grid."""
    to_index = np.linalg.inv(grid.affine_lps()) @ part.geometry.affine_lps()
    corners = (to_index @ _corners(np.full(3, -0.5), np.asarray(part.geometry.size_xyz) - 0.5))[:3]
    needed = np.floor(corners.min(axis=1) + 0.5), np.ceil(corners.max(axis=1) - 0.5)
    low, high = np.maximum(needed[0], 0), np.minimum(needed[1], np.asarray(grid.size_xyz) - 1)
    if (high < low).any():
        return None
    start = low[::-1].astype(np.intp)
    shape = tuple(int(n) for n in (high - low + 1)[::-1])
    samples = _samples(np.linalg.inv(to_index)[:3, :3].astype(np.float64), int(np.prod(shape)))[::-1]
    fine = sitk.GetArrayFromImage(_nearest(part.image(), _sub_grid(grid, start, shape, samples)))
    z, y, x = (int(s) for s in samples)
    blocks = fine.reshape(shape[0], z, shape[1], y, shape[2], x)
    cut = not (np.array_equal(low, needed[0]) and np.array_equal(high, needed[1]))
    return _Coverage(blocks.sum(axis=(1, 3, 5), dtype=np.int64) / float(z * y * x), start, cut)


def _samples(voxels_crossed: npt.NDArray[np.float64], voxels: int) -> npt.NDArray[np.float64]:
    """Sub-samples along x, y and z of a voxel, given how many voxels of the mask each of its axes crosses (columns)."""
    wanted = np.ceil(np.abs(voxels_crossed).max(axis=0) - 1e-6)
    samples: npt.NDArray[np.float64] = np.clip(wanted, LEAST_SAMPLES, MOST_SAMPLES)
    while samples.prod() * voxels > MOST_SAMPLES_IN_ALL and samples.max() > 1:
        samples[np.argmax(samples)] -= 1
    return samples


def _take(array: npt.NDArray[np.uint8], coverage: _Coverage, grid: Geometry, count: int) -> int:
    """Set the `count` voxels that are covered most and not set yet; returns how many were."""
    candidates = np.argwhere((coverage.fractions > 0) & (array == 0))
    if count < 1 or not len(candidates):
        return 0
    fractions = coverage.fractions[tuple(candidates.T)]
    axes = np.asarray(grid.spacing_zyx_mm)
    centre = np.average(np.argwhere(coverage.fractions > 0), axis=0, weights=coverage.fractions[coverage.fractions > 0])
    distances = (((candidates - centre) * axes) ** 2).sum(axis=1)
    order = np.lexsort((np.round(distances, 3), -np.round(fractions, 6)))[:count]
    array[tuple(candidates[order].T)] = 1
    return len(order)


def _nearest(mask: sitk.Image, grid: Geometry) -> sitk.Image:
    return sitk.Resample(
        mask,
        grid.size_xyz,
        sitk.Transform(),
        sitk.sitkNearestNeighbor,
        grid.origin_xyz_mm,
        grid.spacing_xyz_mm,
        grid.direction,
        0,
        sitk.sitkUInt8,
    )
