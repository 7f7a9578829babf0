"""A DICOM SEG as a mask on its own grid: highdicom decodes and stacks its frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import numpy.typing as npt
import pydicom

from nnunet_spine.dataset_conversion.mask_resampling import LATTICE_TOLERANCE
from nnunet_spine.dataset_conversion.pixel_claims import checked_pixels
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import Selection, structures_of, tumor_numbers
from nnunet_spine.dataset_conversion.slice_grid import check_numbers
from nnunet_spine.dataset_conversion.slice_pixels import DECODING_ERRORS
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

MOST_SLICES, MOST_VOXELS = 5000, 2e8
"""Frames may lie so far apart that the empty slices between them would fill any memory."""

SPACING_TOLERANCE = 0.01
"""Largest difference of a frame gap from the median gap, as a fraction of it."""

COSINE_TOLERANCE = 1e-4
"""Directions agree where the cosine between them is 1 within this."""

ROUNDING = 1e-6
"""A fraction this little below the wanted one has it."""


def read_segmentation(path: Path, grid: Geometry | None, selection: Selection) -> tuple[Volume, tuple[str, ...]]:
    """Read the tumor of a DICOM SEG: binary, fractional or a label map; slices without a frame are empty.

    Parameters
    ----------
    path
        The file.
    grid
        The image's. Where the frames lie on its slices, its spacing tells how thick they are: the file's own may be
        absent, and cannot be inferred where empty slices were left out.
    selection
        Which segments, and from which fraction on.

    Returns
    -------
    mask, notes
        Union of the segments as uint8, and what a user should know.

    Raises
    ------
    Unusable
        Where it cannot be read, or no segment is tumor.
    """
    try:
        dataset = checked_pixels(pydicom.dcmread(path))
        structures = structures_of(dataset)
        numbers = tumor_numbers(structures, selection, "a DICOM SEG of {} segments")
        if grid is not None:
            _set_slice_spacing(dataset, grid)
        mask = _union(highdicom.seg.Segmentation.from_dataset(dataset, copy=False), numbers, selection.fraction)
    except Unusable:
        raise
    except DECODING_ERRORS as failure:
        raise Unusable(
            f"the DICOM SEG cannot be read as a volume ({type(failure).__name__})",
            "parallel, evenly spaced frames",
            "Export the segmentation again, or as NIfTI",
        ) from failure
    count = len(structures)
    return mask, () if count == 1 else (f"{len(numbers)} of {count} segments of the reference are tumor and were used",)


def _union(segmentation: Any, numbers: Sequence[int], fraction: float) -> Volume:
    """Voxels (uint8) where any of the segments reaches the fraction of the Maximum Fractional Value."""
    tolerance = 2 * SPACING_TOLERANCE
    grid = segmentation.get_volume_geometry(rtol=tolerance)
    if grid is not None and (grid.spatial_shape[0] > MOST_SLICES or np.prod(grid.spatial_shape) > MOST_VOXELS):
        raise Unusable(
            f"a DICOM SEG over a grid of {' x '.join(map(str, grid.spatial_shape))} voxels",
            f"at most {MOST_SLICES} slices and {MOST_VOXELS:.0e} voxels",
            "Check the positions of its frames, or export it again",
        )
    stacked = segmentation.get_volume(
        segment_numbers=list(numbers), combine_segments=False, dtype=np.float64, rtol=tolerance
    )
    tumor = (np.asarray(stacked.array) >= fraction - ROUNDING).any(axis=-1).astype(np.uint8)
    return Volume.of(stacked.with_array(tumor).to_simpleitk())


def _set_slice_spacing(dataset: Any, grid: Geometry) -> None:
    """Give the frames the image's slice spacing where all of them lie on its slices and pixels."""
    shared = dataset.SharedFunctionalGroupsSequence[0]
    if "PixelMeasuresSequence" not in shared or "PlaneOrientationSequence" not in shared:
        return
    measures = shared.PixelMeasuresSequence[0]
    cosines = np.asarray(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=float).reshape(6)
    places = _positions(dataset)
    check_numbers(cosines[np.newaxis], places[:3].T)
    normal = np.cross(cosines[:3], cosines[3:])
    along = np.abs(np.reshape(grid.direction, (3, 3)).T @ normal)
    axis = int(np.argmax(along))
    in_plane = sorted(float(v) for i, v in enumerate(grid.spacing_xyz_mm) if i != axis)
    if along[axis] < 1 - COSINE_TOLERANCE or not np.allclose(
        sorted(map(float, measures.PixelSpacing)), in_plane, rtol=SPACING_TOLERANCE
    ):
        return
    index = np.linalg.inv(grid.affine_lps()) @ places
    if np.abs(index[:3] - np.rint(index[:3])).max() <= 10 * LATTICE_TOLERANCE:
        _write_spacing(measures, float(grid.spacing_xyz_mm[axis]), np.unique(np.rint(index[axis])))


def _positions(dataset: Any) -> npt.NDArray[np.float64]:
    """Homogeneous places of the frames' first voxels, shape (4, frames)."""
    frames = dataset.PerFrameFunctionalGroupsSequence
    places = [frame.PlanePositionSequence[0].ImagePositionPatient for frame in frames]
    return np.vstack([np.asarray(places, dtype=float).reshape(-1, 3).T, np.ones(len(places))])


def _write_spacing(measures: Any, slice_mm: float, slices: npt.NDArray[np.float64]) -> None:
    """Leave a spacing alone that is a multiple of the slices' and fits the frames: the SEG of a coarser series."""
    written = float(measures.get("SpacingBetweenSlices") or 0.0) / slice_mm
    step = round(written)
    if step > 1 and abs(written - step) <= LATTICE_TOLERANCE and not np.any((slices - slices[0]) % step):
        return
    measures.SpacingBetweenSlices = slice_mm
