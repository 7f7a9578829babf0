"""The intensity steps in the documented order, with their settings as data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.bias import correct_bias
from nnunet_spine.preprocessing.field_settings import DEFAULT_FIELD, FieldSettings
from nnunet_spine.preprocessing.intensity import FloatArray, adjust_gamma, check_gamma, scale_intensity
from nnunet_spine.protocol import PROTOCOL, BiasMethod

SETTINGS_KEY = "spine_preprocessing"
"""Key in a plans file's configuration that holds the intensity settings."""


@dataclass(frozen=True)
class IntensitySettings:
    """What the intensity steps are to do.

    Parameters
    ----------
    gamma, bias_method, scale_minimum, scale_maximum
        Values of `Protocol` by these names.
    bias_field
        How `van_leemput` estimates the field; the planner chooses it for the data set.

    Raises
    ------
    BadInput
        Where gamma is not above 0, or the range is empty.
    """

    gamma: float = PROTOCOL.gamma
    bias_method: BiasMethod = PROTOCOL.bias_method
    scale_minimum: float = PROTOCOL.scale_minimum
    scale_maximum: float = PROTOCOL.scale_maximum
    bias_field: FieldSettings = DEFAULT_FIELD

    def __post_init__(self) -> None:
        check_gamma(self.gamma)
        if not -math.inf < self.scale_minimum < self.scale_maximum < math.inf:
            raise BadInput(f"The range to scale to is {self.scale_minimum} to {self.scale_maximum}; it must grow.")

    def protocol_values(self) -> dict[str, Any]:
        """The values that `Protocol` has too, by its names."""
        return {
            "gamma": self.gamma,
            "bias_method": self.bias_method,
            "scale_minimum": self.scale_minimum,
            "scale_maximum": self.scale_maximum,
        }

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a plans file."""
        return {**self.protocol_values(), "bias_field": self.bias_field.as_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> IntensitySettings:
        """Settings from a plans file.

        Raises
        ------
        BadInput
            Where a name is unknown, the method is none of ours, or a value makes no sense; and where plans of an
            earlier version ask for `van_leemput` without saying how the field is to be estimated.
        """
        try:
            method = BiasMethod(values["bias_method"])
            return cls(**{**values, "bias_method": method, "bias_field": _field_settings(values, method)})
        except (TypeError, KeyError, ValueError) as error:
            raise BadInput(
                f"The preprocessing settings in the plans cannot be used ({error}). Run `nnunet-spine plan` again."
            ) from error


def _field_settings(values: Mapping[str, Any], method: BiasMethod) -> FieldSettings:
    """The settings of `van_leemput`; they may be absent where the method is another, which does not read them."""
    if "bias_field" in values:
        return FieldSettings.from_json(values["bias_field"])
    if method is BiasMethod.VAN_LEEMPUT:
        raise BadInput("plans of an earlier version: they do not have `bias_field`")
    return DEFAULT_FIELD


def normalise(array: FloatArray, spacing_mm: Sequence[float], settings: IntensitySettings) -> FloatArray:
    """Apply gamma, bias-field correction and scaling, in this order.

    Parameters
    ----------
    array
        Intensities of one channel, shape (z, y, x).
    spacing_mm
        Spacing (z, y, x), in mm.
    settings
        What each step is to do.

    Returns
    -------
    array
        float32 within [scale_minimum, scale_maximum].
    """
    contrasted = adjust_gamma(array, settings.gamma)
    corrected = correct_bias(contrasted, spacing_mm, settings.bias_method, settings.bias_field).image
    return scale_intensity(corrected, settings.scale_minimum, settings.scale_maximum)
