"""Shapes in space: canal, cord, tumor, tissues."""

from dataclasses import replace
from math import pi

import numpy as np
import pytest

from nnunet_spine.cases import Compartment, Region
from nnunet_spine.phantoms.anatomy import canal_points, tissue_labels
from nnunet_spine.phantoms.canal import canal_profile, lesion_centre
from nnunet_spine.phantoms.fields import level_noise, smooth_noise
from nnunet_spine.phantoms.grids import axial_grid, sagittal_grid, slice_points
from nnunet_spine.phantoms.lesions import lesion_body
from nnunet_spine.phantoms.model import Look, Nodule, Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.scene import AnalyticScene
from nnunet_spine.phantoms.study import FEWEST_VOXELS, reference_mask
from nnunet_spine.phantoms.tissues import Tissue, signal_table

COHORT = sample_cohort(58, 0)


def _first(compartment: Compartment, **conditions: object):
    return next(
        case
        for case in COHORT
        if case.lesion.compartment is compartment
        and all(getattr(case.anatomy, name) == value for name, value in conditions.items())
    )


def _smooth_ball(case, radius_mm: float):
    return replace(
        case.lesion,
        half_axes_mm=(radius_mm,) * 3,
        volume_ml=4 / 3 * pi * radius_mm**3 / 1000,
        roughness=0.0,
        nodules=(Nodule((0.0, 0.0, 0.0), 1.0),),
    )


def test_a_tumor_encloses_the_volume_it_should() -> None:
    for case in COHORT:
        body = lesion_body(case.lesion, canal_profile(case.anatomy, case.lesion))
        assert 0.1 <= body.volume_ml <= 15
        assert body.volume_ml == pytest.approx(case.lesion.volume_ml, rel=0.05)


def test_a_smooth_ball_is_a_ball() -> None:
    case = _first(Compartment.EXTRAMEDULLARY, region=Region.THORACIC)
    lesion = _smooth_ball(case, 4.0)
    profile = canal_profile(case.anatomy, lesion)
    body = lesion_body(lesion, profile)
    centre_u, centre_v = lesion_centre(profile, lesion)
    away = np.array([[3.5, 0, 0], [0, 3.5, 0], [0, 0, 3.5], [0, 0, -3.5], [0, 0, 4.6]], np.float32).T
    inside = body.inside(away[0] + np.float32(centre_u), away[1] + np.float32(centre_v), away[2] + lesion.along_mm)
    assert inside[2:].tolist() == [True, True, False]


@pytest.mark.parametrize("number", range(0, 58, 4))
def test_a_tumor_keeps_to_its_compartment(number: int) -> None:
    case = COHORT[number]
    profile = canal_profile(case.anatomy, case.lesion)
    body = lesion_body(case.lesion, profile)
    rng = np.random.default_rng(number)
    u, v = (rng.uniform(-16, 16, 60_000).astype(np.float32) for _ in range(2))
    z = (case.lesion.along_mm + rng.uniform(-1.5, 1.5, 60_000) * case.lesion.half_axes_mm[2]).astype(np.float32)
    inside = body.inside(u, v, z)
    assert inside.any()
    if case.lesion.compartment is Compartment.INTRAMEDULLARY:
        assert profile.cord_radius(u, v, z)[inside].max() < 1
    else:
        assert profile.cord_radius(u, v, z)[inside].min() > 1
    assert profile.sac_radius(u, v, z)[inside].max() < 1
    assert not (body.core(u, v, z) & ~inside).any()
    assert body.core(u, v, z).any() == (case.lesion.look is Look.RIM)


def test_the_cord_swells_at_an_intramedullary_tumor_only() -> None:
    case = _first(Compartment.INTRAMEDULLARY, region=Region.CERVICAL)
    lesion = replace(case.lesion, half_axes_mm=(7.0, 6.0, 15.0), along_mm=10.0)
    profile = canal_profile(case.anatomy, lesion)
    here = np.abs(profile.z_mm - 10) < 2
    far = np.abs(profile.z_mm - 10) > 40
    assert profile.cord_ap_mm[here].min() > 6
    assert profile.cord_ap_mm[far].max() == pytest.approx(case.anatomy.cord_half_ap_mm)
    assert (profile.sac_ap_mm > profile.cord_ap_mm).all()


