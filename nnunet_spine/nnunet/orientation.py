"""In which order of axes a data set's images are stored: recorded when it is planned, asked for when a model predicts.

An orientation is three letters as `images.reorient` takes them: where x, y and z grow to. Neither torch nor nnU-Net is
imported here.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk

from nnunet_spine.cases import CHANNEL
from nnunet_spine.errors import BadInput
from nnunet_spine.grids import Geometry
from nnunet_spine.images import SAGITTAL_ORIENTATION, Volume, is_volume_file, reorient
from nnunet_spine.volume_headers import read_nifti_forms, read_volume_header, states_axes

PREPROCESSOR_NAME = "SpinePreprocessor"
"""Name of this package's preprocessor in plans."""

ORIENTATION_KEY = "spine_orientation"
"""Key of plans that holds the orientation of their data set."""

OBLIQUE_DEGREES = 1.0
"""An image that is oblique by so much more than those of training is warned of."""

_PAIRS = ("LR", "PA", "SI")
_UNIT = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
"""Directions by letter, LPS."""

ORIENTATIONS = frozenset(
    "".join(letters) for pairs in itertools.permutations(_PAIRS) for letters in itertools.product(*pairs)
)
"""All 48."""

_OF_READERS = {"NibabelIOWithReorient": "RAS", "SimpleITKIOWithReorient": "RAS"}
"""Readers of nnU-Net that turn images themselves, and to what."""


@dataclass(frozen=True)
class Orientation:
    """How the images of a data set are stored.

    Parameters
    ----------
    axes
        Three letters; None if nothing says what they are, in which case images are taken as they are stored.
    largest_angle_degrees
        Largest angle between an image's axes and the nearest axes of the body in training; None if not recorded.
    """

    axes: str | None
    largest_angle_degrees: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a plans file."""
        return {"axes": self.axes, "largest_angle_degrees": self.largest_angle_degrees}

    def is_too_oblique(self, angle_degrees: float) -> bool:
        """Whether an image is oblique beyond what training held."""
        known = self.largest_angle_degrees
        return known is not None and round(angle_degrees, 2) > known + OBLIQUE_DEGREES


def is_record(value: Any) -> bool:
    """Whether a value of plans is what `Orientation.as_json` gives."""
    if not isinstance(value, dict) or value.keys() != Orientation(None).as_json().keys():
        return False
    axes, angle = value.values()
    known = axes is None or (isinstance(axes, str) and axes in ORIENTATIONS)
    return known and (angle is None or (isinstance(angle, int | float) and 0 <= angle <= 90))


def recorded(plans: Mapping[str, Any]) -> Orientation | None:
    """What plans say of their data set's orientation; None if they say nothing."""
    if is_record(plans.get(ORIENTATION_KEY)):
        return Orientation(**plans[ORIENTATION_KEY])
    return None


def of_our_plans(plans: Mapping[str, Any]) -> Orientation:
    """Orientation of a data set by plans for this package's preprocessor.

    Those of version 0.1 record none: their data sets were converted, and so are sagittal.
    """
    by_reader = _OF_READERS.get(str(plans.get("image_reader_writer")), SAGITTAL_ORIENTATION)
    return recorded(plans) or Orientation(by_reader)


def of_plans(plans: Mapping[str, Any], configuration: Mapping[str, Any], images: Path) -> Orientation:
    """Orientation of the data set that plans were made for.

    Parameters
    ----------
    plans, configuration
        The plans, and the configuration in question.
    images
        Folder of the training images, which is looked at if the plans are nnU-Net's own; it may be missing.
    """
    if configuration["preprocessor_name"] == PREPROCESSOR_NAME:
        return of_our_plans(plans)
    known, by_reader = recorded(plans), _OF_READERS.get(str(plans.get("image_reader_writer")))
    if known is not None or by_reader is not None:
        return known or Orientation(by_reader)
    try:
        found = survey(sorted(images.glob(f"*{CHANNEL}.*"))) if images.is_dir() else Survey((), 0.0)
    except BadInput:  # an image that the model no longer needs
        return Orientation(None)
    # nnU-Net trains on images as they are stored: of several orders of axes, none is the data set's.
    return found.orientation if len(set(found.axes)) == 1 else Orientation(None)


def axes_of(geometry: Geometry) -> str:
    """The orientation that a grid is nearest to."""
    return _nearest(np.reshape(geometry.direction, (3, 3)))


