"""Whether the slices of a series make one evenly spaced stack, by their headers alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_headers import HEADER_ERRORS, numbers_of, read_header
from nnunet_spine.dataset_conversion.frame_headers import frame_headers
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.series_parts import ORIENTATION_TOLERANCE, POSITION_TOLERANCE_MM

SPACING_TOLERANCE = 0.01
"""Largest difference of a slice gap from the median gap, as a fraction of it."""

MINIMUM_SLICES = 3

FARTHEST_MM = 1e4
"""Larger coordinates lie outside any scanner."""

RIGHT_ANGLE_TOLERANCE = 1e-2
"""Largest difference of the products of row and column direction from those of unit vectors at right angles."""


def check_headers(files: Sequence[Path], frames: Sequence[Sequence[int]] = ()) -> None:
    """Check the stack of a series without reading its pixels; the parameters and errors are those of `read_series`."""
    headers = []
    try:
        for index, path in enumerate(files):
            header = read_header(path)
            by_frame = dict(frame_headers(header)) if frames else {}
            headers += [by_frame[number] for number in frames[index]] if frames else [header]
    except (InvalidDicomError, *HEADER_ERRORS):
        headers = []
    orientations = [numbers_of(header, "ImageOrientationPatient", 6) for header in headers]
    positions = [numbers_of(header, "ImagePositionPatient", 3) for header in headers]
    if not headers or None in orientations or None in positions:
        raise Unusable(
            "the header of a slice cannot be read", "an orientation and a position in every slice", "Export it again"
        )
    check_stack(np.array(orientations, dtype=float), np.array(positions, dtype=float))


def check_numbers(orientations: npt.NDArray[np.float64], positions: npt.NDArray[np.float64]) -> None:
    """Check that directions are two unit vectors at right angles, and that places are in a scanner.

    The parameters are those of `check_stack`; `Unusable` where they are not.
    """
    remedy = "Export the series again"
    if not (np.abs(positions) <= FARTHEST_MM).all():
        raise Unusable("a position that is not in a scanner", f"coordinates within {FARTHEST_MM:.0f} mm", remedy)
    vectors = np.where(np.isfinite(orientations), orientations, 0.0).clip(-2.0, 2.0).reshape(-1, 2, 3)
    products = vectors @ vectors.transpose(0, 2, 1)
    if np.abs(products - np.eye(2)).max() > RIGHT_ANGLE_TOLERANCE:
        raise Unusable("an orientation that is none", "two unit vectors at right angles", remedy)


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
    check_numbers(orientations, positions)
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
