"""Intensity steps of the source deck: contrast by gamma, and scaling to a fixed range."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnunet_spine.errors import BadInput

FloatArray = npt.NDArray[np.float32]


def adjust_gamma(array: npt.NDArray[np.generic], gamma: float) -> FloatArray:
    """Adjust contrast: x' = ((x - min)/(max - min))^gamma * (max - min) + min.

    Parameters
    ----------
    array
        Finite intensities of any shape.
    gamma
        Exponent, above 0. Below 1 lifts the dark end of the scale; 1 changes nothing.

    Returns
    -------
    array
        float32, with the minimum and maximum of the input. A constant image comes back unchanged.

    Raises
    ------
    BadInput
        Where gamma is not above 0, or the image is empty or not finite.

    Source
    ------
    Source deck, preprocessing, step 1.
    """
    check_gamma(gamma)
    image = finite_float32(array)
    minimum, maximum = image.min(), image.max()
    if gamma == 1.0 or minimum == maximum:
        return image
    span = maximum - minimum
    adjusted: FloatArray = (image - minimum) / span
    np.power(adjusted, np.float32(gamma), out=adjusted)
    adjusted *= span
    adjusted += minimum
    return adjusted


def check_gamma(gamma: float) -> None:
    """Refuse an exponent that is not above 0.

    Raises
    ------
    BadInput
        Where it is 0, negative, infinite or no number.
    """
    if not np.isfinite(gamma) or gamma <= 0:
        raise BadInput(f"gamma is {gamma}; expected a number above 0 (1 switches the step off).")


def scale_intensity(array: npt.NDArray[np.generic], minimum: float = 0.0, maximum: float = 1.0) -> FloatArray:
    """Scale linearly so that the smallest value becomes `minimum` and the largest `maximum`.

    Parameters
    ----------
    array
        Finite intensities of any shape.
    minimum, maximum
        Range of the result.

    Returns
    -------
    array
        float32. A constant image becomes `minimum` everywhere.

    Raises
    ------
    BadInput
        Where the image is empty or not finite.

    Source
    ------
    Source deck, preprocessing, step 3: x' = (x - min)/(max - min).
    """
    image = finite_float32(array)
    lowest, highest = image.min(), image.max()
    if lowest == highest:
        return np.full(image.shape, minimum, np.float32)
    scaled: FloatArray = (image - lowest) / (highest - lowest)
    if (minimum, maximum) != (0.0, 1.0):
        scaled *= np.float32(maximum - minimum)
        scaled += np.float32(minimum)
    return scaled


def finite_float32(array: npt.NDArray[np.generic]) -> FloatArray:
    """`array` as float32, copied only where it is another type.

    Raises
    ------
    BadInput
        Where it is empty, has values that are not finite, or a range that float32 cannot hold.
    """
    image = np.asarray(array, dtype=np.float32)
    if image.size == 0:
        raise BadInput("The image has no voxels.")
    if not np.isfinite(image).all():
        count = int(np.count_nonzero(~np.isfinite(image)))
        raise BadInput(
            f"The image has {count} voxels that are not finite (NaN or infinite). Repair or leave out the case."
        )
    lowest, highest = float(image.min()), float(image.max())
    if highest - lowest > float(np.finfo(np.float32).max):
        raise BadInput(
            f"The image runs from {lowest:.3g} to {highest:.3g}, beyond what float32 can scale. "
            "Repair or leave out the case."
        )
    return image
