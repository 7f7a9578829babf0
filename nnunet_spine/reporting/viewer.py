"""The volumes of a case for the interactive viewer: cropped, as NIfTI in a script, since a page from disk cannot fetch.

Voxels keep their size, their place in space and their order. Masks are exact; the image's intensities are rounded to
256 levels, with the scale in the NIfTI header.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from nnunet_spine.grids import Geometry
from nnunet_spine.reporting import panels
from nnunet_spine.reporting.case_volumes import CaseVolumes
from nnunet_spine.reporting.overlays import model_name

ANNOTATION_COLOUR = "#56b4e9"
PREDICTION_COLOURS = ("#ffb000", "#cc79a7", "#009e73", "#f0e442", "#d55e00", "#0072b2")
"""Of the Okabe-Ito palette but for the first, which is the contours'."""

MOST_VOXELS = 6_000_000
"""Of the crop: bounds a case's file to about 8 MB."""

SLICE_MARGINS_MM = (40.0, 20.0, 10.0, 0.0)
LEVELS = 256
_BRIGHTEST_PERCENTILE = 99.9


Crop = tuple[slice, slice, slice]
"""Part of an array (z, y, x)."""


@dataclass(frozen=True)
class Layer:
    """A volume of the viewer: its name, its colour ("" for the image), its NIfTI file."""

    label: str
    colour: str
    nifti: bytes


@dataclass(frozen=True)
class ViewerContent:
    """What the viewer shows of a case.

    Parameters
    ----------
    layers
        The image, the annotation, the predictions.
    window
        Intensities shown black and white.
    position_mm
        Where it opens, in RAS.
    first_slice, last_slice, slices
        Sagittal slices of the crop, counted from 1, and of the whole image.
    left_is_last
        Whether slices are counted from the patient's right to the left.
    caption
        What was cropped and rounded.
    """

    layers: tuple[Layer, ...]
    window: tuple[float, float]
    position_mm: tuple[float, float, float]
    first_slice: int
    last_slice: int
    slices: int
    left_is_last: bool
    caption: str


def viewer_content(volumes: CaseVolumes) -> ViewerContent | str:
    """What the viewer shows of a case, or why it cannot."""
    geometry = volumes.image.geometry
    crop = _crop(volumes)
    if isinstance(crop, str):
        return crop
    z, y, x = crop
    affine = _affine_ras(geometry, (x.start, y.start, z.start))
    levels, slope, inter = _rounded(volumes.image.array[crop])
    _, height, width = np.multiply([part.stop - part.start for part in crop], geometry.spacing_zyx_mm)
    return ViewerContent(
        layers=(Layer("Image", "", _nifti(levels, affine, slope, inter)), *_masks(volumes, crop, affine)),
        window=panels.grey_range(volumes.image.array),
        position_mm=_centre_of_tumor(volumes),
        first_slice=z.start + 1,
        last_slice=z.stop,
        slices=geometry.shape_zyx[0],
        left_is_last=geometry.direction[2] > 0,
        caption=f"Cropped to {height:.0f} x {width:.0f} mm and slices {z.start + 1} to {z.stop} of "
        f"{geometry.shape_zyx[0]}. Voxels are not resampled; the image's intensities are rounded to {LEVELS} levels, "
        "and its brightest thousandth is clipped. Masks are exact.",
    )


def viewer_script(content: ViewerContent) -> str:
    """Content as a script that a page from disk can load; equal content gives an equal script."""
    layers = [
        {"label": x.label, "colour": x.colour, "base64": base64.b64encode(x.nifti).decode("ascii")}
        for x in content.layers
    ]
    values: dict[str, Any] = {
        "layers": layers,
        "window": [round(value, 3) for value in content.window],
        "positionMm": [round(value, 2) for value in content.position_mm],
        "firstSlice": content.first_slice,
        "lastSlice": content.last_slice,
        "slices": content.slices,
        "leftIsLast": content.left_is_last,
    }
    return f"window.spineCase = {json.dumps(values, separators=(',', ':'))};\n"


