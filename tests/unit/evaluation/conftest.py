"""Facts of cases, made without files."""

import pytest

from nnunet_spine.cases import Case, Compartment, Region
from nnunet_spine.evaluation.appearance import Appearance, Look
from nnunet_spine.evaluation.facts import CaseFacts
from nnunet_spine.evaluation.field_of_view import Extent
from nnunet_spine.evaluation.measures import MEASURE_FIELDS, CaseMeasures
from nnunet_spine.evaluation.observation import Observation
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult


def measured_at(distance_mm: float | None) -> CaseMeasures:
    """Measures of a prediction that far from its reference; None is no prediction."""
    undefined = dict.fromkeys(MEASURE_FIELDS[:7])
    return CaseMeasures(**undefined, centroid_distance_mm=distance_mm, **dict.fromkeys(MEASURE_FIELDS[8:], 0))


def make_fact(
    name: str,
    dice: float,
    *,
    patient: str | None = None,
    volume_ml: float | None = 1.0,
    compartment: Compartment = Compartment.INTRAMEDULLARY,
    tumor_type: str = "ependymoma",
    maker: str = "GE",
    tesla: float | None = 1.5,
    region: Region = Region.CERVICAL,
    told: bool = True,
    trained_on_maker: int | None = 9,
    trained_on_type: int | None = 9,
    look: Look = Look.NO_RIM,
    separation: float | None = 0.8,
    height_mm: float = 250.0,
    border_voxels: int = 0,
    distance_mm: float | None = 2.0,
    half_length_mm: float = 10.0,
    ceiling_dice: float | None = None,
    field_strength: float | None = None,
    **observed,
) -> CaseFacts:
    """A judged case, detected where its Dice is above 0; by default easy in every respect."""
    patient = patient or f"P-{name}"
    seen = Observation(
        extent=Extent(height_mm, 200.0, 60.0),
        border_voxels=border_voxels,
        half_length_mm=half_length_mm,
        appearance=Appearance(look, None, None, separation),
        **observed,
    )
    present = MaskState.PRESENT
    return CaseFacts(
        result=CaseResult(
            name, patient, 0, dice, dice > 0, present, present, volume_ml, 1.0, measures=measured_at(distance_mm)
        ),
        dice=dice,
        metadata=Case(name, patient, compartment, tumor_type, maker, tesla, region) if told else None,
        seen=seen,
        trained_on_maker=trained_on_maker,
        trained_on_type=trained_on_type,
        ceiling_dice=ceiling_dice,
        field_strength=field_strength,
    )


@pytest.fixture
def fact():
    return make_fact
