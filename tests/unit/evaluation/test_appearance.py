"""The look of lesions of known make: balls, shells, and the tumors of the synthetic cohort."""

import numpy as np
import pytest

from nnunet_spine.errors import BadInput, GeometryMismatch
from nnunet_spine.evaluation.appearance import (
    Look,
    appearance_of,
    chance_of_brighter,
    look_of,
    separation,
    surroundings,
)
from nnunet_spine.phantoms import model
from nnunet_spine.phantoms.model import Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import acquire, reference_mask

SPACING_MM = (3.0, 1.0, 1.0)


def ball(radius_mm: float) -> np.ndarray:
    """Distance to the middle of a grid of 11 x 41 x 41 voxels, within a radius."""
    z, y, x = np.indices((11, 41, 41))
    return np.sqrt((3.0 * (z - 5)) ** 2 + (y - 20.0) ** 2 + (x - 20.0) ** 2) < radius_mm


def lesion(core: float | None, *, rim: float = 200.0, noise: float = 5.0) -> tuple[np.ndarray, np.ndarray]:
    """A ball of 12 mm in tissue of 100, with a core of 9 mm where one is given; and its mask."""
    mask = ball(12.0)
    image = np.where(mask, rim, 100.0)
    if core is not None:
        image[ball(9.0)] = core
    return image + noise * np.random.default_rng(0).standard_normal(mask.shape), mask


def test_a_dark_core_in_a_bright_rim_is_rim_enhancing():
    found = appearance_of(*lesion(90.0), SPACING_MM)
    assert found.look is Look.RIM
    assert found.core_darker == pytest.approx((200 - 90) / 200, abs=0.02)


@pytest.mark.parametrize("core", [None, 200.0, 300.0])
def test_an_even_lesion_or_one_with_a_brighter_core_is_not(core):
    assert appearance_of(*lesion(core), SPACING_MM).look is Look.NO_RIM


def test_a_core_a_few_percent_darker_is_no_necrosis_though_every_voxel_is_darker():
    found = appearance_of(*lesion(190.0, noise=0.0), SPACING_MM)
    assert (found.rim_brighter, found.look) == (pytest.approx(1.0, abs=0.2), Look.NO_RIM)


def test_a_core_lost_in_noise_is_no_necrosis():
    assert appearance_of(*lesion(175.0, noise=200.0), SPACING_MM).look is Look.NO_RIM


def test_gamma_and_scale_do_not_change_what_is_seen():
    image, mask = lesion(90.0)
    plain, changed = (appearance_of(i, mask, SPACING_MM) for i in (image, 7 * image.clip(0) ** 0.7))
    assert changed.look is plain.look
    assert changed.rim_brighter == pytest.approx(plain.rim_brighter)
    assert changed.separation == pytest.approx(plain.separation)


def test_a_small_lesion_is_not_determinable_but_has_its_contrast():
    image, _ = lesion(None)
    mask = np.zeros(image.shape, bool)
    mask[5, 18:23, 18:23] = True  # 25 voxels
    found = appearance_of(image, mask, SPACING_MM)
    assert (found.look, found.rim_brighter, found.core_darker) == (Look.NOT_DETERMINABLE, None, None)
    assert found.separation is not None


def test_an_image_without_signal_and_a_lesion_that_fills_it_are_not_determinable():
    mask = np.ones((6, 6, 6), bool)
    found = appearance_of(np.zeros(mask.shape), mask, SPACING_MM)
    assert (found.look, found.separation) == (Look.NOT_DETERMINABLE, None)


def test_a_lesion_at_the_border_is_measured():
    image, mask = lesion(90.0)
    assert appearance_of(image[:, 20:], mask[:, 20:], SPACING_MM).separation is not None


def test_what_cannot_be_measured_is_refused():
    image, mask = lesion(None)
    with pytest.raises(GeometryMismatch, match="shape"):
        appearance_of(image[1:], mask, SPACING_MM)
    image[5, 20, 20] = np.nan
    with pytest.raises(BadInput, match="not finite"):
        appearance_of(image, mask, SPACING_MM)


def test_separation_by_hand():
    assert separation(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 1.0
    assert separation(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0  # a dark lesion stands out too
    assert separation(np.array([1.0, 2.0]), np.array([1.0, 2.0])) == 0.0
    # The best threshold, between 2 and 3, has 2 of 4 above it, and 0 of 4.
    assert separation(np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 1.0, 2.0, 2.0])) == 0.5


def test_chance_of_brighter_by_hand():
    assert chance_of_brighter(np.array([2.0]), np.array([1.0, 2.0, 3.0, 0.0])) == (1 + 0.5 + 0 + 1) / 4


def test_the_two_measures_agree_with_scipy():
    from scipy.stats import ks_2samp, mannwhitneyu

    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.integers(0, 12, 40).astype(float), rng.integers(2, 15, 70).astype(float)
        assert separation(a, b) == pytest.approx(ks_2samp(a, b).statistic)
        assert chance_of_brighter(a, b) == pytest.approx(mannwhitneyu(a, b).statistic / (40 * 70))


def test_surroundings_reach_5_mm_in_space():
    mask = np.zeros((5, 15, 15), bool)
    mask[2, 7, 7] = True
    near = surroundings(mask, (4.0, 1.0, 1.0))
    assert not near[2, 7, 7]
    assert np.flatnonzero(near[2, 7]).tolist() == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert np.flatnonzero(near[1, 7]).tolist() == [4, 5, 6, 7, 8, 9, 10]  # 4 mm across, so 3 mm in the slice
    assert not near[0].any()


@pytest.mark.parametrize(
    ("brighter", "darker", "look"),
    [
        (0.6, 0.1, Look.RIM),
        (0.59, 0.1, Look.NO_RIM),
        (0.6, 0.09, Look.NO_RIM),
        (None, None, Look.NOT_DETERMINABLE),
    ],
)
def test_the_limits(brighter, darker, look):
    assert look_of(brighter, darker) is look


def synthetic(number: int) -> Look:
    case = COHORT[number]
    scene = AnalyticScene(case)
    acquired = acquire(scene, Series.T1_POST)
    mask = reference_mask(scene.lesion_share())
    return appearance_of(acquired.stored, mask, acquired.grid.geometry.spacing_zyx_mm).look


COHORT = sample_cohort(58, 0)
LARGE = [case.number for case in COHORT if case.lesion.volume_ml > 2.0]


@pytest.mark.parametrize("look", list(model.Look))
def test_tumors_of_the_synthetic_cohort_are_told_apart(look):
    expected = Look.RIM if look is model.Look.RIM else Look.NO_RIM
    numbers = [number for number in LARGE if COHORT[number].lesion.look is look][:2]
    assert len(numbers) == 2
    assert [synthetic(number) for number in numbers] == [expected] * 2
