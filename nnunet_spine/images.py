"""A volume with its geometry, read from and written to a file.

Arrays are (z, y, x), as SimpleITK gives them; everything named `_xyz` is in
SimpleITK's order (x, y, z). Physical space is LPS, in millimeters.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk
from isal import igzip, igzip_lib

from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound, NotWritable
from nnunet_spine.files import is_regular_file, obstacle, replacing, write_on
from nnunet_spine.grids import Geometry
from nnunet_spine.volume_headers import VolumeHeader, is_utf8, read_volume_header, read_voxels

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""Endings of volume files that `read_volume` accepts."""

SAGITTAL_ORIENTATION = "PIL"
"""Directions in which x, y and z grow in a stored case: to posterior, to inferior, to left.

Slices are then the first array axis, as in a sagittal DICOM series.
"""

_FLOATS = {16: "f4", 64: "f8"}
"""NIfTI's codes of floating types; ITK reads no wider ones."""

_DAMAGED: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub says that it is an instance


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


class NotFinite(BadInput):
    """A volume with voxels that are NaN or infinite; `voxels` says how many."""

    def __init__(self, path: Path, voxels: int) -> None:
        super().__init__(
            f"{path} has {voxels} voxels that are not finite (NaN or infinity); expected a number in every voxel. "
            "Export it again, or set these voxels to a value."
        )
        self.voxels = voxels

    def __reduce__(self) -> tuple[type[BadInput], tuple[str]]:
        """What another process gets: the message."""
        return BadInput, (str(self),)


def read_volume(path: Path) -> Volume:
    """Read a 3D volume (NIfTI, NRRD or MHA).

    Axes that are not quite at right angles, by the rounding of a header, are squared; see `grids.squared`.

    Raises
    ------
    NotFound
        If there is no such file.
    BadInput
        If it cannot be read, ends early, is not a scalar 3D volume, or its axes are not at right angles.
    NotFinite
        If a voxel is NaN or infinite.
    """
    (volume,) = _read(path, layers=False)
    return volume


def read_layers(path: Path) -> list[Volume]:
    """Read a file in which a voxel may have several values, one volume for each; errors as for `read_volume`."""
    return _read(path, layers=True)


def _read(path: Path, *, layers: bool) -> list[Volume]:
    if found := obstacle(path):
        raise BadInput(f"{path} is {found}; expected a volume file. Check the path.")
    if not is_regular_file(path):
        raise NotFound(f"There is no file {path}. Check the path.")
    try:
        header = read_volume_header(path, layers=layers)
        array = sitk.GetArrayFromImage(read_voxels(header))
    except MemoryError as error:
        raise BadInput(f"{path} needs more memory than there is. Use a machine with more, or crop it.") from error
    except RuntimeError as error:
        raise BadInput(
            f"{path} cannot be read as a volume ({', '.join(SUFFIXES)}). The file may be damaged."
        ) from error
    bad = check_complete(path, header)
    if bad == 0 and np.issubdtype(array.dtype, np.floating):
        bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise NotFinite(path, bad)
    stacked = array.reshape(*header.geometry.shape_zyx, -1)
    return [Volume(stacked[..., layer], header.geometry) for layer in range(stacked.shape[-1])]


def check_complete(path: Path, header: VolumeHeader | None = None) -> int:
    """Refuse a NIfTI file that holds fewer bytes than its header promises, and count its voxels that are not finite.

    ITK reads a file that ends early without a word and leaves the missing voxels at random values, and it replaces
    NaN and infinity with 0. Its readers of the other formats do neither.

    Parameters
    ----------
    path
        A volume file.
    header
        Its header, from `read_volume_header`; None reads it.

    Returns
    -------
    not_finite
        Stored voxels that are NaN or infinite; 0 for other formats.

    Raises
    ------
    BadInput
        If the file ends early, or its compression is damaged.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        return 0
    try:
        reader = (read_volume_header(path) if header is None else header).reader
        start = int(float(reader.GetMetaData("vox_offset")))
        expected = start + int(np.prod(reader.GetSize())) * int(reader.GetMetaData("bitpix")) // 8
        found, bad = _examine(path, start, expected, _FLOATS.get(int(reader.GetMetaData("datatype"))))
    except (RuntimeError, EOFError, OSError, ValueError, OverflowError, _DAMAGED) as error:
        raise BadInput(f"{path} is damaged: it cannot be read to its end. Copy or export it again.") from error
    if found < expected:
        raise BadInput(
            f"{path} breaks off early: {found} bytes unpacked, {expected} expected. Copy or export it again."
        )
    return bad


def _examine(path: Path, start: int, end: int, floats: str | None) -> tuple[int, int]:
    """Unpacked bytes of a NIfTI file, and how many of its numbers from `start` to `end` are not finite.

    Parameters
    ----------
    path, start, end
        The file, and the place of its voxels in bytes.
    floats
        numpy's name of the type of a voxel without its byte order; None if it is an integer.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"  # ITK reads plain content under a name in .gz as well
    if not packed and floats is None:
        return path.stat().st_size, 0
    found = bad = 0
    left, order = b"", ""
    for block in _blocks(path, packed=packed):
        if floats is not None:
            order = order or ("<" if int.from_bytes(block[:4], "little") in (348, 540) else ">")
            voxels = left + block[max(0, start - found) : max(0, end - found)]
            whole = len(voxels) - len(voxels) % np.dtype(floats).itemsize
            bad += int(np.count_nonzero(~np.isfinite(np.frombuffer(voxels[:whole], order + floats))))
            left = voxels[whole:]
        found += len(block)
    return found, bad


def _blocks(path: Path, *, packed: bool) -> Iterator[bytes]:
    with igzip.open(path) if packed else path.open("rb") as stream:
        yield from iter(lambda: stream.read(2**20), b"")


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume, complete or not at all; the format follows the suffix.

    Compressed NIfTI written twice from the same content has the same bytes, and no text from the source in its header.

    Raises
    ------
    NotWritable
        If the file cannot be written, or its path is not UTF-8.
    """
    with replacing(path) as temporary:
        write_by_itk(temporary, volume)


def write_by_itk(path: Path, volume: Volume) -> None:
    """Write a volume where it may break off, and check that it is whole.

    Raises
    ------
    NotWritable
        If the path is not UTF-8.
    OSError
        If the file is not whole, with the system's reason.
    """
    if not is_utf8(path):
        raise NotWritable(
            "The output's path has a name that is not UTF-8, which ITK cannot write to. Choose another place."
        )
    with whole_file(path):
        sitk.WriteImage(volume.image(), str(path), useCompression=True)


@contextmanager
def whole_file(path: Path) -> Iterator[None]:
    """Check that ITK writes a volume to its end in the block: on a full disk it reports nothing.

    Raises
    ------
    OSError
        If it does not, with the system's reason.
    """
    try:
        yield
        check_whole(path)
    except (BadInput, NotFound, RuntimeError) as error:
        write_on(path)
        raise OSError(errno.EIO, "ITK did not write the file to its end, and gives no reason") from error


def check_whole(path: Path) -> None:
    """Check that a volume file can be read to its end; errors as for `read_volume`, but any finite or other value."""
    if path.name.lower().endswith((".nii", ".nii.gz")) and is_regular_file(path):
        try:
            check_complete(path)  # needs no memory for the voxels
        except RuntimeError as error:
            raise BadInput(f"{path} cannot be read as a volume. The file may be damaged.") from error
    else:
        with suppress(NotFinite):
            read_volume(path)


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
