"""Tumors in real volumes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from nnunet_spine.cases import Region
from nnunet_spine.errors import BadInput, GeometryMismatch, NotFound
from nnunet_spine.phantoms.backgrounds import (
    centreline_of_mask,
    find_backgrounds,
    read_background,
    search_centreline,
)
from nnunet_spine.phantoms.canal import canal_profile
from nnunet_spine.phantoms.cohort import write_cohort
from nnunet_spine.phantoms.grids import slice_points
from nnunet_spine.phantoms.implant import ImplantedScene, Placement, placed_case
from nnunet_spine.phantoms.lesions import lesion_body
from nnunet_spine.phantoms.model import Look, Series
from nnunet_spine.phantoms.sampling import sample_cohort
from nnunet_spine.phantoms.study import acquire

REAL = Path(__file__).parents[4] / "shared" / "data" / "mri"
real_volumes = pytest.mark.skipif(not REAL.is_dir(), reason="the real MRI volumes are not beside the project")

SHAPE = (70, 90, 48)


def _tube(x_mm: float = 3.0, y_mm: float = 12.0, slope: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """An array (z, y, x) at 1 mm with a bright tube of 5 mm radius, and the tube's mask."""
    z, y, x = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in SHAPE], indexing="ij")
    tube = np.hypot(x - x_mm, y - y_mm - slope * z) < 5
    noise = np.random.default_rng(0).normal(0, 5, SHAPE)
    return (100 + 10 * np.sin(x / 9) + noise + 120 * tube).astype(np.float32), tube


