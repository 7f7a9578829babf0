"""A DICOM series as a volume: highdicom decodes and orders it, the checks say what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_headers import HEADER_ERRORS
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.images import Volume

DECODING_ERRORS = (*HEADER_ERRORS, InvalidDicomError, RuntimeError)
"""What pydicom and highdicom raise for pixels that they cannot decode or order."""

SPACING_TOLERANCE = 0.01
"""Largest difference of a slice gap from the median gap, as a fraction of it."""

POSITION_TOLERANCE_MM = 0.01
"""Differences of slice positions up to this are rounding of the header."""

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference of direction cosines within a series."""

MINIMUM_SLICES = 3


def read_series(files: Sequence[Path]) -> Volume:
    """Read a DICOM series of single frames, with the rescale of each slice applied.

    Parameters
    ----------
    files
        All files of the series, in any order.

    Returns
    -------
    Volume
        float64, on the series' own grid; the slice axis is x.

    Raises
    ------
    Unusable
        Where slices are missing, doubled or unevenly spaced, or the pixels cannot be decoded.
    """
    try:
        datasets = [pydicom.dcmread(path) for path in files]
        orientations = np.array([dataset.ImageOrientationPatient for dataset in datasets], dtype=float)
        positions = np.array([dataset.ImagePositionPatient for dataset in datasets], dtype=float)
    except DECODING_ERRORS as failure:
        raise Unusable(
            f"the header of a slice cannot be read ({type(failure).__name__})",
            "an orientation and a position in every slice",
            "Export the series again",
        ) from failure
    check_stack(orientations, positions)
    try:
        volume = highdicom.get_volume_from_series(
            datasets, dtype=np.float64, apply_real_world_transform=False, rtol=2 * SPACING_TOLERANCE
        )
    except DECODING_ERRORS as failure:
        raise Unusable(
            f"the pixels cannot be decoded into one volume ({type(failure).__name__})",
            "slices of one size, in a transfer syntax that pydicom can decode",
            "Export the series again, uncompressed",
        ) from failure
    return Volume.of(volume.to_simpleitk())


def check_stack(orientations: npt.NDArray[np.float64], positions: npt.NDArray[np.float64]) -> None:
    """Check that slices make one evenly spaced stack.

    Parameters
    ----------
    orientations
        Shape (slices, 6): row and column direction cosines, LPS.
    positions
        Shape (slices, 3): centre of the first voxel, LPS, in mm.

    Raises
    ------
    Unusable
        Saying how many slices are missing, doubled or uneven, and the tolerance.
    """
    remedy = "Export the whole series again"
    if len(positions) < MINIMUM_SLICES:
        raise Unusable(f"a series of {len(positions)} slices", f"at least {MINIMUM_SLICES} slices", remedy)
    if np.abs(orientations - orientations[0]).max() > ORIENTATION_TOLERANCE:
        raise Unusable("slices of different orientations in one series", "one orientation", "Export it as two series")
    along = np.sort(positions @ np.cross(orientations[0, :3], orientations[0, 3:]))
    gaps = np.diff(along)
    expected = f"even gaps, within {100 * SPACING_TOLERANCE:.0f} % or {POSITION_TOLERANCE_MM} mm of their median"
    doubled = int((gaps <= POSITION_TOLERANCE_MM).sum())
    if doubled:
        raise Unusable(f"{doubled} slices lie at the place of another one", "one slice at each place", remedy)
    median = float(np.median(gaps))
    tolerance = max(SPACING_TOLERANCE * median, POSITION_TOLERANCE_MM)
    steps = np.rint(gaps / median)
    uneven = np.abs(gaps - median) > tolerance
    if not uneven.any():
        return
    if np.all(np.abs(gaps - steps * median) <= steps * tolerance):
        raise Unusable(
            f"{int((steps - 1).sum())} slices missing inside a series of {len(positions)}, "
            f"where the gap of {median:.2f} mm widens to {gaps.max():.2f} mm",
            expected,
            remedy,
        )
    raise Unusable(f"slice gaps from {gaps.min():.2f} to {gaps.max():.2f} mm", expected, remedy)
