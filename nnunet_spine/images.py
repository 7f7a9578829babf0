"""A volume with its geometry.

Arrays are (z, y, x), as SimpleITK gives them; everything named `_xyz` is in
SimpleITK's order (x, y, z). Physical space is LPS, in millimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from isal import igzip, igzip_lib

from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound
from nnunet_spine.files import is_regular_file, replacing
from nnunet_spine.volume_headers import hushed, read_volume_header

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of volume files that `read_volume` accepts."""

SAGITTAL_ORIENTATION = "PIL"
"""Directions in which x, y and z grow in a stored case: to posterior, to inferior, to left.

Slices are then the first array axis, as in a sagittal DICOM series.
"""

GRID_TOLERANCE_MM = 1e-3
_DAMAGED: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says that it is an instance


@dataclass(frozen=True)
class Geometry:
    """The grid of a 3D volume in physical space.

    Parameters
    ----------
    size_xyz
        Voxels per axis.
    spacing_xyz_mm
        Distance of voxel centres per axis, in mm.
    origin_xyz_mm
        Centre of the first voxel, LPS, in mm.
    direction
        Row-major 3x3 matrix whose columns are the unit vectors of x, y and z.
    """

    size_xyz: tuple[int, int, int]
    spacing_xyz_mm: tuple[float, float, float]
    origin_xyz_mm: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, image: Any) -> Geometry:
        """Geometry of a 3D SimpleITK image."""
        return cls(
            tuple(image.GetSize()), tuple(image.GetSpacing()), tuple(image.GetOrigin()), tuple(image.GetDirection())
        )

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, in ml."""
        return float(np.prod(self.spacing_xyz_mm)) / 1000.0

    @property
    def shape_zyx(self) -> tuple[int, int, int]:
        """Shape of the array that belongs to this grid."""
        x, y, z = self.size_xyz
        return z, y, x

    @property
    def spacing_zyx_mm(self) -> tuple[float, float, float]:
        """Spacing in array order, in mm."""
        x, y, z = self.spacing_xyz_mm
        return z, y, x

    def affine_lps(self) -> npt.NDArray[np.float64]:
        """4x4 matrix from index (x, y, z, 1) to LPS in mm."""
        affine = np.eye(4)
        affine[:3, :3] = np.reshape(self.direction, (3, 3)) * np.asarray(self.spacing_xyz_mm)
        affine[:3, 3] = self.origin_xyz_mm
        return affine

    def same_grid(self, other: Geometry, *, tolerance_mm: float = GRID_TOLERANCE_MM) -> bool:
        """Whether every voxel centre of both grids agrees within `tolerance_mm`."""
        if self.size_xyz != other.size_xyz:
            return False
        last = np.asarray(self.size_xyz) - 1
        corners = np.array(np.meshgrid(*[(0, n) for n in last], indexing="ij")).reshape(3, -1)
        homogeneous = np.vstack([corners, np.ones(corners.shape[1])])
        gap = (self.affine_lps() - other.affine_lps()) @ homogeneous
        return bool(np.abs(gap).max() <= tolerance_mm)

    def describe(self) -> str:
        """One line for messages: size, spacing, origin, direction."""
        spacing, origin, direction = (
            " ".join(f"{v:.4g}" for v in values) for values in (self.spacing_xyz_mm, self.origin_xyz_mm, self.direction)
        )
        size = "x".join(str(n) for n in self.size_xyz)
        return f"size {size}, spacing {spacing} mm, origin {origin} mm, direction {direction}"


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels and the grid that they lie on.

    Parameters
    ----------
    array
        Shape (z, y, x).
    geometry
        Grid whose `shape_zyx` is the array's shape.
    """

    array: npt.NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape_zyx:
            raise GeometryMismatch(
                f"An array of shape {self.array.shape} does not fit a grid of {self.geometry.shape_zyx} (z, y, x)."
            )

    @classmethod
    def of(cls, image: Any) -> Volume:
        """Volume of a 3D SimpleITK image."""
        return cls(sitk.GetArrayFromImage(image), Geometry.of(image))

    def image(self) -> Any:
        """SimpleITK image with this content; bool becomes uint8."""
        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(array)
        image.SetSpacing(self.geometry.spacing_xyz_mm)
        image.SetOrigin(self.geometry.origin_xyz_mm)
        image.SetDirection(self.geometry.direction)
        return image


def volume_stem(path: Path) -> str:
    """File name without its volume suffix, or the whole name where it has none."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.name


def is_volume_file(path: Path) -> bool:
    """Whether the name ends as a volume file's does."""
    return path.name.lower().endswith(SUFFIXES)


def read_volume(path: Path) -> Volume:
    """Read a 3D volume (NIfTI, NRRD or MHA).

    Raises
    ------
    NotFound
        Where there is no such file.
    BadInput
        Where it cannot be read, breaks off early, or is not a scalar 3D volume.
    """
    if not is_regular_file(path):
        raise NotFound(f"There is no file {path}. Check the path.")
    try:
        reader = read_volume_header(path)
        with hushed():
            image = reader.Execute()
    except (RuntimeError, MemoryError) as error:
        raise BadInput(
            f"{path} cannot be read as a volume ({', '.join(SUFFIXES)}). The file may be damaged."
        ) from error
    check_complete(path, reader)
    return Volume.of(image)


def check_complete(path: Path, reader: Any = None) -> None:
    """Refuse a NIfTI file that holds fewer bytes than its header promises.

    ITK reads such a file without a word and leaves the missing voxels at random values; its readers of the other
    formats refuse by themselves.

    Parameters
    ----------
    path
        A volume file.
    reader
        Its header, from `read_volume_header`; None reads it.

    Raises
    ------
    BadInput
        Where the file breaks off early, or its compression is damaged.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return
    try:
        reader = read_volume_header(path) if reader is None else reader
        expected = int(float(reader.GetMetaData("vox_offset")))
        expected += int(np.prod(reader.GetSize())) * int(reader.GetMetaData("bitpix")) // 8
        found = _unpacked_bytes(path)
    except (RuntimeError, EOFError, OSError, ValueError, OverflowError, _DAMAGED) as error:
        raise BadInput(f"{path} is damaged: it cannot be read to its end. Copy or export it again.") from error
    if found < expected:
        raise BadInput(
            f"{path} breaks off early: {found} bytes unpacked, {expected} expected. Copy or export it again."
        )


def _unpacked_bytes(path: Path) -> int:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"  # ITK reads plain content under a name in .gz as well
    if not packed:
        return path.stat().st_size
    with igzip.open(path) as stream:
        return sum(len(block) for block in iter(lambda: stream.read(2**20), b""))


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume, complete or not at all; the format follows the suffix.

    Compressed NIfTI written twice from the same content has the same bytes, and no text from the source in its header.
    """
    with replacing(path) as temporary:
        sitk.WriteImage(volume.image(), str(temporary), useCompression=True)


def reorient(volume: Volume, orientation: str = SAGITTAL_ORIENTATION) -> Volume:
    """Permute and flip axes to the nearest match of `orientation`; no voxel value or place changes.

    Parameters
    ----------
    volume
        Any 3D volume.
    orientation
        Three letters of L/R, P/A, S/I: where x, y and z grow to.
    """
    return Volume.of(sitk.DICOMOrient(volume.image(), orientation))
