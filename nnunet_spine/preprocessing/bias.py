"""Bias-field correction by named methods.

The field is multiplicative: measured image = true image x field. Correction
divides by the estimated field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from nnunet_spine.preprocessing.intensity import FloatArray, finite_float32
from nnunet_spine.preprocessing.van_leemput import MINIMUM_SIDE, check_volume, estimate_field
from nnunet_spine.protocol import BiasMethod

N4_SHRINK = 4
"""In-plane shrink factor of N4's common quick setting (SimpleITK's example); slices are kept."""

N4_ITERATIONS = (50, 50, 50, 50)
"""Iterations per level: SimpleITK's default."""


@dataclass(frozen=True, eq=False)
class BiasCorrection:
    """A corrected image and the field that was divided out.

    Parameters
    ----------
    image
        Corrected intensities, shape (z, y, x), float32.
    field
        Multiplicative field of the same shape, above 0, float32; 1 everywhere where nothing was done.
    """

    image: FloatArray
    field: FloatArray


def correct_bias(array: FloatArray, spacing_mm: Sequence[float], method: BiasMethod) -> BiasCorrection:
    """Estimate the bias field of a volume and divide it out.

    Parameters
    ----------
    array
        Intensities, shape (z, y, x).
    spacing_mm
        Spacing (z, y, x), in mm.
    method
        `none` and constant images change nothing.

    Raises
    ------
    BadInput
        Where the image is not finite, or too small on an axis for the method.
    """
    image = finite_float32(array)
    if method is BiasMethod.NONE or image.min() == image.max():
        return BiasCorrection(image, np.ones_like(image))
    check_volume(image, spacing_mm)
    if method is BiasMethod.VAN_LEEMPUT:
        field = estimate_field(image, spacing_mm).field
    else:
        field = _n4_field(image - min(image.min(), np.float32(0)), spacing_mm)
    return BiasCorrection(image / field, field)


def _n4_field(image: FloatArray, spacing_mm: Sequence[float]) -> FloatArray:
    """Field by N4 on a shrunken copy inside Otsu's mask, evaluated on the full grid.

    Source: Tustison et al., "N4ITK: improved N3 bias correction", IEEE TMI 29(6):1310-1320, 2010.
    """
    full = sitk.GetImageFromArray(image)
    full.SetSpacing([float(s) for s in reversed(spacing_mm)])
    # Inside the mask only; N4 works on logarithms, so voxels at 0 must stay out.
    mask = sitk.And(
        sitk.OtsuThreshold(full, 0, 1, 200), sitk.BinaryThreshold(full, lowerThreshold=1e-6, upperThreshold=1e38)
    )
    shrink = [min(N4_SHRINK, max(1, n // (2 * MINIMUM_SIDE))) for n in image.shape[:0:-1]] + [1]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(N4_ITERATIONS)
    # More than one thread changes the order of sums, and with it the last bits.
    corrector.SetNumberOfThreads(1)
    corrector.Execute(sitk.Shrink(full, shrink), sitk.Shrink(mask, shrink))
    log_field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full))
    field: FloatArray = np.exp(log_field).astype(np.float32)
    return field
