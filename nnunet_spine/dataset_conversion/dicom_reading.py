"""A DICOM series as a volume: highdicom decodes and orders it, the checks say what is wrong with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError
from pydicom.pixels import apply_rescale

from nnunet_spine.dataset_conversion.dicom_headers import HEADER_ERRORS
from nnunet_spine.dataset_conversion.frame_headers import frame_headers
from nnunet_spine.dataset_conversion.pixel_claims import checked_pixels
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.series_stack import SPACING_TOLERANCE, check_stack
from nnunet_spine.images import Volume

DECODING_ERRORS = (*HEADER_ERRORS, InvalidDicomError, RuntimeError, ArithmeticError, sqlite3.Error)
"""What pydicom and highdicom raise for pixels that they cannot decode or order; highdicom sorts frames in SQLite."""

SMALLEST_MM, LARGEST_MM = 1e-3, 1e3
"""Sides of a voxel."""

SHEAR_TOLERANCE = 1e-2
"""Largest sine of the angle between the direction of the stack and the normal of its slices."""


def read_series(files: Sequence[Path], frames: Sequence[Sequence[int]] = ()) -> Volume:
    """Read a DICOM series, classic or Enhanced, with the rescale of each slice or frame applied.

    The values are those that the standard's rescale gives, which scanners and viewers display. Real-world value maps
    and private scales are not applied.

    Parameters
    ----------
    files
        All files of the series, in any order.
    frames
        Numbers (from 1) of the frames of each file that belong to the series; empty for files of one frame.

    Returns
    -------
    Volume
        float64, on the series' own grid; the slice axis is x.

    Raises
    ------
    Unusable
        Where slices are missing, doubled or unevenly spaced, or the pixels cannot be decoded.
    """
    return _read_frames(files, frames) if frames else _read_files(files)


def _read_files(files: Sequence[Path]) -> Volume:
    try:
        datasets = [checked_pixels(pydicom.dcmread(path)) for path in files]
        orientations = _rows([dataset.ImageOrientationPatient for dataset in datasets], 6)
        positions = _rows([dataset.ImagePositionPatient for dataset in datasets], 3)
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise _no_header(failure) from failure
    check_stack(orientations, positions)
    try:
        volume = (_rescaled if all(map(_is_plain, datasets)) else _transformed)(datasets)
    except DECODING_ERRORS as failure:
        raise _no_pixels(failure) from failure
    return _on_a_grid(volume)


def _is_plain(dataset: Any) -> bool:
    """Whether the displayed values of a slice are those of the rescale: no table, and not inverted."""
    shape = dataset.get("PresentationLUTShape") or "IDENTITY"
    inverted = dataset.PhotometricInterpretation != "MONOCHROME2" or shape != "IDENTITY"
    return not inverted and "ModalityLUTSequence" not in dataset and "FrameOfReferenceUID" in dataset


def _transformed(datasets: Sequence[Any]) -> Any:
    return highdicom.get_volume_from_series(
        list(datasets), dtype=np.float64, apply_real_world_transform=False, rtol=2 * SPACING_TOLERANCE
    )


def _rescaled(datasets: Sequence[Any]) -> Any:
    """What `_transformed` gives, in a third of the time: highdicom searches all of the standard's tables per slice."""
    first = datasets[0]
    alike = ("SeriesInstanceUID", "FrameOfReferenceUID", "ImageOrientationPatient", "PixelSpacing")
    for keyword in alike:
        if any(dataset[keyword].value != first[keyword].value for dataset in datasets):
            raise ValueError(f"slices of different {keyword}")
    slice_mm, places = highdicom.spatial.get_volume_positions(
        image_positions=[dataset.ImagePositionPatient for dataset in datasets],
        image_orientation=first.ImageOrientationPatient,
        rtol=2 * SPACING_TOLERANCE,
    )
    if slice_mm is None:
        raise ValueError("slices without an even spacing")
    ordered = [dataset for _, dataset in sorted(zip(places, datasets, strict=True), key=lambda pair: pair[0])]
    pixels = [apply_rescale(dataset.pixel_array, dataset) for dataset in ordered]
    return highdicom.Volume.from_attributes(
        array=np.stack(pixels).astype(np.float64, copy=False),
        frame_of_reference_uid=first.FrameOfReferenceUID,
        image_position=ordered[0].ImagePositionPatient,
        image_orientation=first.ImageOrientationPatient,
        pixel_spacing=first.PixelSpacing,
        spacing_between_slices=slice_mm,
        coordinate_system="PATIENT",
    )


