"""Images in the order of axes of their data set, whatever order they are stored in; segmentations on their own grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_spine.errors import GeometryMismatch
from nnunet_spine.grids import Geometry, difference
from nnunet_spine.images import SUFFIXES, Volume, read_volume, reorient, whole_file
from nnunet_spine.nnunet.orientation import axes_of, check_stated, turned

Array = npt.NDArray[Any]
Properties = dict[str, Any]

STORED_KEY = "spine_stored_grid"
"""Among nnU-Net's notes on a case: spacing, origin and direction of the stored image, if it was turned."""


class SpineImageIO(SimpleITKIO):
    """nnU-Net's reader of NIfTI, NRRD and MHA, except that it turns images to one orientation and refuses damaged ones.

    What nnU-Net notes of an image, `sitk_stuff`, describes the array that it is given: probabilities and ensembles of
    nnU-Net's are in that order of axes. Segmentations are turned back.

    Parameters
    ----------
    axes
        The orientation, as `images.reorient` takes it; None leaves images as they are stored.
    """

    supported_file_endings: ClassVar[list[str]] = list(SUFFIXES)

    def __init__(self, axes: str | None = None) -> None:
        super().__init__()
        self.axes = axes

    def read_images(self, image_fnames: Sequence[str]) -> tuple[Array, Properties]:
        """Read the channels of a case.

        Returns
        -------
        array, properties
            float32, shape (channel, z, y, x), and nnU-Net's notes.

        Raises
        ------
        NotFound, BadInput
            As for `images.read_volume`; `BadInput` also if an image that may have to be turned does not say where its
            axes point.
        GeometryMismatch
            If the channels are not on one grid.
        """
        array, properties = self._read(image_fnames)
        if self.axes is not None:
            for name in image_fnames:
                check_stated(Path(name))
        return array, properties

    def read_seg(self, seg_fname: str) -> tuple[Array, Properties]:
        """Read a segmentation as an image of one channel."""
        return self._read((seg_fname,))

    def _read(self, image_fnames: Sequence[str]) -> tuple[Array, Properties]:
        volumes = [read_volume(Path(name)) for name in image_fnames]
        stored = volumes[0].geometry
        for name, volume in zip(image_fnames, volumes, strict=True):
            if not stored.same_grid(volume.geometry):
                raise GeometryMismatch(
                    f"{name} is not on the grid of {Path(image_fnames[0]).name}: "
                    f"{difference(volume.geometry, stored)}. Resample one to the grid of the other."
                )
        volumes = [turned(volume, self.axes) for volume in volumes]
        grid = volumes[0].geometry
        properties: Properties = {"sitk_stuff": _noted(grid), "spacing": list(np.abs(grid.spacing_zyx_mm))}
        if grid is not stored:
            properties[STORED_KEY] = _noted(stored)
        return np.stack([volume.array.astype(np.float32) for volume in volumes]), properties

    def write_seg(self, seg: Array, output_fname: str, properties: Properties) -> None:
        """Write a segmentation, shape (z, y, x), on the grid of the stored image.

        Raises
        ------
        OSError
            If the file is not written to its end.
        """
        if STORED_KEY in properties:
            seg = as_stored(seg, properties)
            properties = {**properties, "sitk_stuff": properties[STORED_KEY]}
        with whole_file(Path(output_fname)):
            super().write_seg(seg, output_fname, properties)


def as_stored(array: Array, properties: Properties) -> Array:
    """An array (z, y, x) or (class, z, y, x) of a case, in the order of axes of the stored image.

    Parameters
    ----------
    array
        In the order of axes that `SpineImageIO.read_images` gave.
    properties
        The notes that it gave.
    """
    if STORED_KEY not in properties:
        return array
    if array.ndim == 4:
        return np.stack([as_stored(one, properties) for one in array])
    stored = axes_of(_grid(array, properties[STORED_KEY]))
    return reorient(Volume(array, _grid(array, properties["sitk_stuff"])), stored).array


def check_one_grid(image: Array, properties: Properties, reference: Array, drawn: Properties) -> None:
    """Check that an image and its reference, as `SpineImageIO` gave them, are on one grid.

    Raises
    ------
    GeometryMismatch
        If they are not.
    """
    one, other = _grid(reference[0], drawn["sitk_stuff"]), _grid(image[0], properties["sitk_stuff"])
    if not one.same_grid(other):
        raise GeometryMismatch(
            f"the reference is not on the grid of the image: {difference(one, other)}. Convert the case again with "
            "`nnunet-spine convert`, or resample the reference to the image."
        )


def _noted(grid: Geometry) -> dict[str, Any]:
    return {"spacing": grid.spacing_xyz_mm, "origin": grid.origin_xyz_mm, "direction": grid.direction}


def _grid(array: Array, noted: dict[str, Any]) -> Geometry:
    z, y, x = array.shape
    return Geometry((x, y, z), noted["spacing"], noted["origin"], noted["direction"])