@pytest.mark.parametrize("angle", [0.0, pi / 2, pi, 4.0])
def test_an_extramedullary_tumor_pushes_the_cord_away(angle: float) -> None:
    case = _first(Compartment.EXTRAMEDULLARY, region=Region.THORACIC)
    lesion = replace(case.lesion, half_axes_mm=(6.0, 6.0, 12.0), angle=angle, along_mm=0.0)
    profile = canal_profile(case.anatomy, lesion)
    middle = len(profile.z_mm) // 2
    towards = profile.cord_u_mm[middle] * np.cos(angle) + profile.cord_v_mm[middle] * np.sin(angle)
    assert towards < -1
    assert abs(profile.cord_u_mm[0]) + abs(profile.cord_v_mm[0]) == 0
    assert np.hypot(*lesion_centre(profile, lesion)) > 0


def test_there_is_no_cord_below_the_conus_but_roots() -> None:
    case = _first(Compartment.EXTRAMEDULLARY, region=Region.LUMBAR)
    profile = canal_profile(case.anatomy, case.lesion)
    below = profile.z_mm < case.anatomy.conus_z_mm
    assert (profile.cord_ap_mm[below] == 0).all()
    labels = _labels_in_sac(case, z_mm=case.anatomy.conus_z_mm - 15)
    assert Tissue.ROOT in labels
    assert Tissue.CORD not in labels
    assert Tissue.CORD in _labels_in_sac(case, z_mm=case.anatomy.conus_z_mm + 30)


def _labels_in_sac(case, z_mm: float) -> set[int]:
    profile = canal_profile(case.anatomy, case.lesion)
    side = np.linspace(-14, 14, 80, dtype=np.float32)
    x, y = (axis.ravel() for axis in np.meshgrid(side, side))
    z = np.full(x.shape, z_mm, np.float32)
    offset = canal_points(case.anatomy, np.zeros(1, np.float32), np.zeros(1, np.float32), z[:1])
    y = (y - offset.v).astype(np.float32)
    x = (x - offset.u).astype(np.float32)
    points = canal_points(case.anatomy, x, y, z)
    labels = tissue_labels(case.anatomy, profile, points, y)
    return set(labels[profile.sac_radius(points.u, points.v, points.z) < 0.9].tolist())


def test_the_course_of_the_canal() -> None:
    anatomy = replace(COHORT[0].anatomy, curve_radius_mm=200.0, curve_apex_mm=0.0, canal_y_mm=5.0, scoliosis_mm=0.0)
    z = np.array([0.0, 40.0], np.float32)
    points = canal_points(anatomy, np.zeros(2, np.float32), np.full(2, 9.0, np.float32), z)
    # A circle of 200 mm is z^2 / 2R = 4 mm off its tangent at 40 mm.
    assert points.v.tolist() == pytest.approx([4.0, 0.0])
    assert points.u.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("region", [Region.CERVICAL, Region.THORACIC, Region.LUMBAR])
def test_a_sagittal_image_shows_all_of_a_spine(region: Region) -> None:
    case = next(case for case in COHORT if case.anatomy.region is region)
    scene = AnalyticScene(case)
    shares = scene.sagittal_content.shares
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)
    for tissue in (Tissue.FAT, Tissue.MUSCLE, Tissue.CORTEX, Tissue.MARROW, Tissue.DISC, Tissue.CSF, Tissue.DURA):
        assert shares[tissue].sum() > 20, tissue.name
    assert scene.lesion_share().max() > 0.5


def test_series_of_one_grid_show_one_tumor_with_different_contrast() -> None:
    case = next(case for case in COHORT if case.lesion.look is Look.HOMOGENEOUS and case.lesion.volume_ml > 1)
    scene = AnalyticScene(case)
    tumor = scene.lesion_share() > 0.99
    post, pre, t2 = (scene.signal(series)[tumor].mean() for series in (Series.T1_POST, Series.T1_PRE, Series.T2))
    cord = scene.sagittal_content.shares[Tissue.CORD] > 0.99
    cord_pre = scene.signal(Series.T1_PRE)[cord].mean()
    assert post > 1.2 * pre
    assert pre == pytest.approx(cord_pre, rel=0.25)
    assert t2 > scene.signal(Series.T2)[cord].mean()