def _write(path: Path, array: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "backgrounds"
    place.mkdir()
    array, tube = _tube()
    _write(place / "lumbar.nii.gz", array)
    _write(place / "lumbar_cord.nii.gz", tube.astype(np.uint8))
    return place


def test_the_course_of_a_mask() -> None:
    _, tube = _tube()
    line = centreline_of_mask(tube, (1.0, 1.0, 1.0))
    np.testing.assert_allclose(line.x_mm, 3.0, atol=0.3)
    inner = slice(10, -10)
    np.testing.assert_allclose(line.y_mm[inner], 12 + 0.1 * line.z_mm[inner], atol=0.4)
    assert line.cord_half_mm == pytest.approx((5.0, 5.0), abs=0.3)


def test_the_course_is_found_without_a_mask_under_a_coil_field() -> None:
    array, _ = _tube()
    y = np.arange(SHAPE[1])[None, :, None]
    line = search_centreline((array / 230 * np.exp((y - 45) / 60)).astype(np.float32), (1.0, 1.0, 1.0))
    assert line is not None
    np.testing.assert_allclose(line.x_mm, 3.0, atol=2.0)
    inner = slice(3, -3)
    np.testing.assert_allclose(line.y_mm[inner], 12 + 0.1 * line.z_mm[inner], atol=2.5)


def test_no_course_is_found_where_there_is_no_tube() -> None:
    noise = np.random.default_rng(1).normal(1, 0.1, SHAPE).astype(np.float32)
    assert search_centreline(noise, (1.0, 1.0, 1.0)) is None


def test_a_background_is_read_along_its_anatomical_axes(folder: Path) -> None:
    whole = read_background(folder / "lumbar.nii.gz")
    image = sitk.DICOMOrient(sitk.ReadImage(str(folder / "lumbar.nii.gz")), "PIR")
    mask = sitk.DICOMOrient(sitk.ReadImage(str(folder / "lumbar_cord.nii.gz")), "PIR")
    sitk.WriteImage(image, str(folder / "turned.nii.gz"))
    sitk.WriteImage(mask, str(folder / "turned_cord.nii.gz"))
    turned = read_background(folder / "turned.nii.gz")
    np.testing.assert_array_equal(turned.array, whole.array)
    assert turned.extent_mm == whole.extent_mm == (47.0, 89.0, 69.0)
    assert whole.region is Region.LUMBAR
    assert turned.region is Region.UNKNOWN
    assert np.percentile(whole.array, 99) == pytest.approx(1)


def test_sampling_at_voxel_centres_gives_the_voxels(folder: Path) -> None:
    background = read_background(folder / "lumbar.nii.gz")
    x = np.array([-23.5, 0.5], np.float32)
    y = np.array([-44.5, 1.5], np.float32)
    z = np.array([-34.5, 2.5], np.float32)
    expected = [background.array[0, 0, 0], background.array[37, 46, 24]]
    np.testing.assert_allclose(background.sample(x, y, z), expected, rtol=1e-4)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_placement_mirrors_scales_and_moves(mirrored: bool) -> None:
    placement = Placement(mirrored, 1.1, (1.0, 2.0, 3.0), seed=0)
    x, y, z = (np.array([v], np.float32) for v in (10.0, -20.0, 30.0))
    moved = np.concatenate(placement.to_background(x, y, z))
    side = -1 if mirrored else 1
    straight = np.array([side * 11 + 1, -22 + 2, 33 + 3])
    assert np.abs(moved - straight).max() <= 1.1 * 1.5 + 1e-4
    assert np.abs(moved - straight).max() > 0


@pytest.mark.parametrize("number", range(8))
def test_the_grid_stays_within_the_background(folder: Path, number: int) -> None:
    background = read_background(folder / "lumbar.nii.gz")
    scene = ImplantedScene(sample_cohort(8, 0)[number], background)
    grid = scene.grid(Series.T1_POST)
    assert grid.geometry.size_xyz[2] >= 11
    half = np.array(background.extent_mm) / 2
    for points in slice_points(grid, scene.case.grid.isocentre_mm):
        where = np.stack(scene.placement.to_background(points.x, points.y, points.z))
        assert (np.abs(where) <= half[:, None] + 0.6).all()
    assert scene.lesion_share().max() > 0.5
    assert scene.case.lesion.volume_ml <= 15


def test_the_centre_line_is_carried_into_the_case(folder: Path) -> None:
    background = read_background(folder / "lumbar.nii.gz")
    scene = ImplantedScene(sample_cohort(3, 0)[2], background)
    z, x, y = scene._centreline
    back = scene.placement.to_background(x, y, z)
    np.testing.assert_allclose(back[0], 3.0, atol=0.6)
    np.testing.assert_allclose(back[1], 12 + 0.1 * back[2], atol=0.8)


def test_the_tumor_brightens_in_proportion_to_its_surroundings(folder: Path) -> None:
    array, tube = _tube(slope=0.0)
    ramp = np.exp((np.arange(SHAPE[0]) - 35) / 80)[:, None, None]
    _write(folder / "lumbar.nii.gz", (array * ramp).astype(np.float32))
    _write(folder / "lumbar_cord.nii.gz", tube.astype(np.uint8))
    background = read_background(folder / "lumbar.nii.gz")
    case = sample_cohort(1, 0)[0]
    gains = []
    for along in (-12.0, 12.0):
        scene = ImplantedScene(case, background)
        lesion = replace(
            scene.case.lesion, look=Look.HOMOGENEOUS, enhancement=0.8, core_share=0.0, along_mm=along,
            half_axes_mm=(4.0, 4.0, 5.0), volume_ml=0.33,
        )  # fmt: skip
        scene.case = replace(scene.case, lesion=lesion)
        scene.profile = canal_profile(scene.case.anatomy, lesion)
        scene.body = lesion_body(lesion, scene.profile)
        inside = scene.lesion_share() > 0.95
        gains.append(float(scene.signal(Series.T1_POST)[inside].mean() / scene.signal(Series.T1_PRE)[inside].mean()))
    # 0.8 / 0.46 against 0.96, wherever on the ramp.
    assert gains == pytest.approx([0.8 / 0.46 / 0.96] * 2, rel=0.08)


def test_real_noise_is_not_added_to(folder: Path) -> None:
    background = read_background(folder / "lumbar.nii.gz")
    case = sample_cohort(1, 0)[0]
    quiet, loud = (
        acquire(
            ImplantedScene(replace(case, acquisition=replace(case.acquisition, snr=snr)), background), Series.T1_POST
        ).stored
        for snr in (1000.0, 2.0)
    )
    np.testing.assert_array_equal(quiet, loud)


def test_a_cohort_in_backgrounds_is_written_and_repeated(folder: Path, tmp_path: Path) -> None:
    first = write_cohort(tmp_path / "a", cases=2, background=folder)
    write_cohort(tmp_path / "b", cases=2, background=folder)
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("IM*"))
    assert len(files) == first.files
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)
    assert pydicom.dcmread(tmp_path / "a" / files[0]).BodyPartExamined == "LSPINE"
    assert write_cohort(tmp_path / "a", cases=2, background=folder).already_there


