"""Checks of an image: geometry that nobody set, slices without content, values of another modality."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from nnunet_spine.dataset_conversion.dicom_files import HEADER_ERRORS, open_dataset
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.slice_grid import MINIMUM_SLICES
from nnunet_spine.errors import BadInput
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume
from nnunet_spine.volume_headers import read_nifti_forms, read_volume_header, states_axes

NIFTI_SUFFIXES = (".nii", ".nii.gz")

FORMS_TOLERANCE_MM = 0.1
"""Largest difference of a voxel's place by sform and by qform."""

AIR_OF_CT, BONE_OF_CT = -900.0, 300.0
"""An image whose values reach below the first and above the second has those of CT, in Hounsfield units."""

PHILIPS_GROUP, PHILIPS_CREATOR, SCALE_SLOPE = 0x2005, "Philips MR Imaging DD 001", 0x0E
"""Philips's private scale slope."""


def check_volume_geometry(path: Path) -> tuple[str, ...]:
    """Check that the grid of a volume file was set on purpose; returns notes.

    Parameters
    ----------
    path
        NIfTI, NRRD or MHA. What cannot be read is left to the reader to refuse.

    Raises
    ------
    Unusable
        Where the grid is the one of a file that was given none, or a NIfTI's two forms contradict each other.
    """
    try:
        header = read_volume_header(path)
    except (RuntimeError, BadInput):
        return ()
    if _is_default(header.geometry):
        raise Unusable(
            "spacing of 1 mm, origin 0 and the body's own axes, as in a file whose geometry was never set",
            "the scanner's geometry",
            "Convert the image from DICOM again, or set its geometry",
        )
    if not states_axes(path):
        raise Unusable(
            "an image that does not say where its axes point in the body",
            "a form of NIfTI, space of NRRD or TransformMatrix of MHA",
            "Convert the image from DICOM again, or set its orientation with a tool for its format",
        )
    squared = (note,) if (note := header.axes_note()) else ()
    return (*squared, *(_check_forms(path, header.geometry) if path.name.lower().endswith(NIFTI_SUFFIXES) else ()))


def _is_default(grid: Geometry) -> bool:
    identity = np.abs(np.reshape(grid.direction, (3, 3)))
    return (
        np.allclose(grid.spacing_xyz_mm, 1.0)
        and np.allclose(grid.origin_xyz_mm, 0.0)
        and np.allclose(identity, np.eye(3), atol=1e-6)
    )


def _check_forms(path: Path, grid: Geometry) -> tuple[str, ...]:
    forms = read_nifti_forms(path)
    remedy = "Convert the image from DICOM again, or set both forms with a tool for NIfTI"
    if (apart := forms.apart_mm(grid.size_xyz)) > FORMS_TOLERANCE_MM:
        raise Unusable(
            f"sform and qform of the NIfTI place voxels up to {apart:.1f} mm apart",
            f"both within {FORMS_TOLERANCE_MM} mm",
            remedy,
        )
    if np.allclose(grid.spacing_xyz_mm, 1.0) and not forms.has_unit:
        return ("spacing of 1 x 1 x 1 without unit, which may never have been set: compare it with the scanner's",)
    return ()


def check_slices(volume: Volume) -> None:
    """Check that no axis has fewer voxels than a volume needs slices; `Unusable` where one has."""
    fewest = min(volume.geometry.size_xyz)
    if fewest < MINIMUM_SLICES:
        raise Unusable(
            f"an image of {fewest} slices", f"at least {MINIMUM_SLICES} slices", "Check that the right one was exported"
        )


def value_notes(volume: Volume) -> tuple[str, ...]:
    """Notes on values that are not those of a sound MR image."""
    values, notes = volume.array, []
    if values.min() <= AIR_OF_CT and values.max() >= BONE_OF_CT:
        notes.append(f"values from {values.min():.0f} to {values.max():.0f} are those of CT rather than of MR")
    axis = int(np.argmax(volume.geometry.spacing_zyx_mm))
    slices = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    empty = int((slices.min(axis=1) == slices.max(axis=1)).sum())
    if 0 < empty < len(slices):
        notes.append(f"{empty} of {len(slices)} slices are constant")
    return tuple(notes)


def series_notes(files: Sequence[Path]) -> tuple[str, ...]:
    """Notes on a DICOM series: Philips's private scale that differs from slice to slice.

    Displayed values of such slices are comparable only after the private scale, which is not applied.
    """
    if _private_scale(files[0]) is None:
        return ()  # not of Philips, or without it: the other headers need not be read again
    scales = {scale for path in files if (scale := _private_scale(path)) is not None}
    if len(scales) < 2:
        return ()
    return (f"Philips's private scale differs between slices ({len(scales)} values); displayed values were kept",)


def _private_scale(path: Path) -> float | None:
    try:
        header = open_dataset(path)
        block = header.private_block(PHILIPS_GROUP, PHILIPS_CREATOR)
        slope = float(header.get("RescaleSlope") or 1.0)
        return round(slope * float(block[SCALE_SLOPE].value), 6)
    except (*HEADER_ERRORS, pydicom.errors.InvalidDicomError):
        return None
