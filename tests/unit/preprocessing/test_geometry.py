from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_spine.errors import BadInput
from nnunet_spine.preprocessing.geometry import fitted_shape, pad_to_grid, slice_axis

SIDES = st.integers(1, 400)


@pytest.mark.parametrize(
    ("shape", "grid", "expected"),
    [
        ((12, 320, 320), (16, 256, 128), (12, 128, 128)),  # the width decides: factor 0.4
        ((12, 100, 50), (16, 128, 96), (12, 128, 64)),  # enlarged: the height decides, factor 1.28
        ((40, 64, 64), (16, 64, 64), (16, 64, 64)),  # more slices than the grid
        ((16, 128, 96), (16, 128, 96), (16, 128, 96)),
    ],
)
def test_by_hand(shape, grid, expected) -> None:
    assert fitted_shape(shape, grid) == expected


@given(st.tuples(SIDES, SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES))
def test_it_fits_and_is_as_large_as_can_be(shape, grid) -> None:
    fitted = fitted_shape(shape, grid)
    assert all(1 <= n <= g for n, g in zip(fitted, grid, strict=True))
    assert fitted[0] == min(shape[0], grid[0])
    assert fitted[1] == grid[1] or fitted[2] == grid[2]


@given(st.tuples(SIDES, SIDES, SIDES), st.tuples(SIDES, SIDES, SIDES))
def test_one_factor_serves_both_axes(shape, grid) -> None:
    _, height, width = fitted_shape(shape, grid)
    factor = min(grid[1] / shape[1], grid[2] / shape[2])
    assert abs(height - shape[1] * factor) <= 1
    assert abs(width - shape[2] * factor) <= 1


@pytest.mark.parametrize("shape", [(0, 5, 5), (5, 5, 0), (5, -1, 5)])
def test_a_side_of_nothing(shape) -> None:
    with pytest.raises(BadInput):
        fitted_shape(shape, (16, 16, 16))


def test_padding_is_centred_the_odd_voxel_behind() -> None:
    padded = pad_to_grid(np.ones((1, 1, 2, 3)), (2, 2, 6), -5.0)
    expected = np.full((1, 2, 2, 6), -5.0)
    expected[:, 0, :, 1:4] = 1
    np.testing.assert_array_equal(padded, expected)


def test_what_has_the_grids_size_is_unchanged() -> None:
    array = np.random.default_rng(0).random((1, 4, 5, 6))
    np.testing.assert_array_equal(pad_to_grid(array, (4, 5, 6)), array)


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "axis"),
    [
        ((16, 256, 256), (4.0, 1.0, 1.0), 0),
        ((256, 256, 16), (1.0, 1.0, 4.0), 2),
        ((10, 200, 16), (1.0, 1.0, 4.0), 2),  # spacing before number
        ((77, 76, 42), (1.0, 1.00001, 1.0), 2),  # alike to 0.001 mm: the fewest
        ((20, 20, 20), (1.0, 1.0, 1.0), 0),
    ],
)
def test_slices_run_along_the_largest_spacing_then_the_fewest_voxels(shape, spacing_mm, axis) -> None:
    assert slice_axis(shape, spacing_mm) == axis
