"""Bias-field correction by named methods.

The field is multiplicative: measured image = true image x field. Correction
divides by the estimated field. Both count from the intensity of no signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import SimpleITK as sitk

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.field_settings import DEFAULT_FIELD, FieldSettings
from nnunet_spine.preprocessing.foreground import MINIMUM_SIDE, Samples, sample
from nnunet_spine.preprocessing.geometry import slice_axis
from nnunet_spine.preprocessing.intensity import FloatArray, finite_float32
from nnunet_spine.preprocessing.van_leemput import (
    FieldEstimate,
    StopReason,
    check_volume,
    estimate_field,
    no_field,
    strength_of,
)
from nnunet_spine.protocol import BiasMethod

N4_SHRINK = 4
"""In-plane shrink factor of N4's common quick setting (SimpleITK's example); slices are kept."""

N4_ITERATIONS = (50, 50, 50, 50)
"""Iterations per level: SimpleITK's default."""


@dataclass(frozen=True, eq=False)
class BiasCorrection:
    """A corrected image, the field that was divided out, and what is known of it.

    Parameters
    ----------
    image
        Corrected intensities, shape (z, y, x), float32. Where nothing was divided out, these are the given ones.
    field
        Multiplicative field of the same shape, above 0, float32; 1 everywhere where nothing was done.
    method
        That was asked for.
    zero
        Intensity that counts as no signal: 0, or the smallest where that is below 0. Measured intensities are
        (corrected - zero) x field + zero.
    strength
        95th over 5th percentile of the field in tissue.
    samples
        That the strength was taken from; None for the method `none` and a constant image.
    estimate
        What Van Leemput's method tells of its field; N4 tells nothing but the field.
    """

    image: FloatArray
    field: FloatArray
    method: BiasMethod
    zero: float = 0.0
    strength: float = 1.0
    samples: Samples | None = None
    estimate: FieldEstimate | None = None

    @property
    def is_identity(self) -> bool:
        """Whether nothing was divided out."""
        return bool((self.field == 1).all())


def correct_bias(
    array: FloatArray,
    spacing_mm: Sequence[float],
    method: BiasMethod,
    settings: FieldSettings = DEFAULT_FIELD,
) -> BiasCorrection:
    """Estimate the bias field of a volume and divide it out.

    Parameters
    ----------
    array
        Intensities, shape (z, y, x).
    spacing_mm
        Spacing (z, y, x), in mm.
    method
        `none` and constant images change nothing.
    settings
        Of `van_leemput`.

    Raises
    ------
    BadInput
        Where the image is not finite, too small on an axis for the method, or so near the end of float32 that the
        corrected image leaves it.
    """
    image = finite_float32(array)
    if method is BiasMethod.NONE:
        return BiasCorrection(image, np.ones_like(image), method)
    if image.min() == image.max():
        nothing = no_field(image, StopReason.CONSTANT)
        return BiasCorrection(image, nothing.field, method, estimate=nothing)
    check_volume(image, spacing_mm)
    zero = min(float(image.min()), 0.0)
    if method is BiasMethod.VAN_LEEMPUT:
        found = estimate_field(image, spacing_mm, **asdict(settings))
        corrected = _divided(image, found.field, zero) if found.order else image
        return BiasCorrection(corrected, found.field, method, zero, found.strength, found.samples, found)
    field = _n4_field(image - np.float32(zero), spacing_mm)
    samples = sample(image, spacing_mm, zero=zero)
    strength = strength_of(np.log(samples.in_tissue(field)))
    return BiasCorrection(_divided(image, field, zero), field, method, zero, strength, samples)


def _divided(image: FloatArray, field: FloatArray, zero: float) -> FloatArray:
    with np.errstate(over="ignore"):
        corrected = image / field if zero == 0 else (image - np.float32(zero)) / field + np.float32(zero)
    if not np.isfinite(corrected).all():
        raise BadInput(
            f"The image reaches {float(image.max()):.3g}, so near the end of float32 that its correction leaves it. "
            "Scale the image down."
        )
    return corrected


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
    across = slice_axis(image.shape, spacing_mm)
    factors = [1 if i == across else min(N4_SHRINK, max(1, n // (2 * MINIMUM_SIDE))) for i, n in enumerate(image.shape)]
    shrink = factors[::-1]
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetMaximumNumberOfIterations(N4_ITERATIONS)
    # More than one thread changes the order of sums, and with it the last bits.
    corrector.SetNumberOfThreads(1)
    corrector.Execute(sitk.Shrink(full, shrink), sitk.Shrink(mask, shrink))
    log_field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(full))
    field: FloatArray = np.exp(log_field).astype(np.float32)
    return field
