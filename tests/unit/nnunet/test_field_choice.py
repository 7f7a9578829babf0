from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.errors import BadInput
from nnunet_spine.nnunet.field_choice import choose_classes, choose_field_settings, choose_orders
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.preprocessing.field_settings import DEFAULT_FIELD, FieldSettings


def test_a_typical_data_set_gets_what_the_method_was_measured_with() -> None:
    chosen = choose_field_settings([(15, 384, 384), (13, 320, 320), (17, 512, 512)], [(4.0, 0.7, 0.7)] * 3)
    assert chosen.settings == FieldSettings(8, (0, 2, 3, 4), 4.5) == DEFAULT_FIELD


def test_so_does_the_synthetic_cohort() -> None:
    grids = [case.grid for case in sample_cohort(24, 0)]
    shapes = [(grid.slices, grid.rows, grid.columns) for grid in grids]
    spacings = [(grid.slice_spacing_mm, grid.pixel_mm, grid.pixel_mm) for grid in grids]
    assert choose_field_settings(shapes, spacings).settings == DEFAULT_FIELD


@pytest.mark.parametrize(
    ("view_mm", "orders"),
    [
        (300, (0, 2, 3, 4)),
        (120, (0, 2, 3, 4)),
        (119, (0, 2, 3)),
        (90, (0, 2, 3)),
        (89, (0, 2)),
        (60, (0, 2)),
        (59, (0, 1)),
        (20, (0, 1)),
    ],
)
def test_no_half_wave_is_shorter_than_30_mm(view_mm: float, orders: tuple[int, ...]) -> None:
    assert choose_orders(view_mm) == orders


def test_the_view_is_the_smaller_side_in_the_plane_of_the_median_case() -> None:
    # Smaller sides: 100, 64 and 200 mm; the slices' 40 mm do not count.
    chosen = choose_field_settings(
        [(10, 100, 300), (10, 320, 128), (10, 200, 200)], [(4, 1, 1), (4, 0.5, 0.5), (4, 1, 1)]
    )
    assert chosen.settings.orders == (0, 2, 3)
    assert "100 mm" in chosen.reasons["bias_field.orders"]


@pytest.mark.parametrize(("samples", "classes"), [(8000, 8), (1600, 8), (1599, 7), (1000, 5), (800, 4), (10, 4)])
def test_a_class_has_200_samples_and_there_are_at_least_four(samples: int, classes: int) -> None:
    assert choose_classes(samples) == classes


def test_a_small_view_is_sampled_closer() -> None:
    # Positions 1 to 62: at most 4 voxels apart 18^3 = 5832, over 4000; at most 5 apart 14^3 = 2744, enough.
    assert choose_field_settings([(64, 64, 64)], [(1, 1, 1)]).settings.sample_spacing_mm == 4.5
    # 1 to 38: at most 4 apart 11^3 = 1331 (odd, no voxel in the middle: 12^3 = 1728); at most 3 apart 14^3 = 2744.
    small = choose_field_settings([(40, 40, 40)], [(1, 1, 1)])
    assert small.settings.sample_spacing_mm == 3.0
    assert "2744 samples" in small.reasons["bias_field.sample_spacing_mm"]


def test_few_samples_give_fewer_classes_and_the_reason_says_so() -> None:
    chosen = choose_field_settings([(8, 12, 12)], [(3, 1, 1)])
    assert chosen.settings == FieldSettings(4, (0, 1), 3.0)
    assert "needs 200 samples" in chosen.reasons["bias_field.classes"]


def test_no_case() -> None:
    with pytest.raises(BadInput, match="no training case"):
        choose_field_settings([], [])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 600), st.integers(1, 600)), min_size=1, max_size=6),
    st.tuples(st.floats(0.5, 6), st.floats(0.2, 3), st.floats(0.2, 3)),
)
def test_every_fingerprint_gets_settings_between_the_bounds(shapes, spacing_mm) -> None:
    chosen = choose_field_settings(shapes, [spacing_mm] * len(shapes))
    assert 4 <= chosen.settings.classes <= 8
    assert chosen.settings.orders in {(0, 2, 3, 4), (0, 2, 3), (0, 2), (0, 1)}
    assert chosen.settings.sample_spacing_mm in {4.5, 4.0, 3.5, 3.0}
    assert set(chosen.reasons) == {"bias_field.classes", "bias_field.orders", "bias_field.sample_spacing_mm"}
