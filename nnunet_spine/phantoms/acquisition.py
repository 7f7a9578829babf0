"""The scanner: surface-coil field, noise of a magnitude image, stored integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnunet_spine.phantoms.fields import FloatArray, float32

StoredArray = npt.NDArray[np.integer[Any]]


def coil_field(
    depth_mm: FloatArray, z_mm: FloatArray, *, strength: float, falloff_mm: float, centre_mm: float, length_mm: float
) -> FloatArray:
    """Smooth sensitivity of a posterior surface coil, with geometric mean 1.

    The logarithm falls exponentially with depth under the coil, from `strength` to 0, and with the square of the
    distance from the coil's centre along z, by 0.5 at one standard length.

    Parameters
    ----------
    depth_mm
        Distance to the front of the coil's plane; any shape.
    z_mm
        Position along the coil, of a shape that broadcasts.
    strength, falloff_mm
        Log ratio between skin and infinite depth, and the depth of its fall to 1/e.
    centre_mm, length_mm
        Centre and standard length along z.
    """
    across = strength * np.exp(-np.clip(depth_mm, 0, None) / falloff_mm)
    along = -0.5 * ((z_mm - centre_mm) / length_mm) ** 2
    log_field = across + along
    return float32(np.exp(log_field - log_field.mean()))


def rician(signal: FloatArray, sigma: float, rng: np.random.Generator) -> FloatArray:
    """Magnitude of a complex signal with independent Gaussian noise in both channels.

    Parameters
    ----------
    signal
        Noise-free magnitude, any shape.
    sigma
        Standard deviation of each channel.
    rng
        Source of the noise.

    Source
    ------
    Gudbjartsson and Patz, The Rician distribution of noisy MRI data, MRM 34:910-914, 1995.
    """
    real, imaginary = rng.standard_normal((2, *signal.shape), dtype=np.float32) * np.float32(sigma)
    return float32(np.hypot(signal + real, imaginary))


def stored_values(signal: FloatArray, *, full_scale: float, bits_stored: int, signed: bool) -> StoredArray:
    """Integers as a scanner stores them, clipped to what the bits hold.

    Parameters
    ----------
    signal
        In units of fat.
    full_scale
        Stored value of fat.
    bits_stored, signed
        Kind of the integers.
    """
    largest = 2 ** (bits_stored - (1 if signed else 0)) - 1
    return np.asarray(np.clip(np.rint(signal * full_scale), 0, largest), np.int16 if signed else np.uint16)
