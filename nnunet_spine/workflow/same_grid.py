"""Writing a volume into the very grid of a file: to the last bit, in that file's format.

A writer that goes through origin, spacing and direction as numbers rounds them: an oblique grid then differs in the
last digits from the image that it came from, and tools that compare grids exactly refuse the pair. Here the header's
own words for the grid are taken over; nothing else of the header is, since it may name a patient.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from nnunet_spine.errors import BadInput, NotWritable
from nnunet_spine.files import is_regular_file, system_reason
from nnunet_spine.images import Volume, read_volume, write_by_itk
from nnunet_spine.volume_headers import is_nifti_2

NIFTI_SUFFIXES = (".nii", ".nii.gz")

NIFTI_GRID = (
    "pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
    "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
)  # fmt: skip
"""Fields of a NIfTI header that say where its voxels lie."""

NRRD_GRID = (b"space:", b"space directions:", b"space origin:")
"""Fields of an NRRD header that do."""


def read_with_spacing(path: Path) -> Volume:
    """Read a volume, and refuse a NIfTI header without spacing, which ITK would take for 1 mm.

    Raises
    ------
    NotFound, BadInput
        As `images.read_volume`; BadInput also where a spacing is not above 0, or the place is not finite.
    """
    if path.name.lower().endswith(NIFTI_SUFFIXES) and is_regular_file(path):
        header = _nifti_header(path)
        if header is not None:
            _check_grid(path, header)
    return read_volume(path)


def write_into_grid_of(path: Path, volume: Volume, source: Path) -> None:
    """Write a volume with the grid of `source`, whose format `path` must have.

    Parameters
    ----------
    path
        Not protected against a break-off; write to a temporary place.
    volume
        With the geometry that `source` has.
    source
        The file whose header says where the voxels lie.

    Raises
    ------
    NotWritable
        Where it cannot be written.
    """
    name = path.name.lower()
    header = _nifti_header(source) if name.endswith(NIFTI_SUFFIXES) else None
    try:
        if header is not None:
            _write_nifti(path, volume.array, header)
            return
        write_by_itk(path, volume)
        if name.endswith(".nrrd"):
            _take_over_nrrd_grid(path, source)
    except NotWritable:
        raise
    except OSError as error:
        raise NotWritable(f"Cannot write {path.name}: {system_reason(error)}.") from error
    except RuntimeError as error:  # of ITK, which gives no reason
        raise NotWritable(f"{path.name} could not be written. See whether the disk has space left.") from error


def _nifti_header(path: Path) -> Any:
    """Header of NIfTI-1 as it is stored, nothing repaired; None if the file has none."""
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            start = stream.read(nibabel.Nifti1Header.sizeof_hdr)
        return None if is_nifti_2(start) else nibabel.Nifti1Header(start, check=False)
    except (OSError, EOFError, zlib.error, HeaderDataError, WrapStructError):
        return None


def _check_grid(path: Path, header: Any) -> None:
    axes = min(3, int(header["dim"][0]))
    spacing = [float(s) for s in header["pixdim"][1 : axes + 1]]
    if not all(0 < s < np.inf for s in spacing):
        raise BadInput(
            f"{path} gives a voxel spacing of {' x '.join(f'{s:g}' for s in spacing)} mm (x, y, z); expected numbers "
            "above 0. Correct the image's header, or export it again."
        )
    place = [header[name] for name in NIFTI_GRID if name.startswith(("srow", "quatern", "qoffset"))]
    if not np.isfinite(np.hstack(place)).all():
        raise BadInput(
            f"{path} gives a place in space that is not finite (qform or sform). Correct the image's header, or "
            "export it again."
        )


def _write_nifti(path: Path, array: npt.NDArray[Any], header: Any) -> None:
    fresh = nibabel.Nifti1Header()
    fresh.set_data_dtype(array.dtype)
    for name in NIFTI_GRID:
        fresh[name] = header[name]
    nibabel.Nifti1Image(array.T, None, fresh).to_filename(path)


def _take_over_nrrd_grid(path: Path, source: Path) -> None:
    theirs = {name: line for line in _nrrd_header(source) for name in NRRD_GRID if line.startswith(name)}
    if len(theirs) < len(NRRD_GRID):
        return  # without a space, the spacings alone are written, and these are exact
    content = path.read_bytes()
    header, blank, voxels = content.partition(b"\n\n")
    lines = [next((theirs[n] for n in NRRD_GRID if line.startswith(n)), line) for line in header.split(b"\n")]
    path.write_bytes(b"\n".join(lines) + blank + voxels)


def _nrrd_header(path: Path) -> list[bytes]:
    """Lines of the header, which ends at the first empty one."""
    lines = []
    with path.open("rb") as stream:
        while line := stream.readline().strip():
            lines.append(line)
    return lines
