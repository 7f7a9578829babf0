"""A DICOM SEG as a mask on its own grid: `segmentation_frames` says what its frames are, this module stacks them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.errors import InvalidDicomError

from nnunet_spine.dataset_conversion.dicom_files import open_dataset
from nnunet_spine.dataset_conversion.pixel_claims import checked_pixels
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import (
    NO_CLAIM,
    Claim,
    Parts,
    Selection,
    choose,
    structures_of,
    unnamed_notes,
)
from nnunet_spine.dataset_conversion.segmentation_frames import (
    Frame,
    frames_of,
    tumor_pixels,
    undescribed_segments,
)
from nnunet_spine.dataset_conversion.slice_grid import check_numbers
from nnunet_spine.dataset_conversion.slice_pixels import DECODING_ERRORS
from nnunet_spine.grids import MOST_MOVED_VOXELS, Geometry
from nnunet_spine.images import Volume

SEGMENTATION = Parts("a DICOM SEG", "segment")

MOST_SLICES, MOST_VOXELS = 5000, 2e8
"""Frames may lie so far apart that the empty slices between them would fill any memory."""

COSINE_TOLERANCE = 1e-4
"""Directions agree if the cosine between them is 1 within this."""

ON_SLICE = 0.2
"""A frame lies on a slice if its distance from it is no larger share of the distance of slices."""

SAME_PLANE_MM = 0.01

MOST_OF_THICKNESS = 2.0
"""Slices are at most this many times their thickness apart; frames farther apart have empty slices between them."""


def read_segmentation(
    path: Path, grid: Geometry | None, selection: Selection, claim: Claim = NO_CLAIM
) -> tuple[Volume, tuple[str, ...]]:
    """Read the tumor of a DICOM SEG: binary, fractional or a label map; slices without a frame are empty.

    Parameters
    ----------
    path
        The file.
    grid
        The image's. If the frames lie on its slices, their thickness is its spacing: the file's own may be
        missing, and cannot be inferred if empty slices were left out. `_is_coarser` has the exception.
    selection, claim
        Which segments, and from which fraction on; what the source says of the file.

    Returns
    -------
    mask, notes
        Union of the segments as uint8, and what a user should know.

    Raises
    ------
    Unusable
        If it cannot be read, or nothing says which segment is tumor.
    """
    try:
        dataset = checked_pixels(open_dataset(path))
        structures = structures_of(dataset)
        numbers = choose(structures, selection, SEGMENTATION, claim).numbers
        described = [one.number for one in structures]
        frames = frames_of(dataset, described, numbers)
        stack = _Stack(frames, (int(dataset.Rows), int(dataset.Columns)), grid)
        mask = np.zeros((stack.slices, *stack.shape), np.uint8)
        values = Counter[int]()
        pixels_of_frames = tumor_pixels(dataset, frames, numbers, selection.fraction, values)
        for frame, pixels in zip(frames, pixels_of_frames, strict=True):
            mask[stack.slice_of(frame)] |= pixels
        unnamed = (
            *unnamed_notes({n: voxels for n, voxels in values.items() if n not in (0, *described)}, "values", "voxel"),
            *unnamed_notes(undescribed_segments(dataset, described), "segments", "frame"),
        )
    except Unusable:
        raise
    except InvalidDicomError as failure:
        raise Unusable(
            "the reference cannot be read: it is neither a volume nor DICOM",
            "a DICOM SEG, an RTSTRUCT, NIfTI, NRRD or MHA",
            "Export it again",
        ) from failure
    except DECODING_ERRORS as failure:
        raise Unusable(
            "the DICOM SEG cannot be decoded: it is damaged, or in an encoding that is not read",
            "a segmentation that a viewer shows",
            "Export the segmentation again, or as NIfTI",
        ) from failure
    count = len(structures)
    notes = () if count == 1 else (f"{len(numbers)} of {count} segments of the reference are tumor and were used",)
    return Volume(mask, stack.geometry), (*notes, *unnamed, *stack.notes)


class _Stack:
    """The grid of parallel frames of one size; it has a slice at every place between the first and the last."""

    def __init__(self, frames: Sequence[Frame], shape: tuple[int, int], image: Geometry | None) -> None:
        positions = np.array([frame.position for frame in frames])
        orientations = np.array([frame.cosines for frame in frames])
        check_numbers(orientations, positions)
        self.shape = shape
        self._pixel = _one_size(np.array([frame.spacing for frame in frames]), shape)
        self._axes = _one_orientation(orientations, float(self._pixel @ shape), float(self._pixel.min()))
        places = positions @ self._axes.T  # along rows, along columns, across
        shift = float(np.abs(places[:, :2] - np.median(places[:, :2], axis=0)).max())
        if shift > MOST_MOVED_VOXELS * self._pixel.min():
            raise Unusable(
                f"a DICOM SEG whose frames are shifted within their plane, by up to {shift:.2f} mm",
                "frames one above the other",
                "Export it again",
            )
        across = np.unique(np.round(places[:, 2], 4))
        of_image = _image_step(across, self._axes[2], image)
        self._step = _slice_step(across, frames[0], of_image)
        self.notes = (_coarser_note(self._step, of_image),) if of_image and self._step != of_image else ()
        first = places[:, 2].min()
        steps = np.rint((places[:, 2] - first) / self._step)
        first += float(np.median(places[:, 2] - first - steps * self._step))
        self._origin = np.array([*np.median(places[:, :2], axis=0), first])
        self.slices = int(steps.max()) + 1
        if self.slices > MOST_SLICES or self.slices * np.prod(shape, dtype=float) > MOST_VOXELS:
            raise Unusable(
                f"a DICOM SEG over a grid of {self.slices} x {shape[0]} x {shape[1]} voxels",
                f"at most {MOST_SLICES} slices and {MOST_VOXELS:.0e} voxels",
                "Check the positions of its frames, or export it again",
            )

    def slice_of(self, frame: Frame) -> int:
        """Number of the slice that a frame is."""
        return round((float(frame.position @ self._axes[2]) - float(self._origin[2])) / self._step)

    @property
    def geometry(self) -> Geometry:
        """The grid; x runs along rows, z across the frames."""
        row_mm, column_mm = (float(v) for v in self._pixel)
        x, y, z = (float(v) for v in self._origin @ self._axes)
        size = (self.shape[1], self.shape[0], self.slices)
        return Geometry(size, (column_mm, row_mm, self._step), (x, y, z), tuple(map(float, self._axes.T.ravel())))


def _one_size(spacings: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Distance of rows and of columns in mm, of frames that agree."""
    pixel: npt.NDArray[np.float64] = np.median(spacings, axis=0)
    if not (pixel.min() > 0 and (np.abs(spacings - pixel) * shape).max() <= MOST_MOVED_VOXELS * pixel.min()):
        raise Unusable(
            "a DICOM SEG whose pixels have no size, or another one in each frame",
            "one Pixel Spacing in mm",
            "Export it again",
        )
    return pixel


