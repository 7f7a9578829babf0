from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnunet_spine.dataset_conversion.problems import Severity, Unusable
from nnunet_spine.dataset_conversion.reference_checks import body_of, check_mask
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume

GRID = Geometry((60, 80, 10), (0.8, 0.8, 4.0), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))  # type: ignore[arg-type]
BODY = (slice(None), slice(10, 70), slice(10, 40))


def patient(**changes: Any) -> Volume:
    """A body of 200 with a dark canal of 5, in air of Rayleigh noise of sigma 4."""
    rng = np.random.default_rng(5)
    signal = np.zeros(GRID.shape_zyx)
    signal[BODY] = 200
    signal[:, 10:70, 20:28] = 5  # 6.4 mm wide, open above and below
    noise = rng.normal(0, 4, (2, *GRID.shape_zyx))
    values = np.hypot(signal + noise[0], noise[1]).astype(np.float32)
    return Volume(values, GRID)


def lesion(slices: slice, rows: slice, columns: slice) -> Volume:
    array = np.zeros(GRID.shape_zyx, np.uint8)
    array[slices, rows, columns] = 1
    return Volume(array, GRID)


def found(mask: Volume, image: Volume | None = None) -> list[str]:
    problems = check_mask(mask, image or patient())
    assert all(problem.severity is Severity.NOTE for problem in problems)
    return [problem.found for problem in problems]


def test_the_body_holds_its_dark_places() -> None:
    body = body_of(patient())
    assert body is not None
    truth = np.zeros(GRID.shape_zyx, bool)
    truth[BODY] = True
    assert (body == truth).mean() > 0.95  # but for the ends of the open canal
    assert body[5, 40, 24]


def test_a_sound_lesion_has_no_notes() -> None:
    assert found(lesion(slice(3, 6), slice(30, 40), slice(21, 27))) == []


@pytest.mark.parametrize("voxels", [1, 2, 3])
def test_a_lesion_under_three_voxels_is_told(voxels: int) -> None:
    told = found(lesion(slice(4, 5), slice(30, 30 + voxels), slice(24, 25)))
    assert told == ([f"a lesion of {voxels} voxels"] if voxels < 3 else [])


@pytest.mark.parametrize(
    ("place", "sides"),
    [
        ((slice(0, 3), slice(30, 40), slice(20, 25)), 1),
        ((slice(8, 10), slice(30, 40), slice(20, 25)), 1),
        ((slice(3, 5), slice(30, 40), slice(20, 60)), 1),
        ((slice(0, 10), slice(30, 40), slice(20, 25)), 2),
    ],
)
def test_a_lesion_at_the_edge_is_told(place: tuple[slice, slice, slice], sides: int) -> None:
    assert f"the lesion touches {sides} of the 6 sides of the image" in found(lesion(*place))


def test_a_lesion_partly_outside_the_body_is_told() -> None:
    assert found(lesion(slice(3, 5), slice(30, 40), slice(30, 50)))[0] in {
        f"{share} % of the lesion lies outside the body" for share in range(45, 51)
    }


def test_a_lesion_outside_the_body_is_refused() -> None:
    with pytest.raises(Unusable, match="100 % of the lesion lies outside the body"):
        found(lesion(slice(3, 5), slice(30, 40), slice(46, 56)))


def test_where_no_air_is_seen_nothing_is_said_of_the_body() -> None:
    noise = np.random.default_rng(3).normal(300, 20, GRID.shape_zyx).astype(np.float32)
    assert body_of(Volume(noise, GRID)) is None
    uniform = np.random.default_rng(3).permutation(noise.size).reshape(GRID.shape_zyx).astype(np.float32)
    assert body_of(Volume(uniform, GRID)) is None
    assert found(lesion(slice(3, 5), slice(30, 40), slice(46, 56)), Volume(noise, GRID)) == []
    thin = Geometry((60, 80, 3), *[getattr(GRID, k) for k in ("spacing_xyz_mm", "origin_xyz_mm", "direction")])
    assert body_of(Volume(noise[:3], thin)) is None
