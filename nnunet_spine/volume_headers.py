"""Headers of volume files, looked at before ITK reads what it would wait, write or take memory for."""

from __future__ import annotations

import gzip
import math
import os
import re
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_spine.environment_variables import variables_set
from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file
from nnunet_spine.grids import ROUNDING_MM, Geometry, Squared, corner_places, squared

sitk.ProcessObject.GlobalWarningDisplayOff()  # ITK's warnings name files, and come from threads, too

LEAST_DETERMINANT = 1e-3
"""A direction whose determinant is smaller has two axes that are nearly one."""

MOST_UNPACKED = 1032
"""Voxels that a byte of a file may hold: deflate shrinks no more than this."""

MOST_AXES = 10
"""Axes that ITK's reader of MHA has room for."""

LARGEST_MM = 1e6
"""Spacings and coordinates beyond this are no volume's."""

_HEADER_BYTES = 2**16

_NIFTI_PLACES = {348: ("i2", "f4", 252, 80, 256, 280), 540: ("i4", "f8", 344, 112, 352, 400)}
"""By the size of the header (NIfTI-1, NIfTI-2): types of codes and numbers; places of codes, spacing, qform, sform."""

_NIFTI_UNITS_MM = {1: 1000.0, 3: 0.001}
"""Millimeters of NIfTI's units of space other than the millimeter: meter and micrometer."""


@dataclass(frozen=True, eq=False)
class VolumeHeader:
    """Header of a scalar 3D volume.

    Parameters
    ----------
    reader
        SimpleITK's reader, which knows the file.
    geometry
        The grid, its axes at right angles.
    squared
        How far the axes were from that.
    is_sheared
        Whether ITK refuses the axes unless it is asked to accept them.
    """

    reader: Any
    geometry: Geometry
    squared: Squared
    is_sheared: bool

    def axes_note(self) -> str:
        """A sentence on axes that were squared; empty if they are at right angles."""
        if self.squared.moved_mm <= ROUNDING_MM:
            return ""
        return (
            "its axes are not quite at right angles: they were squared, which moves a corner by "
            f"{self.squared.moved_mm:.3f} mm ({self.squared.moved_voxels:.3f} of a voxel)"
        )


