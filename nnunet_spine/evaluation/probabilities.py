"""Probabilities from files: CASE.npz, as nnU-Net saves them beside a segmentation."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.files import is_regular_file
from nnunet_spine.images import volume_stem

ENDING = ".npz"
KEY = "probabilities"
MOST_CLASSES = 1000


def probability_file(prediction: Path) -> Path | None:
    """The file of probabilities beside a segmentation, or None."""
    path = prediction.with_name(volume_stem(prediction) + ENDING)
    return path if is_regular_file(path) else None


def read_tumor_probability(path: Path, shape_zyx: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Probability of any label above 0 in each voxel.

    nnU-Net writes an array (classes, z, y, x) in the order of axes of the segmentation as SimpleITK reads it, its
    first class being background.

    Parameters
    ----------
    path
        CASE.npz.
    shape_zyx
        Shape of the segmentation beside it.

    Returns
    -------
    Array (z, y, x), 0 to 1.

    Raises
    ------
    BadInput
        Where it cannot be read, is of another shape, or holds what are no probabilities.
    """
    try:
        _check_header(path, shape_zyx)  # before memory is taken for what it claims
        with np.load(path, allow_pickle=False) as content:
            array = content[KEY]
    except BadInput:
        raise
    except _DAMAGED as error:
        raise BadInput(
            f"{path.name} is damaged: it cannot be read. Predict again with --save-probabilities."
        ) from error
    tumor: npt.NDArray[np.floating[Any]] = array[1] if len(array) == 2 else array[1:].sum(axis=0)
    if bad := int(np.count_nonzero(~np.isfinite(tumor))):
        raise BadInput(
            f"{path.name} holds {bad} values that are not finite (NaN or infinity). Predict again with "
            "--save-probabilities."
        )
    # Softmax sums to 1 up to rounding.
    if tumor.min() < 0 or tumor.max() > 1 + 1e-3:
        raise BadInput(f"{path.name} holds values outside 0 to 1. Expected probabilities after the softmax.")
    clipped: npt.NDArray[np.float32] = np.minimum(tumor, 1).astype(np.float32, copy=False)
    return clipped


_DAMAGED = (
    *(OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, RuntimeError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
)
"""What zipfile and numpy raise on a damaged file; RuntimeError also if it is encrypted or packed by another method."""


def _check_header(path: Path, shape_zyx: tuple[int, ...]) -> None:
    """Refuse a file whose header promises no probabilities of an image of this shape."""
    with zipfile.ZipFile(path) as pack:
        if f"{KEY}.npy" not in pack.namelist():
            raise BadInput(f"{path.name} holds no array `{KEY}`. Predict again with --save-probabilities.")
        with pack.open(f"{KEY}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(stream)
    if len(shape) != 4 or shape[0] < 2 or tuple(shape[1:]) != tuple(shape_zyx):
        raise BadInput(
            f"{path.name} holds an array of shape {shape}; expected (2 or more classes, "
            f"{', '.join(map(str, shape_zyx))}) (class, z, y, x). It belongs to another image."
        )
    if shape[0] > MOST_CLASSES:
        raise BadInput(f"{path.name} holds {shape[0]} classes; expected at most {MOST_CLASSES}.")
    if not np.issubdtype(kind, np.floating):
        raise BadInput(f"{path.name} holds values of the type {kind}; expected floating-point probabilities.")