def test_fat_suppression_darkens_fat() -> None:
    lesion = COHORT[0].lesion
    tables = [
        signal_table(Series.T1_POST, lesion, fat_suppressed=on, rng=np.random.default_rng(0)) for on in (False, True)
    ]
    assert tables[1][Tissue.FAT] < 0.3 * tables[0][Tissue.FAT]
    assert tables[1][Tissue.CORD] == tables[0][Tissue.CORD]
    assert tables[0][Tissue.TUMOR] == pytest.approx(lesion.enhancement)


@pytest.mark.parametrize(("left_to_right", "turn", "tilt"), [(True, 0.0, 0.0), (False, 0.0, 0.0), (True, 5.0, -3.0)])
def test_the_sagittal_grid_is_centred_and_orthonormal(left_to_right: bool, turn: float, tilt: float) -> None:
    spec = replace(COHORT[0].grid, left_to_right=left_to_right, turn_degrees=turn, tilt_degrees=tilt)
    geometry = sagittal_grid(spec).geometry
    direction = np.reshape(geometry.direction, (3, 3))
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-5)
    assert direction[1, 0] > 0.99  # rows to posterior
    assert direction[2, 1] < -0.99  # columns to inferior
    assert np.sign(direction[0, 2]) == (-1 if left_to_right else 1)
    middle = geometry.affine_lps() @ [*(np.array(geometry.size_xyz) - 1) / 2, 1]
    np.testing.assert_allclose(middle[:3], spec.isocentre_mm, atol=1e-3)


def test_sample_points_average_to_the_voxel_centres() -> None:
    spec = replace(COHORT[0].grid, turn_degrees=4.0, tilt_degrees=2.0)
    grid = sagittal_grid(spec)
    affine = grid.geometry.affine_lps()
    for k, points in enumerate(slice_points(grid, spec.isocentre_mm)):
        if k != 3:
            continue
        for axis, values in enumerate((points.x, points.y, points.z)):
            mean = points.average(values)
            expected = (affine @ [5, 7, 3, 1])[axis] - spec.isocentre_mm[axis]
            assert mean[7, 5] == pytest.approx(expected, abs=1e-3)


def test_axial_slices_stay_within_the_height_of_the_sagittal_ones() -> None:
    spec = replace(COHORT[0].grid, rows=96, pixel_mm=1.0)
    geometry = axial_grid(spec, along_mm=500.0, canal_y_mm=0.0).geometry
    z = geometry.origin_xyz_mm[2] - spec.isocentre_mm[2] - 5.0 * np.arange(geometry.size_xyz[2])
    assert np.abs(z).max() <= 48
    assert axial_grid(replace(spec, rows=20), along_mm=0.0, canal_y_mm=0.0).geometry.size_xyz[2] == 4


def test_the_reference_is_what_is_half_tumor() -> None:
    share = np.zeros((3, 5, 5), np.float32)
    share[1, 1:4, 1:4] = 0.5
    share[0, 1:4, 1:4] = 0.49
    assert np.array_equal(reference_mask(share), share >= 0.5)


def test_a_tiny_tumor_gets_its_best_voxels() -> None:
    share = np.zeros((3, 5, 5), np.float32)
    share[1, 2, :] = [0.1, 0.4, 0.6, 0.3, 0.2]
    share[2, 2, :] = [0.05, 0.06, 0.07, 0.08, 0.0]
    mask = reference_mask(share)
    assert mask.sum() == FEWEST_VOXELS
    assert mask[1, 2].all()
    assert mask[2, 2].tolist() == [False, True, True, True, False]
    # Voxels without any tumor are never taken.
    share[2] = 0
    assert reference_mask(share).sum() == 5


def test_noise_fields_do_not_depend_on_the_grid_they_are_sampled_on() -> None:
    x, y, z = (np.linspace(-70, 70, 400, dtype=np.float32) * k for k in (1, 0.7, -0.4))
    whole = smooth_noise(x, y, z, seed=3, stream=0, scale_mm=(4, 5, 6))
    part = smooth_noise(x[100:110], y[100:110], z[100:110], seed=3, stream=0, scale_mm=(4, 5, 6))
    np.testing.assert_array_equal(whole[100:110], part)
    assert abs(whole.mean()) < 0.6
    assert not np.array_equal(whole, smooth_noise(x, y, z, seed=3, stream=1, scale_mm=(4, 5, 6)))


def test_each_vertebra_has_one_number() -> None:
    levels = np.array([-2.0, -2.0, 0.0, 5.0], np.float32)
    values = level_noise(levels, seed=1, stream=2)
    assert values[0] == values[1]
    assert len(set(values.tolist())) == 3