def viewer_files() -> dict[str, bytes]:
    """NiiVue, its licences, and our script, by file name."""
    package = resources.files("nnunet_spine.reporting")
    files = {name: package / "vendor" / name for name in ("niivue.umd.js", "niivue.LICENSE.txt", "niivue.json")}
    return {name: file.read_bytes() for name, file in (*files.items(), ("viewer.js", package / "templates/viewer.js"))}


def _crop(volumes: CaseVolumes) -> Crop | str:
    """Part around all masks, as large as `MOST_VOXELS` allows; why there is none."""
    shape = volumes.image.geometry.shape_zyx
    window = panels.window_around(volumes.masks, shape[1:], volumes.spacing_yx_mm)
    y, x = slice(window.y_start, window.y_stop), slice(window.x_start, window.x_stop)
    seen = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in volumes.masks], axis=0))
    voxels = 0
    for margin_mm in SLICE_MARGINS_MM:
        margin = round(margin_mm / volumes.image.geometry.spacing_zyx_mm[0])
        z = slice(max(0, int(seen[0]) - margin), min(shape[0], int(seen[-1]) + 1 + margin))
        voxels = (z.stop - z.start) * (y.stop - y.start) * (x.stop - x.start)
        if voxels <= MOST_VOXELS:
            return z, y, x
    return f"{voxels / 1e6:.1f} million voxels around the tumor are more than the {MOST_VOXELS / 1e6:g} that it takes."


def _masks(volumes: CaseVolumes, crop: Crop, affine_ras: npt.NDArray[np.float64]) -> list[Layer]:
    """The annotation and the predictions that there are."""
    found = [("Annotation", volumes.reference, ANNOTATION_COLOUR)]
    for place, (key, mask) in enumerate(volumes.predictions.items()):
        found.append((model_name(volumes.results, key), mask, PREDICTION_COLOURS[place % len(PREDICTION_COLOURS)]))
    return [Layer(label, colour, _nifti(mask[crop], affine_ras)) for label, mask, colour in found if mask is not None]


def _affine_ras(geometry: Geometry, start_xyz: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """4x4 matrix from index (x, y, z, 1) of the crop to RAS in mm, as NIfTI has it."""
    affine = geometry.affine_lps()
    affine[:3, 3] += affine[:3, :3] @ np.asarray(start_xyz)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def _rounded(array: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], float, float]:
    """Intensities as levels, and slope and intercept that give them back; the brightest thousandth is clipped."""
    low = float(array.min())
    high = max(float(np.percentile(array, _BRIGHTEST_PERCENTILE)), panels.grey_range(array)[1])
    slope = (high - low) / (LEVELS - 1) or 1.0
    levels = np.clip(np.rint((array.astype(np.float32) - low) / slope), 0, LEVELS - 1)
    return levels.astype(np.uint8), slope, low


def _nifti(
    array: npt.NDArray[Any], affine_ras: npt.NDArray[np.float64], slope: float = 1.0, inter: float = 0.0
) -> bytes:
    """Compressed NIfTI-1 file of an array (z, y, x) of 8-bit voxels; equal input gives equal bytes."""
    header = nib.nifti1.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(array.shape[::-1])
    header.set_qform(affine_ras, 1)
    header.set_sform(affine_ras, 1)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, inter
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(4) + np.ascontiguousarray(array, dtype=np.uint8).tobytes()
    return gzip.compress(content, 9, mtime=0)


def _centre_of_tumor(volumes: CaseVolumes) -> tuple[float, float, float]:
    """A point of the largest slice of the annotation, or else of a prediction, in RAS in mm."""
    mask = next(mask for mask in volumes.masks if mask.any())
    z = panels.largest_slice(mask) or 0
    y, x = np.argwhere(mask[z]).mean(axis=0)
    place = _affine_ras(volumes.image.geometry, (0, 0, 0)) @ (x, y, z, 1.0)
    return float(place[0]), float(place[1]), float(place[2])
