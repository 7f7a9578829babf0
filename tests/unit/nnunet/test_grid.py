from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_spine.errors import BadInput, WorkFailed
from nnunet_spine.networks.memory import training_bytes
from nnunet_spine.nnunet.grid import GIB, derive


def per_voxel(bytes_per_voxel: float):
    """A network whose memory is proportional to the batch's voxels."""
    return lambda grid, batch: int(bytes_per_voxel * batch * grid[0] * grid[1] * grid[2])


def test_by_hand() -> None:
    derived = derive(
        [(12, 100, 80), (15, 130, 90), (17, 120, 84)],
        [(4.0, 1.0, 1.0), (3.0, 1.0, 1.0), (3.5, 1.2, 1.2)],
        memory_gib=8,
        training_bytes=per_voxel(1),
        cases_per_fold=43,
    )
    # Most slices 17, median in-plane 120 x 84, up to multiples of 16.
    assert derived.grid == (32, 128, 96)
    # The largest in-plane factors: 96/80, 128/130, 128/120.
    assert derived.median_shape == (15, 128, 90)
    assert derived.spacing_mm == pytest.approx((3.5, 1.0 * 130 / 128, 1.0 * 90 / 89))
    assert derived.batch_size == 2
    assert "(17)" in derived.reasons["patch_size"]
    assert "120 x 84" in derived.reasons["patch_size"]


@pytest.mark.parametrize(("cases", "batch"), [(6, 2), (43, 2), (60, 3), (100, 5), (435, 22)])
def test_a_batch_covers_at_most_a_twentieth(cases: int, batch: int) -> None:
    derived = derive([(16, 64, 64)], [(3, 1, 1)], memory_gib=8, training_bytes=per_voxel(1), cases_per_fold=cases)
    assert derived.batch_size == batch


def test_memory_caps_the_batch() -> None:
    voxels = 16 * 64 * 64
    derived = derive(
        [(16, 64, 64)], [(3, 1, 1)], memory_gib=3.5 * voxels / GIB, training_bytes=per_voxel(1), cases_per_fold=435
    )
    assert derived.batch_size == 3


def test_memory_makes_the_grid_smaller_where_it_is_largest() -> None:
    # Two cases of 16 x 128 x 128 take 524288 voxels; 16 x 96 x 112 and below take under 350000.
    derived = derive(
        [(10, 128, 128)], [(3, 1, 1)], memory_gib=350_000 / GIB, training_bytes=per_voxel(1), cases_per_fold=18
    )
    assert 2 * derived.grid[0] * derived.grid[1] * derived.grid[2] <= 350_000
    assert derived.grid[0] == 16
    assert abs(derived.grid[1] - derived.grid[2]) <= 16
    assert "16x128x128 made smaller" in derived.reasons["patch_size"]


def test_tiny_images_leave_the_network_something_to_normalise() -> None:
    derived = derive([(5, 9, 9)], [(3, 1, 1)], memory_gib=8, training_bytes=training_bytes, cases_per_fold=3)
    assert derived.grid == (16, 32, 32)


def test_memory_for_nothing() -> None:
    with pytest.raises(WorkFailed, match="Plan with more memory"):
        derive([(16, 64, 64)], [(3, 1, 1)], memory_gib=1e-9, training_bytes=per_voxel(1), cases_per_fold=18)


def test_no_case() -> None:
    with pytest.raises(BadInput, match="no training case"):
        derive([], [], memory_gib=8, training_bytes=per_voxel(1), cases_per_fold=18)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(8, 600), st.integers(8, 600)), min_size=1, max_size=8),
    st.floats(0.01, 8),
)
def test_sides_are_multiples_of_16_and_fit_the_memory(shapes, memory_gib: float) -> None:
    derived = derive(
        shapes, [(4, 1, 1)] * len(shapes), memory_gib=memory_gib, training_bytes=per_voxel(50), cases_per_fold=40
    )
    assert all(side % 16 == 0 and side > 0 for side in derived.grid)
    assert 50 * derived.batch_size * derived.grid[0] * derived.grid[1] * derived.grid[2] <= memory_gib * GIB
