"""Real volumes to put tumors into: reading them, and where their canal runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from nnunet_spine.cases import Region
from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound
from nnunet_spine.files import folder_content, is_folder, is_regular_file, sha256
from nnunet_spine.grids import difference
from nnunet_spine.images import Volume, read_volume, reorient
from nnunet_spine.phantoms.fields import FloatArray, float32

CORD_SUFFIX = "_cord.nii.gz"
_VOLUME_SUFFIX = ".nii.gz"
_LEAST_EXTENT_MM = (30.0, 45.0, 40.0)
"""Least size left-right, AP and S-I for a volume to be of use."""

_SEARCH_MM = (2.0, 2.0, 4.0)
"""Cells in which the canal is searched: lateral, AP, along."""
_CANAL_SIGMA_MM = 4.0
_NEIGHBOUR_MM = 14.0
_ALONG_SIGMA_MM = 8.0
_MOST_LATERAL_MM = 15.0
_BORDER_MM = 12.0
_LEAST_DEPTH_MM = 22.0
_BODY_SIGMA_MM = 8.0
_DARK = 0.08
_LEAST_CONTRAST = 0.02
"""Mean relative contrast that a course needs to pass for a canal."""

MOST_NAMED = 5
"""Volumes that are named if many cannot be used."""

_TYPICAL_SAC_MM = (8.5, 6.5)
_TYPICAL_CORD_MM = (4.8, 3.3)
_SAC_PER_CORD = (1.5, 1.65)
_REGION_WORDS = {"cerv": Region.CERVICAL, "thor": Region.THORACIC, "lumb": Region.LUMBAR}


@dataclass(frozen=True, eq=False)
class Centreline:
    """Course of the canal in a background, in its own frame.

    Parameters
    ----------
    z_mm, x_mm, y_mm
        Points from inferior to superior, x to the left and y to posterior of the volume's centre.
    cord_half_mm, sac_half_mm
        Half axes, lateral and AP.
    from_mask
        Whether a cord mask gave it; otherwise it was searched.
    """

    z_mm: npt.NDArray[np.float64]
    x_mm: npt.NDArray[np.float64]
    y_mm: npt.NDArray[np.float64]
    cord_half_mm: tuple[float, float]
    sac_half_mm: tuple[float, float]
    from_mask: bool


@dataclass(frozen=True, eq=False)
class Background:
    """A real volume along its own axes.

    Parameters
    ----------
    array
        Shape (z, y, x): to superior, to posterior, to left; scaled so that its 99th percentile is 1.
    spacing_mm
        Spacing along x, y, z.
    region
        By the file's name, or unknown.
    centreline
        Course of the canal.
    """

    array: FloatArray
    spacing_mm: tuple[float, float, float]
    region: Region
    centreline: Centreline

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size along x, y, z, between the centres of the outermost voxels."""
        n_z, n_y, n_x = self.array.shape
        return (
            (n_x - 1) * self.spacing_mm[0],
            (n_y - 1) * self.spacing_mm[1],
            (n_z - 1) * self.spacing_mm[2],
        )

    def sample(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Linear interpolation at points of the volume's frame, in mm from its centre; the border goes on outside."""
        half = self.extent_mm
        where = np.stack(
            [(p + h / 2) / s for p, h, s in zip((z, y, x), half[::-1], self.spacing_mm[::-1], strict=True)]
        )
        return float32(ndimage.map_coordinates(self.array, where, order=1, mode="nearest", output=np.float32))


@dataclass(frozen=True)
class BackgroundSet:
    """Usable volumes of a folder.

    Parameters
    ----------
    paths
        Sorted by name.
    unused
        Why each of the others cannot be used.
    """

    paths: tuple[Path, ...]
    unused: tuple[str, ...]


def find_backgrounds(folder: Path) -> BackgroundSet:
    """Volumes of a folder that a tumor can be put into; cord masks are not among them.

    Raises
    ------
    NotFound
        Where the folder is absent or holds no volume.
    BadInput
        Where none of its volumes can be used, with each one's reason.
    """
    if not is_folder(folder):
        raise NotFound(f"There is no folder {folder} with background volumes. Check --background.")
    volumes = [path for path in folder_content(folder) if path.name.endswith(_VOLUME_SUFFIX)]
    paths = [path for path in volumes if is_regular_file(path) and not path.name.endswith(CORD_SUFFIX)]
    if not paths:
        raise NotFound(f"{folder} holds no volume NAME{_VOLUME_SUFFIX}. Put NIfTI volumes of the spine there.")
    usable, unused = [], []
    for path in paths:
        try:
            read_background(path)
            usable.append(path)
        except (BadInput, GeometryMismatch) as error:
            unused.append(str(error))
    if not usable:
        raise BadInput(f"No volume in {folder} can be used. " + " ".join(first_few(unused)))
    return BackgroundSet(tuple(usable), tuple(unused))


def first_few(reasons: Sequence[str]) -> list[str]:
    """The first reasons, and how many more there are."""
    more = len(reasons) - MOST_NAMED
    return [*reasons[:MOST_NAMED], *([f"{more} more volumes cannot be used."] if more > 0 else [])]


def background_hashes(paths: Sequence[Path]) -> dict[str, str]:
    """SHA-256 of volumes and cord masks, by names of ours."""
    hashes = {}
    for number, path in enumerate(paths):
        hashes[f"background_{number}"] = sha256(path)
        if is_regular_file(cord_path(path)):
            hashes[f"background_{number}_cord"] = sha256(cord_path(path))
    return hashes


def cord_path(path: Path) -> Path:
    """Where the cord mask of a volume would be."""
    return path.with_name(path.name.removesuffix(_VOLUME_SUFFIX) + CORD_SUFFIX)


@lru_cache(maxsize=8)
def read_background(path: Path) -> Background:
    """Read a volume, and its cord mask where there is one.

    Raises
    ------
    BadInput
        Where the volume is too small, empty, or shows no canal and has no mask.
    GeometryMismatch
        Where the mask lies on another grid.
    """
    volume = read_volume(path)
    array, spacing = _along_axes(volume)
    extent = [(n - 1) * s for n, s in zip(array.shape[::-1], spacing, strict=True)]
    if any(found < least for found, least in zip(extent, _LEAST_EXTENT_MM, strict=True)):
        raise BadInput(
            f"The background {path.name} covers {'x'.join(f'{e:.0f}' for e in extent)} mm (left-right, AP, S-I); "
            f"at least {'x'.join(f'{e:.0f}' for e in _LEAST_EXTENT_MM)} mm are needed. Take it out of the folder."
        )
    bright = float(np.percentile(array, 99))
    if not np.isfinite(array).all() or bright <= 0:
        raise BadInput(f"The background {path.name} is empty or holds values that are no numbers. Take it out.")
    array = np.clip(array / bright, 0, 4).astype(np.float32)
    centreline = _masked_centreline(path, volume) or search_centreline(array, spacing)
    if centreline is None:
        raise BadInput(
            f"No canal was found in the background {path.name}. Add a cord mask {cord_path(path).name}, or take it out."
        )
    name = path.name.lower()
    region = next((region for word, region in _REGION_WORDS.items() if word in name), Region.UNKNOWN)
    return Background(array, spacing, region, centreline)


def _along_axes(volume: Volume) -> tuple[FloatArray, tuple[float, float, float]]:
    """Array to superior, posterior, left, and the spacing along x, y, z; obliqueness is left aside."""
    turned = reorient(volume, "LPS")
    return turned.array.astype(np.float32), turned.geometry.spacing_xyz_mm


def _masked_centreline(path: Path, volume: Volume) -> Centreline | None:
    if not is_regular_file(cord_path(path)):
        return None
    mask = read_volume(cord_path(path))
    if not mask.geometry.same_grid(volume.geometry):
        raise GeometryMismatch(
            f"The cord mask {cord_path(path).name} lies on another grid than {path.name}: "
            f"{difference(mask.geometry, volume.geometry)}. Resample it."
        )
    array, spacing = _along_axes(mask)
    return centreline_of_mask(array > 0, spacing)


def centreline_of_mask(mask: npt.NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Centreline:
    """Course and mean half axes of a cord mask.

    Parameters
    ----------
    mask
        Shape (z, y, x), to superior, posterior, left.
    spacing_mm
        Along x, y, z.

    Raises
    ------
    BadInput
        Where the mask has voxels in fewer than three planes.
    """
    planes = np.flatnonzero(mask.any(axis=(1, 2)))
    if planes.size < 3:
        raise BadInput("A cord mask has voxels in fewer than three axial planes. Draw it over the whole cord.")
    centres, spreads = [], []
    for plane in planes:
        y, x = np.nonzero(mask[plane])
        centres.append((x.mean(), y.mean()))
        spreads.append((x.std(), y.std()))
    n_z, n_y, n_x = mask.shape
    middle = (np.array([n_x, n_y]) - 1) / 2
    xy = (np.array(centres) - middle) * spacing_mm[:2]
    smooth = ndimage.gaussian_filter1d(xy, 4.0 / spacing_mm[2], axis=0, mode="nearest")
    # Uniform in an ellipse, a coordinate's standard deviation is half the half axis.
    lateral, ap = 2 * np.median(spreads, axis=0) * spacing_mm[:2]
    cord = (float(max(lateral, 2.0)), float(max(ap, 2.0)))
    sac = (cord[0] * _SAC_PER_CORD[0], cord[1] * _SAC_PER_CORD[1])
    z_mm = (planes - (n_z - 1) / 2) * spacing_mm[2]
    return Centreline(z_mm, smooth[:, 0], smooth[:, 1], cord, sac, from_mask=True)


def search_centreline(array: FloatArray, spacing_mm: tuple[float, float, float]) -> Centreline | None:
    """Course of the canal where no mask tells: the brightest tube from bottom to top.

    Axial planes are searched for what is, over about a canal's width, brighter than its surroundings in all
    directions (a difference of Gaussians over the sum of them, so that a coil field does not count); the course
    with the largest sum that moves at most one cell per step is found by dynamic programming.

    Parameters
    ----------
    array
        Shape (z, y, x), to superior, posterior, left.
    spacing_mm
        Along x, y, z.

    Returns
    -------
    None where the course found has too little contrast.
    """
    zoom = [s / cell for s, cell in zip(spacing_mm[::-1], _SEARCH_MM[::-1], strict=True)]
    coarse = ndimage.zoom(np.minimum(array, 1.2), zoom, order=1, grid_mode=True, mode="nearest")
    contrast = _tube_contrast(coarse)
    path = _best_course(contrast)
    if np.mean([contrast[z, y, x] for z, (y, x) in enumerate(path)]) < _LEAST_CONTRAST:
        return None
    middle = (np.array(coarse.shape) - 1) / 2
    yx = ndimage.gaussian_filter1d((np.array(path) - middle[1:]) * _SEARCH_MM[0], 2.0, axis=0, mode="nearest")
    z_mm = (np.arange(len(path)) - middle[0]) * _SEARCH_MM[2]
    return Centreline(z_mm, yx[:, 1], yx[:, 0], _TYPICAL_CORD_MM, _TYPICAL_SAC_MM, from_mask=False)


def _tube_contrast(coarse: FloatArray) -> FloatArray:
    """Relative contrast of a canal's width against the brightest of eight neighbours around; low where none can be."""
    cells = _SEARCH_MM[0]
    sigma = _CANAL_SIGMA_MM / cells
    smooth = ndimage.gaussian_filter(coarse, (_ALONG_SIGMA_MM / _SEARCH_MM[2], sigma, sigma), mode="nearest")
    reach = _NEIGHBOUR_MM / cells
    ring = [
        ndimage.shift(smooth, (0, reach * np.sin(a), reach * np.cos(a)), order=1, mode="nearest")
        for a in np.arange(8) * np.pi / 4
    ]
    brightest = np.maximum.reduce(ring)
    contrast = (smooth - brightest) / (smooth + brightest + 0.15)
    lateral = np.abs(np.arange(coarse.shape[2]) - (coarse.shape[2] - 1) / 2) * cells
    contrast[:, :, lateral > _MOST_LATERAL_MM] = -1
    border = round(_BORDER_MM / cells)
    contrast[:, :border] = contrast[:, -border:] = -1
    contrast[_depth_mm(coarse) < _LEAST_DEPTH_MM] = -1
    return float32(contrast)


def _depth_mm(coarse: FloatArray) -> FloatArray:
    """Distance in axial planes to what is as dark as air or out of the coil's reach, bone and airway aside."""
    body = ndimage.gaussian_filter(coarse, (0, *[_BODY_SIGMA_MM / cell for cell in _SEARCH_MM[:2]])) > _DARK
    depth = np.empty(coarse.shape, np.float32)
    for plane, filled in zip(depth, map(ndimage.binary_fill_holes, body), strict=True):
        plane[:] = ndimage.distance_transform_edt(filled) * _SEARCH_MM[0] if not filled.all() else np.inf
    return depth


def _best_course(score: FloatArray) -> list[tuple[int, int]]:
    """Cell (y, x) of each plane on the course with the largest sum."""
    total = [score[0]]
    for plane in score[1:]:
        total.append(plane + ndimage.maximum_filter(total[-1], size=3, mode="constant", cval=-np.inf))
    y, x = (int(i) for i in np.unravel_index(int(np.argmax(total[-1])), total[-1].shape))
    course = [(y, x)]
    for plane in reversed(total[:-1]):
        low_y, low_x = max(y - 1, 0), max(x - 1, 0)
        window = plane[low_y : y + 2, low_x : x + 2]
        step_y, step_x = np.unravel_index(int(np.argmax(window)), window.shape)
        y, x = low_y + int(step_y), low_x + int(step_x)
        course.append((y, x))
    return course[::-1]