def test_studies_of_one_patient_share_their_anatomy(folder: Path) -> None:
    background = read_background(folder / "lumbar.nii.gz")
    first, second = sample_cohort(12, 0)[10:]
    (one, place_one), (two, place_two) = (placed_case(case, background) for case in (first, second))
    assert (place_one.mirrored, place_one.scale, place_one.seed) == (
        place_two.mirrored,
        place_two.scale,
        place_two.seed,
    )
    assert one.lesion.along_mm == two.lesion.along_mm
    assert one.lesion.volume_ml > two.lesion.volume_ml


def test_unusable_volumes_are_named_and_the_rest_is_used(folder: Path) -> None:
    _write(folder / "small.nii.gz", np.ones((10, 10, 10), np.float32))
    _write(folder / "void.nii.gz", np.zeros(SHAPE, np.float32))
    (folder / "broken.nii.gz").write_bytes(b"no volume")
    found = find_backgrounds(folder)
    assert [path.name for path in found.paths] == ["lumbar.nii.gz"]
    assert len(found.unused) == 3
    for name, reason in zip(("broken", "small", "void"), found.unused, strict=True):
        assert name in reason


def test_a_folder_without_a_usable_volume(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no folder"):
        find_backgrounds(tmp_path / "absent")
    with pytest.raises(NotFound, match="holds no volume"):
        find_backgrounds(tmp_path)
    _write(tmp_path / "flat.nii.gz", np.ones(SHAPE, np.float32))
    with pytest.raises(BadInput, match=r"flat\.nii\.gz"):
        find_backgrounds(tmp_path)


def test_a_mask_on_another_grid_or_empty(folder: Path) -> None:
    _, tube = _tube()
    _write(folder / "lumbar_cord.nii.gz", tube.astype(np.uint8), spacing=(1.1, 1.0, 1.0))
    read_background.cache_clear()
    with pytest.raises(GeometryMismatch, match="another grid"):
        read_background(folder / "lumbar.nii.gz")
    _write(folder / "lumbar_cord.nii.gz", np.zeros(SHAPE, np.uint8))
    with pytest.raises(BadInput, match="three axial planes"):
        read_background(folder / "lumbar.nii.gz")


@pytest.mark.shared
@real_volumes
def test_the_search_agrees_with_hand_made_masks() -> None:
    for name in ("sct_t1w", "sct_t2w"):
        background = read_background(REAL / f"{name}.nii.gz")
        assert background.centreline.from_mask
        found = search_centreline(background.array, background.spacing_mm)
        assert found is not None
        mask = background.centreline
        inner = np.abs(found.z_mm) < background.extent_mm[2] / 2 - 5
        assert np.abs(found.x_mm - np.interp(found.z_mm, mask.z_mm, mask.x_mm))[inner].max() < 4
        assert np.abs(found.y_mm - np.interp(found.z_mm, mask.z_mm, mask.y_mm))[inner].max() < 4


@pytest.mark.shared
@real_volumes
def test_a_cohort_in_real_volumes(tmp_path: Path) -> None:
    summary = write_cohort(tmp_path / "export", cases=4, background=REAL)
    assert summary.cases == 4
    assert any("axial_mts" in reason for reason in summary.unused_backgrounds)
    assert summary.smallest_ml >= 0.1
    assert summary.largest_ml <= 15
    for path in (tmp_path / "export").rglob("SER0007/IM000006"):
        # Real tissue nearly everywhere: at most a small share of black.
        assert (pydicom.dcmread(path).pixel_array == 0).mean() < 0.1
