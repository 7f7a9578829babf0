"""What the estimation of a bias field is told: classes, orders of the polynomial, distance of samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.foreground import SAMPLE_SPACING_MM
from nnunet_spine.preprocessing.van_leemput import CLASSES, ORDERS

FEWEST_CLASSES = 2
MOST_CLASSES = 20

HIGHEST_ORDER = 6
"""A polynomial of order 6 has 83 products; more than that no coil needs and no case determines."""


@dataclass(frozen=True)
class FieldSettings:
    """Settings of `estimate_field`, as the plans hold them.

    Parameters
    ----------
    classes
        Classes of the mixture.
    orders
        Orders of the polynomial that compete, growing; 0 is no field, and competes whether named or not.
    sample_spacing_mm
        Wanted distance of samples, in mm.

    Raises
    ------
    BadInput
        Where a value is out of its range.
    """

    classes: int = CLASSES
    orders: tuple[int, ...] = ORDERS
    sample_spacing_mm: float = SAMPLE_SPACING_MM

    def __post_init__(self) -> None:
        if type(self.classes) is not int or not FEWEST_CLASSES <= self.classes <= MOST_CLASSES:
            raise BadInput(
                f"The mixture is to have {self.classes} classes; a whole number from {FEWEST_CLASSES} to "
                f"{MOST_CLASSES} is expected."
            )
        whole = all(type(order) is int and 0 <= order <= HIGHEST_ORDER for order in self.orders)
        if not self.orders or not whole or sorted(set(self.orders)) != list(self.orders):
            raise BadInput(
                f"The orders of the field's polynomial are {list(self.orders)}; growing whole numbers from 0 to "
                f"{HIGHEST_ORDER} are expected."
            )
        if not 0 < self.sample_spacing_mm < math.inf:
            raise BadInput(f"The samples are to be {self.sample_spacing_mm} mm apart; a number above 0 is expected.")

    def as_json(self) -> dict[str, Any]:
        """Plain values, for a plans file."""
        return {
            "classes": self.classes,
            "orders": list(self.orders),
            "sample_spacing_mm": self.sample_spacing_mm,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FieldSettings:
        """Settings from a plans file, which must name all of them.

        Raises
        ------
        BadInput
            Where a value is out of its range.
        KeyError, TypeError
            Where a name is missing or unknown, or a value of another kind.
        """
        named = {"classes": values["classes"], "sample_spacing_mm": values["sample_spacing_mm"]}
        return cls(**{**values, **named, "orders": tuple(values["orders"])})


DEFAULT_FIELD = FieldSettings()
"""What the method was measured with; the planner departs from it where a data set's images are small."""