def read_volume_header(path: Path, *, layers: bool = False) -> VolumeHeader:
    """Read the header of a scalar 3D volume and check it.

    Parameters
    ----------
    path
        An existing file.
    layers
        Whether a voxel may have several values: 3D Slicer stores segments that overlap as layers of one file.

    Raises
    ------
    RuntimeError
        If SimpleITK cannot read it.
    BadInput
        If it is not a scalar 3D volume, has no grid or one whose axes are not at right angles, promises more voxels
        than the file can hold, or keeps its voxels in another file.
    """
    if not is_regular_file(path):  # a pipe would block
        raise BadInput(f"{path} is a folder, a pipe or a device. Give a volume file.")
    if not is_utf8(path):
        raise BadInput(f"{path} has a name, or a folder, that is not UTF-8, which ITK cannot open. Rename it.")
    start = start_of(path)
    if not (np.abs(_nifti_forms(start)) <= LARGEST_MM).all():
        raise BadInput(
            f"{path} has no grid: the places of its voxels are not finite, or none of a scanner. Export it again."
        )
    if path.suffix.lower() == ".mha" and _has_odd_axes(start):
        raise BadInput(f"{path} tells of a number of axes that no volume has. Expected 3. Export it again.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        is_sheared = _read_information(reader)
    except RuntimeError as error:
        if is_nifti_2(start):
            raise BadInput(f"{path} is NIfTI-2, which ITK does not read. Save it as NIfTI-1.") from error
        raise
    if reader.GetDimension() != 3 or (reader.GetNumberOfComponents() != 1 and not layers):
        raise BadInput(
            f"{path} has {reader.GetDimension()} dimensions and {reader.GetNumberOfComponents()} values a voxel. "
            "Expected a scalar 3D volume. Export it as one."
        )
    axes = np.asarray([*reader.GetSpacing(), *reader.GetOrigin(), *reader.GetDirection()])
    if (
        not (np.abs(axes) <= LARGEST_MM).all()
        or min(reader.GetSpacing()) <= 0.0
        or not _spans_space(reader.GetDirection())
    ):
        raise BadInput(
            f"{path} has no grid: spacing, origin and direction are not finite, or span no volume. Export it again."
        )
    _check_claim(path, start, math.prod(reader.GetSize()) * reader.GetNumberOfComponents())
    return _header(path, reader, start, is_sheared=is_sheared)


def is_utf8(path: Path) -> bool:
    """Whether a path can be given to ITK, which ends the process at one that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def read_voxels(header: VolumeHeader) -> Any:
    """Read the SimpleITK image of a header; `RuntimeError` if it cannot be read. Its grid may not be squared."""
    with _accepting_sheared() if header.is_sheared else nullcontext(), hushed():
        return header.reader.Execute()


_PERMISSIVE = "ITK_NIFTI_SFORM_PERMISSIVE"
"""Variable by which ITK accepts a NIfTI whose sform is not at right angles."""

_permissive_lock = threading.Lock()
"""Held by a thread while ITK looks at the variable: it is the whole process's."""


@contextmanager
def _accepting_sheared(accepting: bool = True) -> Iterator[None]:
    """Have ITK accept, or refuse, a NIfTI whose axes are not at right angles, whatever the user's environment says."""
    with _permissive_lock, variables_set({_PERMISSIVE: "YES" if accepting else "NO"}):
        yield


def _read_information(reader: Any) -> bool:
    """Read the header; returns whether ITK has to be asked to accept its axes."""
    try:
        with _accepting_sheared(False), hushed():
            reader.ReadImageInformation()
    except RuntimeError as error:
        if "orthonormal" not in str(error):
            raise
        with _accepting_sheared(), hushed():
            reader.ReadImageInformation()
        return True
    return False


def _header(path: Path, reader: Any, start: bytes, *, is_sheared: bool) -> VolumeHeader:
    stored = Geometry.of(reader)
    affine = _nifti_sform_lps(start) if is_sheared else stored.affine_lps()
    try:
        found = squared(affine, stored.size_xyz)
    except np.linalg.LinAlgError as error:
        raise BadInput(f"{path} has no grid: its axes span no volume. Export it again.") from error
    if not found.is_rounding:
        raise BadInput(
            f"{path} has axes that are not at right angles: on the nearest grid that has, a corner moves by "
            f"{found.moved_mm:.2f} mm ({found.moved_voxels:.2f} of a voxel). Up to a tenth of a voxel is taken for "
            "rounding. Resample it to a grid with right angles, or export it again."
        )
    exact = not is_sheared and found.moved_mm <= ROUNDING_MM
    return VolumeHeader(reader, stored if exact else found.geometry, found, is_sheared)


def _nifti_sform_lps(start: bytes) -> npt.NDArray[np.float64]:
    """Matrix from index to LPS in mm by a NIfTI's sform."""
    order, size = _nifti_order(start)
    _, number, _, _, _, place = _NIFTI_PLACES[size]
    return _nifti_lps(start, np.frombuffer(start, order + number, 12, place).astype(float).reshape(3, 4))


def _nifti_unit(start: bytes) -> int:
    """NIfTI's code of the unit of distances; 0 if it names none."""
    order, size = _nifti_order(start)
    return (int(np.frombuffer(start, f"{order}i4", 1, 500)[0]) if size == 540 else start[123]) & 7


def _nifti_lps(start: bytes, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Matrix from index to LPS in mm, of the three rows to RAS in the unit of the header."""
    affine_ras = np.vstack([rows * _NIFTI_UNITS_MM.get(_nifti_unit(start), 1.0), [0, 0, 0, 1]])
    affine_lps: npt.NDArray[np.float64] = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    return affine_lps


def _nifti_qform_lps(start: bytes) -> npt.NDArray[np.float64]:
    """Matrix from index to LPS in mm by a NIfTI's qform, whose quaternion is rounded: its norm may be above 1."""
    order, size = _nifti_order(start)
    _, number, _, spacing_place, place, _ = _NIFTI_PLACES[size]
    numbers = np.dtype(order + number)
    handedness, *spacing = np.frombuffer(start, numbers, 4, spacing_place - numbers.itemsize).astype(float)
    *imaginary, x, y, z = np.frombuffer(start, numbers, 6, place).astype(float)
    squares = float(np.square(imaginary).sum())
    real = math.sqrt(max(0.0, 1.0 - squares))
    if 1.0 - squares < _ROUNDED_QUATERNION:  # a half turn
        real, imaginary = 0.0, [value / math.sqrt(squares) for value in imaginary]
    b, c, d = imaginary
    rotation = np.array(
        [
            [real * real + b * b - c * c - d * d, 2 * (b * c - real * d), 2 * (b * d + real * c)],
            [2 * (b * c + real * d), real * real + c * c - b * b - d * d, 2 * (c * d - real * b)],
            [2 * (b * d - real * c), 2 * (c * d + real * b), real * real + d * d - c * c - b * b],
        ]
    )
    columns = rotation * [value if value > 0 else 1.0 for value in spacing] * [1, 1, -1 if handedness < 0 else 1]
    return _nifti_lps(start, np.column_stack([columns, (x, y, z)]))


_ROUNDED_QUATERNION = 1e-7
"""As in ITK's nifti_quatern_to_mat44: a real part whose square is smaller is 0."""


@dataclass(frozen=True, eq=False)
class NiftiForms:
    """What the header of a NIfTI says of the places of its voxels.

    Parameters
    ----------
    sform_lps, qform_lps
        4x4 matrix from index (x, y, z, 1) to LPS in mm; None if the form is not set.
    has_unit
        Whether it names the unit of its distances.
    """

    sform_lps: npt.NDArray[np.float64] | None
    qform_lps: npt.NDArray[np.float64] | None
    has_unit: bool

    def apart_mm(self, size_xyz: Sequence[int]) -> float:
        """Largest distance of a voxel's places by the two forms, in mm; 0 unless both are set."""
        if self.sform_lps is None or self.qform_lps is None:
            return 0.0
        return float(np.linalg.norm(corner_places(self.sform_lps - self.qform_lps, size_xyz), axis=0).max())


def read_nifti_forms(path: Path) -> NiftiForms:
    """Forms of a NIfTI file by the bytes of its header; none of any other file. Its numbers may be of any size."""
    start = start_of(path)
    if not _is_nifti(start) or not _nifti_order(start)[1]:
        return NiftiForms(None, None, False)
    has_qform, has_sform = _forms_set(start)
    return NiftiForms(
        _nifti_sform_lps(start) if has_sform else None,
        _nifti_qform_lps(start) if has_qform else None,
        bool(_nifti_unit(start)),
    )


def start_of(path: Path) -> bytes:
    """The first bytes of a file, unpacked where it is packed by gzip; none where that is damaged."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as content:
            return content.read(_HEADER_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def states_axes(path: Path) -> bool:
    """Whether a volume file says where its axes point in the body; each of the formats may leave it out."""
    start = start_of(path)
    if start.startswith(b"NRRD"):
        return _NRRD_SPACE.search(_header_of_nrrd(start)) is not None
    if path.name.lower().endswith(".mha"):
        return _MHA_MATRIX.search(start) is not None
    return bool(_is_nifti(start) and _forms_set(start).any())


_NRRD_SPACE = re.compile(
    rb"(?im)^space: *((left|right)-(anterior|posterior)-(superior|inferior)|[lr][ap][si])(-time)? *\r?$"
)
_MHA_MATRIX = re.compile(rb"(?m)^ *(TransformMatrix|Rotation|Orientation) *=")


def _is_nifti(start: bytes) -> bool:
    """Whether it is the header of a NIfTI in one file; that of ANALYZE 7.5 is as long and has no place for axes."""
    return start[344:348] == b"n+1\0" or start[4:8] == b"n+2\0"


def _nifti_order(start: bytes) -> tuple[str, int]:
    """Byte order and size of a NIfTI's header; size 0 if it is none, or cut short."""
    for order in "<>":
        size = int(np.frombuffer(start[:4], f"{order}i4")[0]) if len(start) >= 4 else 0
        if size in _NIFTI_PLACES and len(start) >= size:
            return order, size
    return "<", 0


def _forms_set(start: bytes) -> npt.NDArray[np.bool_]:
    """Whether a NIfTI's header gives a qform and an sform."""
    order, size = _nifti_order(start)
    if not size:
        return np.zeros(2, bool)
    code, _, place, *_ = _NIFTI_PLACES[size]
    return np.frombuffer(start, order + code, 2, place) > 0


def _nifti_forms(start: bytes) -> npt.NDArray[np.float64]:
    """What a NIfTI header says of its sform and qform, as far as they are set; ITK waits for ever on infinite ones."""
    order, size = _nifti_order(start)
    if not size:
        return np.zeros(0)
    _, number, _, *places = _NIFTI_PLACES[size]
    has_qform, has_sform = _forms_set(start)
    spacing, qform, sform = (
        np.frombuffer(start, order + number, count, place) for place, count in zip(places, (3, 6, 12), strict=True)
    )
    return np.concatenate([spacing, qform[: 6 * has_qform], sform[: 12 * has_sform]]).astype(float)


def is_nifti_2(start: bytes) -> bool:
    """Whether the first bytes of a file, unpacked, are the header of NIfTI-2."""
    return any(int.from_bytes(start[:4], order) == 540 for order in ("little", "big"))


def _has_odd_axes(start: bytes) -> bool:
    """Whether the header of an MHA file tells of a number of axes for which ITK writes past its arrays."""
    told = re.findall(rb"(?m)^\s*NDims\s*[=:]\s*(\S*)", start)
    return any(not number.isdigit() or not 1 <= int(number[:9]) <= MOST_AXES for number in told)


def _spans_space(direction: Sequence[float]) -> bool:
    return abs(float(np.linalg.det(np.reshape(direction, (3, 3))))) > LEAST_DETERMINANT


def _check_claim(path: Path, start: bytes, voxels: int) -> None:
    """Refuse a header for whose voxels memory would be taken for nothing; those of another file are refused as well."""
    held = path.stat().st_size
    if voxels > MOST_UNPACKED * held:
        raise BadInput(
            f"The header of {path} tells of {voxels} voxels, which {held} bytes cannot hold. Export it again."
        )
    if _is_detached(start, path.suffix.lower()):
        raise BadInput(f"The header of {path} has its voxels in another file. Export it as one file.")


def _is_detached(start: bytes, suffix: str) -> bool:
    """Whether the header of an NRRD or MHA file, at its start, names another file for its voxels."""
    if start.startswith(b"NRRD"):
        return re.search(rb"(?im)^data ?file:", _header_of_nrrd(start)) is not None
    named = re.search(rb"(?m)^ElementDataFile *= *([^\r\n]*)", start) if suffix == ".mha" else None
    return named is not None and named[1].strip().upper() != b"LOCAL"


def _header_of_nrrd(start: bytes) -> bytes:
    """What stands before the empty line with which the header of an NRRD file ends."""
    return re.split(rb"\r?\n\r?\n", start, maxsplit=1)[0]


@contextmanager
def hushed() -> Iterator[None]:
    """Turn away what ITK's readers write to standard error; it names the file, and failures are raised as well.

    Standard error is the process's, so other threads would fall silent too: it is turned away in the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