def angle_degrees(geometry: Geometry) -> float:
    """Largest angle between an axis of a grid and the body's axis that it stands for, in degrees."""
    axes = np.reshape(geometry.direction, (3, 3)).T
    cosines = [float(np.dot(axis, _UNIT[letter])) for axis, letter in zip(axes, axes_of(geometry), strict=True)]
    return math.degrees(math.acos(min(1.0, *cosines)))


def turned(volume: Volume, axes: str | None) -> Volume:
    """The volume in an orientation; itself if it is stored so, or if no orientation is given."""
    return volume if axes in (None, axes_of(volume.geometry)) else reorient(volume, str(axes))


def check_stated(path: Path) -> None:
    """Check that a volume file says where its axes point, and in one way.

    Raises
    ------
    BadInput
        If it does not.
    """
    remedy = "Convert it from DICOM again, or set its orientation with a tool for its format."
    if not states_axes(path):
        raise BadInput(f"{path} does not say where its axes point, so it cannot be turned as the model needs. {remedy}")
    said = _forms(path) if path.name.lower().endswith((".nii", ".nii.gz")) else []
    if len(set(said)) > 1:
        raise BadInput(f"{path} has axes that point to {said[0]} by its sform and to {said[1]} by its qform. {remedy}")


def _forms(path: Path) -> list[str]:
    """The nearest orientations of a NIfTI by its sform and by its qform, as far as they are set."""
    forms = read_nifti_forms(path)
    return [_nearest(affine[:3, :3]) for affine in (forms.sform_lps, forms.qform_lps) if affine is not None]


def _nearest(columns: npt.NDArray[np.float64]) -> str:
    """The orientation that the columns of a matrix, LPS, are nearest to."""
    lengths = np.linalg.norm(columns, axis=0)
    if not lengths.all():
        return "nowhere"
    direction = (columns / lengths).ravel().tolist()
    axes: str = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(direction)
    return axes


@dataclass(frozen=True)
class Survey:
    """Orientations of the training images of a data set.

    Parameters
    ----------
    axes
        Of each image; None if it does not say.
    largest_angle_degrees
        Over all images, rounded to a hundredth.
    """

    axes: tuple[str | None, ...]
    largest_angle_degrees: float

    @property
    def orientation(self) -> Orientation:
        """What most images have, of equally many the sagittal one; none if an image does not say."""
        if None in self.axes or not self.axes:
            return Orientation(None, self.largest_angle_degrees)
        counts = Counter(str(axes) for axes in self.axes)
        most = max(counts, key=lambda axes: (counts[axes], axes == SAGITTAL_ORIENTATION, axes))
        return Orientation(most, self.largest_angle_degrees)

    @property
    def warning(self) -> str:
        """A sentence if not all images have one orientation; empty otherwise."""
        if len(set(self.axes)) == 1 and None not in self.axes:
            return ""
        chosen = self.orientation.axes
        what = f"The data set's orientation is {chosen}" if chosen else "The data set has no orientation"
        taken = "" if chosen else ". Images are taken as they are stored, and new ones cannot be turned to them"
        return f"{what}: {self.reason}{taken}."

    @property
    def reason(self) -> str:
        """Why `orientation` is what it is, in words."""
        chosen = self.orientation.axes
        if chosen is None:
            return f"{self.axes.count(None)} of {len(self.axes)} images do not say where their axes point"
        same = self.axes.count(chosen)
        others = "" if same == len(self.axes) else f"; the other {len(self.axes) - same} are turned to it"
        return f"the order of axes of {same} of {len(self.axes)} training images{others}"


def survey(images: Sequence[Path], reader: str = "") -> Survey:
    """Look at the headers of training images.

    Parameters
    ----------
    images
        Files; those that are no volumes are passed over.
    reader
        Name of nnU-Net's reader, which may turn images itself.

    Raises
    ------
    BadInput
        If one has no header that can be read, or axes that are not at right angles.
    """
    grids = [(path, stored_grid(path)) for path in images if is_volume_file(path)]
    axes = tuple(_OF_READERS.get(reader) or _stated_axes(path, grid) for path, grid in grids)
    angle = max((angle_degrees(grid) for _, grid in grids), default=0.0)
    return Survey(axes, round(angle, 2))


def _stated_axes(path: Path, grid: Geometry) -> str | None:
    if not states_axes(path):
        return None
    check_stated(path)
    return axes_of(grid)


def stored_grid(path: Path) -> Geometry:
    """Grid of a volume file by its header; `BadInput` if it has none that can be read."""
    try:
        return read_volume_header(path).geometry
    except (RuntimeError, OSError) as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(
            f"{path} cannot be read as a volume. The file may be damaged: copy or export it again."
        ) from error