def _one_orientation(
    orientations: npt.NDArray[np.float64], extent_mm: float, pixel_mm: float
) -> npt.NDArray[np.float64]:
    """Unit vectors along rows, along columns and across, one a row of the result, of frames that agree."""
    mean = orientations.mean(axis=0).reshape(2, 3)
    left, _, right = np.linalg.svd(mean, full_matrices=False)
    along: npt.NDArray[np.float64] = left @ right
    moved_mm = float(np.abs(orientations - along.ravel()).max()) * extent_mm
    if moved_mm > MOST_MOVED_VOXELS * pixel_mm:
        raise Unusable(
            f"a DICOM SEG with frames of different orientations, which place a corner up to {moved_mm:.2f} mm apart",
            "parallel frames",
            "Export the segmentation again, or as NIfTI",
        )
    return np.vstack([along, np.cross(along[0], along[1])])


def _slice_step(across: npt.NDArray[np.float64], frame: Frame, of_image: float) -> float:
    """Distance of slices in mm.

    Parameters
    ----------
    across
        Places of the frames across their planes, sorted.
    frame
        One of them, for what the file says of thickness and distance.
    of_image
        Distance of the image's slices if all frames lie on them, else 0.

    Raises
    ------
    Unusable
        If nothing says it, or the frames do not fit it.
    """
    gaps = np.diff(across)
    gaps = gaps[gaps > SAME_PLANE_MM]
    if of_image:
        return frame.between_mm if _is_coarser(frame, gaps, of_image) else of_image
    if not len(gaps):
        if frame.between_mm or frame.thickness_mm:
            return frame.between_mm or frame.thickness_mm
        raise Unusable(
            "a DICOM SEG of one frame that is on no slice of the image, and has no slice thickness",
            "Slice Thickness, or a frame on a slice of the image",
            "Export it again with the image that it was drawn on, or as NIfTI",
        )
    smallest = float(gaps.min())
    extent = float(across[-1] - across[0])
    usual = extent / float(np.rint(extent / np.median(gaps[gaps < 1.5 * smallest])))  # of all gaps: they are rounded
    is_usual_credible = usual <= MOST_OF_THICKNESS * frame.thickness_mm if frame.thickness_mm else len(gaps) > 1
    for step in (frame.between_mm, usual if is_usual_credible else 0.0, frame.thickness_mm):
        if step and _fit(gaps, step):
            return step
    raise Unusable(
        f"a DICOM SEG whose frames are {smallest:.2f} to {gaps.max():.2f} mm apart, and on no slices of the image",
        "evenly spaced frames, or Spacing Between Slices",
        "Export it again with the image that it was drawn on, or as NIfTI",
    )


def _is_coarser(frame: Frame, gaps: npt.NDArray[np.float64], of_image: float) -> bool:
    """Whether frames on slices of the image were drawn on thicker ones, of which each covers several of the image's.

    Writers set Spacing Between Slices by the gaps that empty slices leave, so thickness and places have to agree.
    """
    ratio = round(frame.between_mm / of_image)
    is_multiple = ratio > 1 and abs(frame.between_mm / of_image - ratio) <= ON_SLICE / 10
    return (
        is_multiple
        and abs(frame.thickness_mm - frame.between_mm) <= ON_SLICE * frame.between_mm
        and len(gaps) > 0
        and _fit(gaps, frame.between_mm)
    )


def _coarser_note(step: float, of_image: float) -> str:
    return (
        f"the slices of the DICOM SEG are {step:.2f} mm apart by its header, {step / of_image:.0f} times those of the "
        "image; each was taken as that thick"
    )


def _fit(gaps: npt.NDArray[np.float64], step: float) -> bool:
    """Whether gaps are whole multiples of a step."""
    whole = np.rint(gaps / step)
    return bool((whole >= 1).all() and (np.abs(gaps / step - whole) <= ON_SLICE / 10 * whole).all())


def _image_step(across: npt.NDArray[np.float64], normal: npt.NDArray[np.float64], image: Geometry | None) -> float:
    """Distance of the image's slices in mm if all frames lie on them, else 0."""
    if image is None:
        return 0.0
    along = np.reshape(image.direction, (3, 3)).T @ normal
    axis = int(np.argmax(np.abs(along)))
    if abs(along[axis]) < 1 - COSINE_TOLERANCE:
        return 0.0
    step = float(image.spacing_xyz_mm[axis])
    index = (across - float(np.asarray(image.origin_xyz_mm) @ normal)) / step
    return step if np.abs(index - np.rint(index)).max() <= ON_SLICE else 0.0