def _read_frames(files: Sequence[Path], frames: Sequence[Sequence[int]]) -> Volume:
    try:
        images = [checked_pixels(highdicom.imread(path)) for path in files]
        headers = [_headers_of(image, numbers) for image, numbers in zip(images, frames, strict=True)]
        flat = [header for group in headers for header in group]
        orientations = _rows([header["ImageOrientationPatient"] for header in flat], 6)
        positions = _rows([header["ImagePositionPatient"] for header in flat], 3)
        spacing = [float(v) for v in flat[0]["PixelSpacing"]]
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise _no_header(failure) from failure
    check_stack(orientations, positions)
    try:
        pixels = np.concatenate(
            [
                image.get_frames(list(numbers), dtype=np.float64, apply_real_world_transform=False)
                for image, numbers in zip(images, frames, strict=True)
            ]
        )
        volume = _stacked(pixels, orientations[0], positions, spacing)
    except DECODING_ERRORS as failure:
        raise _no_pixels(failure) from failure
    return _on_a_grid(volume)


def _on_a_grid(volume: Any) -> Volume:
    """The volume with its grid, whose voxels have a size that a scanner can give."""
    sizes = np.abs(np.asarray(volume.spacing, dtype=float))
    if not (np.isfinite(sizes).all() and sizes.min() >= SMALLEST_MM and sizes.max() <= LARGEST_MM):
        raise Unusable(
            f"voxels of {' x '.join(f'{size:.3g}' for size in sizes)} mm",
            f"sizes from {SMALLEST_MM} to {LARGEST_MM:.0f} mm",
            "Export the series again",
        )
    return Volume.of(volume.to_simpleitk())


def _rows(values: Sequence[Any], count: int) -> npt.NDArray[np.float64]:
    """Values of an attribute, one row a slice; `ValueError` where one has not `count` numbers."""
    return np.array(values, dtype=float).reshape(len(values), count)


def _headers_of(image: Any, numbers: Sequence[int]) -> list[dict[str, Any]]:
    found = dict(frame_headers(image))
    return [found[number] for number in numbers]


def _stacked(
    pixels: npt.NDArray[np.float64],
    orientation: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
    spacing: Sequence[float],
) -> Any:
    """Frames of one stack, shape (frames, rows, columns), in the order of their places; spacing of rows, columns."""
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    order = np.argsort(positions @ normal)
    step = np.diff(positions[order], axis=0).mean(axis=0)
    if np.linalg.norm(np.cross(step, normal)) > SHEAR_TOLERANCE * np.linalg.norm(step):
        raise ValueError("slices shifted within their plane")
    affine = np.eye(4)
    affine[:3] = np.column_stack([step, column * spacing[0], row * spacing[1], positions[order][0]])
    return highdicom.Volume(pixels[order], affine, coordinate_system="PATIENT")


def _no_header(failure: Exception) -> Unusable:
    return Unusable(
        f"the header of a slice cannot be read ({type(failure).__name__})",
        "an orientation and a position in every slice",
        "Export the series again",
    )


def _no_pixels(failure: Exception) -> Unusable:
    return Unusable(
        f"the pixels cannot be decoded into one volume ({type(failure).__name__})",
        "slices of one size, in a transfer syntax that pydicom can decode",
        "Export the series again, uncompressed",
    )
