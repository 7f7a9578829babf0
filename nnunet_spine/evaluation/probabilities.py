"""Probabilities from files: CASE.npz, as nnU-Net saves them beside a segmentation."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput
from nnunet_spine.images import volume_stem

ENDING = ".npz"
KEY = "probabilities"


def probability_file(prediction: Path) -> Path | None:
    """The file of probabilities beside a segmentation, or None."""
    path = prediction.with_name(volume_stem(prediction) + ENDING)
    return path if path.is_file() else None


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
        with np.load(path, allow_pickle=False) as content:
            array = content[KEY]
    except KeyError as error:
        raise BadInput(f"{path.name} holds no array `{KEY}`. Predict again with --save-probabilities.") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadInput(
            f"{path.name} is damaged: it cannot be read. Predict again with --save-probabilities."
        ) from error
    if array.ndim != 4 or array.shape[0] < 2 or array.shape[1:] != tuple(shape_zyx):
        raise BadInput(
            f"{path.name} holds an array of shape {array.shape}; expected (2 or more classes, "
            f"{', '.join(map(str, shape_zyx))}) (class, z, y, x). It belongs to another image."
        )
    tumor: npt.NDArray[np.float32] = array[1] if len(array) == 2 else array[1:].sum(axis=0)
    # Softmax sums to 1 up to rounding.
    if not (tumor.min() >= 0 and tumor.max() <= 1 + 1e-3):
        raise BadInput(f"{path.name} holds values outside 0 to 1. Expected probabilities after the softmax.")
    return np.minimum(tumor, 1).astype(np.float32, copy=False)
