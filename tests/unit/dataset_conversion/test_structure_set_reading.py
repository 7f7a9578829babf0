"""RTSTRUCT files written with pydicom; the voxels that contours enclose are counted by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.references import Reference, on_grid, read_reference
from nnunet_spine.images import Volume, reorient

OBLIQUE = (0.1736481776669303, 0.984807753012208, 0.0, 0.0, 0.0, -1.0)
DOUBLY_OBLIQUE = (-0.17101007, 0.96984631, -0.17364818, 0.0301537, -0.17101007, -0.98480775)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Scene:
    """A series and the RTSTRUCTs drawn on it."""

    def __init__(self, make: Any, folder: Path, **plan: Any) -> None:
        shape = plan.pop("shape", (6, 10, 8))
        self.make, self.folder = make, folder
        self.plan = make.Plan(make.asymmetric(shape), **plan)
        self.datasets = make.datasets_of(self.plan)
        self.image = reorient(read_series(make.write_datasets(folder / "series", self.datasets)).volume)

    def box(self, slice_: float, rows: tuple[float, float], columns: tuple[float, float]) -> np.ndarray:
        return self.make.outline(self.plan, slice_, rows, columns)

    def write(self, regions: dict[str, list[Any]], **options: Any) -> Path:
        return self.make.write_structure_set(self.folder / "rt", self.datasets, regions, **options)

    def placed(self, regions: dict[str, list[Any]], selection: Selection = NO_SELECTION, **options: Any) -> Reference:
        path = self.write(regions, **options)
        return on_grid(read_reference(path, self.image.geometry, selection), self.image.geometry)

    def mask_of(self, voxels: Iterable[tuple[int, int, int]]) -> np.ndarray:
        """The voxels (slice, row, column) as a mask on the image's grid, by the DICOM equation and SimpleITK."""
        truth = np.zeros(self.image.array.shape, np.uint8)
        itk = self.image.image()
        for voxel in voxels:
            x, y, z = itk.TransformPhysicalPointToIndex([float(v) for v in self.plan.point(*voxel)])
            truth[z, y, x] = 1
        return truth


def block(slices: Iterable[int], rows: Iterable[int], columns: Iterable[int]) -> set[tuple[int, int, int]]:
    return {(s, r, c) for s in slices for r in rows for c in columns}


@pytest.mark.parametrize("gap", [4.0, -4.0])
@pytest.mark.parametrize("cosines", [(0, 1, 0, 0, 0, -1), OBLIQUE, DOUBLY_OBLIQUE, AXIAL])
def test_contours_enclose_the_voxels_they_were_drawn_about(
    make: Any, tmp_path: Path, cosines: tuple[float, ...], gap: float
) -> None:
    scene = Scene(make, tmp_path, cosines=cosines, spacing=(gap, 0.8, 0.6))
    placed = scene.placed({"tumor": [scene.box(1, (2, 4), (1, 2)), scene.box(2, (2, 5), (1, 4))]})
    truth = scene.mask_of(block([1], range(2, 5), range(1, 3)) | block([2], range(2, 6), range(1, 5)))
    assert np.array_equal(placed.mask.array, truth)
    assert placed.notes == ()


def test_an_inner_contour_is_a_hole_and_contours_side_by_side_are_parts(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, cosines=OBLIQUE)
    contours = [
        scene.box(2, (1, 5), (1, 5)),
        scene.box(2, (2, 4), (2, 4)),  # the hole
        scene.box(2, (3, 3), (3, 3)),  # an island in the hole
        scene.box(2, (7, 8), (6, 7)),  # a part beside
    ]
    placed = scene.placed({"tumor": contours})
    ring = block([2], range(1, 6), range(1, 6)) - block([2], range(2, 5), range(2, 5))
    truth = scene.mask_of(ring | {(2, 3, 3)} | block([2], (7, 8), (6, 7)))
    assert int(truth.sum()) == 25 - 9 + 1 + 4
    assert np.array_equal(placed.mask.array, truth)


def test_contours_of_a_region_without_a_name_are_noted(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    path = scene.write({"tumor": [scene.box(2, (1, 4), (1, 4))], "x": [scene.box(s, (6, 8), (5, 6)) for s in (2, 3)]})
    dataset = pydicom.dcmread(path)
    del dataset.StructureSetROISequence[1]
    dataset.save_as(path)
    read = read_reference(path, scene.image.geometry)
    assert int(on_grid(read, scene.image.geometry).mask.array.sum()) == 16
    assert read.notes == (
        "the reference also holds regions without a name, which were not taken as tumor: 2 (2 contours)",
    )


@pytest.mark.parametrize("turn", [1, -1])
def test_a_keyhole_is_a_hole(make: Any, tmp_path: Path, turn: int) -> None:
    scene = Scene(make, tmp_path)
    outer, inner = scene.box(2, (1, 5), (1, 5)), scene.box(2, (2, 4), (2, 4))[::turn]
    keyhole = np.vstack([outer, outer[:1], inner, inner[:1]])  # closes along the way that it came
    truth = scene.mask_of(block([2], range(1, 6), range(1, 6)) - block([2], range(2, 5), range(2, 5)))
    assert np.array_equal(scene.placed({"tumor": [keyhole]}).mask.array, truth)


def test_a_contour_that_crosses_itself_encloses_both_loops(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(4, 40, 40), spacing=(4.0, 0.5, 0.5))
    corners = [(9.5, 9.5), (29.5, 29.5), (29.5, 9.5), (9.5, 29.5)]  # a bow tie: two triangles of 20 x 10 voxels / 2
    points = np.array([scene.plan.point(1, row, column) for row, column in corners])
    assert abs(int(scene.placed({"tumor": [points]}).mask.array.sum()) - 200) <= 4


def test_a_contour_that_is_there_twice_counts_once(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    twice = [scene.box(2, (1, 4), (1, 4))] * 2
    assert int(scene.placed({"tumor": twice}).mask.array.sum()) == 16


@pytest.mark.parametrize("shift", [-0.3, 0.004, 0.4])
def test_contours_between_slices_go_to_the_nearest(make: Any, tmp_path: Path, shift: float) -> None:
    scene = Scene(make, tmp_path)
    placed = scene.placed({"tumor": [scene.box(s + shift, (2, 4), (1, 3)) for s in (1, 2, 3)]})
    assert np.array_equal(placed.mask.array, scene.mask_of(block([1, 2, 3], range(2, 5), range(1, 4))))


def test_contours_finer_than_the_slices_keep_their_volume(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(8, 60, 60), spacing=(4.0, 0.6, 0.6))
    # 10 planes 1 mm apart of 40 x 40 voxels of 0.6 mm: 24 x 24 x 10 mm = 5.76 ml
    placed = scene.placed({"tumor": [scene.box(2 + k / 4, (5, 44), (5, 44)) for k in range(10)]})
    assert placed.mask.array.sum() * placed.mask.geometry.voxel_ml == pytest.approx(5.76, rel=0.02)


def test_skipped_slices_are_filled_and_told(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    placed = scene.placed({"tumor": [scene.box(s, (2, 4), (1, 3)) for s in (0, 2, 5)]})
    assert np.array_equal(placed.mask.array, scene.mask_of(block(range(6), range(2, 5), range(1, 4))))
    assert "contours skip slices: 2 gaps of up to 12.0 mm" in placed.notes[0]


def test_between_two_shapes_lies_their_mean(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(5, 60, 60), spacing=(4.0, 0.5, 0.5))
    angles = np.linspace(0, 2 * np.pi, 90, endpoint=False)

    def circle(slice_: float, radius: float) -> np.ndarray:
        return np.array([scene.plan.point(slice_, 30 + radius * np.sin(a), 30 + radius * np.cos(a)) for a in angles])

    placed = scene.placed({"tumor": [circle(1, 10.3), circle(3, 20.3)]})
    areas = sorted(int(n) for n in placed.mask.array.sum(axis=(1, 2)) if n)
    assert np.allclose(areas, np.pi * np.array([10.3, 15.3, 20.3]) ** 2, rtol=0.03)  # the mean radius in the middle


def test_a_wide_gap_stays_empty_and_is_told(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(12, 10, 8))
    placed = scene.placed({"tumor": [scene.box(s, (2, 4), (1, 3)) for s in (1, 2, 8, 9)]})
    assert np.array_equal(placed.mask.array, scene.mask_of(block([1, 2, 8, 9], range(2, 5), range(1, 4))))
    assert placed.notes == ("1 gaps of 24.0 mm and more between contours were left empty",)


def test_contours_across_the_slices_keep_their_volume(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(8, 60, 60), spacing=(4.0, 0.6, 0.6))
    low, high = scene.plan.point(2.5, 10, 10), scene.plan.point(5.5, 40, 40)  # 12 x 18 x 18 mm
    axial = []
    for z in np.arange(min(low[2], high[2]) + 1.0, max(low[2], high[2]), 2.0):  # 9 planes, 2 mm apart
        corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
        axial.append(np.array([(x, y, z) for x, y in corners]))
    placed = scene.placed({"tumor": axial})
    assert len(axial) == 9
    assert placed.mask.array.sum() * placed.mask.geometry.voxel_ml == pytest.approx(12 * 18 * 18 / 1000, rel=0.02)


def test_a_sphere_of_contours_has_the_volume_of_its_discs(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, shape=(9, 60, 60), spacing=(4.0, 0.7, 0.7), cosines=DOUBLY_OBLIQUE)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    radii_mm = {s: (100.0 - (4.0 * (s - 4)) ** 2) ** 0.5 for s in range(2, 7)}  # a sphere of 10 mm about slice 4
    contours = [
        np.array([scene.plan.point(s, 30 + r / 0.7 * np.sin(a), 30 + r / 0.7 * np.cos(a)) for a in angles])
        for s, r in radii_mm.items()
    ]
    discs_ml = sum(np.pi * r**2 * 4.0 for r in radii_mm.values()) / 1000  # 4.27 ml
    polygon = 60 / (2 * np.pi) * np.sin(2 * np.pi / 60)  # area of a polygon of 60 corners over its circle's
    placed = scene.placed({"tumor": contours})
    assert placed.mask.array.sum() * placed.mask.geometry.voxel_ml == pytest.approx(discs_ml * polygon, rel=0.02)


def test_the_tumor_is_chosen_by_name_type_or_number(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    small, large = [scene.box(1, (2, 3), (1, 2))], [scene.box(1, (2, 5), (1, 4))]

    def voxels(regions: dict[str, list[Any]], selection: Selection = NO_SELECTION, **options: Any) -> int:
        return int(scene.placed(regions, selection, **options).mask.array.sum())

    assert voxels({"Canal": large, "Meningioma": small}) == 4
    assert voxels({"A": large, "B": small}, types={"A": "EXTERNAL", "B": "GTV"}) == 4
    assert voxels({"PTV tumor": large, "GTV_1": small}) == 4
    assert voxels({"A": large, "B": small}, Selection(labels=("b",))) == 4
    assert voxels({"A": large, "B": small}, Selection(numbers=(1,))) == 16
    part = [scene.box(3, (7, 8), (6, 7))]
    assert voxels({"tumor 1": small, "cord": large, "tumor 2": part}) == 8  # both
    with pytest.raises(Unusable, match="an RTSTRUCT of 2 regions, none of which is named as a tumor"):
        scene.placed({"A": large, "B": small})
    with pytest.raises(Unusable, match="none of which has a number or label that was asked for"):
        scene.placed({"A": large, "B": small}, Selection(labels=("tumor",)))


def test_overlapping_regions_are_united(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    regions = {"tumor a": [scene.box(1, (1, 4), (1, 4))], "tumor b": [scene.box(1, (3, 6), (3, 6))]}
    placed = scene.placed(regions)
    assert int(placed.mask.array.sum()) == 16 + 16 - 4
    assert placed.notes == ("2 of 2 regions of the RTSTRUCT are tumor and were used",)


def test_contours_that_enclose_nothing_are_named(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    box = scene.box(1, (2, 4), (1, 3))
    placed = scene.placed({"tumor": [box, ("POINT", box[:1]), ("OPEN_PLANAR", box), ("QUIRKE", box)]})
    assert int(placed.mask.array.sum()) == 9
    assert placed.notes == ("contours that enclose no area were left out: 1 OPEN_PLANAR, 1 POINT, 1 an unknown type",)
    with pytest.raises(Unusable, match="no contour of the RTSTRUCT encloses an area .types: 1 POINT."):
        scene.placed({"tumor": [("POINT", box[:1])]})
    with pytest.raises(Unusable, match="no contour of the RTSTRUCT encloses an area .types: no contour."):
        scene.placed({"tumor": []})


def test_contours_of_two_orientations_are_refused(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    box = scene.box(1, (2, 8), (1, 6))
    tilted = box + np.array([[0, 0, 0], [0, 0, 0], [3, 0, 0], [3, 0, 0]])
    with pytest.raises(Unusable, match="mm across their common plane; expected planar, parallel contours"):
        scene.placed({"tumor": [box, tilted]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: setattr(c, "ContourData", ["1", "2", "3", "4"]), "a contour of 4 numbers"),
        (lambda c: setattr(c, "ContourData", ["1", "2", "1e9"] * 4), "no coordinate in mm"),
        (lambda c: setattr(c, "ContourData", ["nan", "2", "3"] * 4), "no coordinate in mm|cannot be read"),
        (lambda c: delattr(c, "ContourData"), "no contour of the RTSTRUCT encloses an area"),
        (lambda c: setattr(c, "ContourData", ["1", "2", "3"] * 4), "contours that enclose no area"),
    ],
)
def test_damaged_contours_are_refused(make: Any, tmp_path: Path, change: Any, message: str) -> None:
    scene = Scene(make, tmp_path)
    path = scene.write({"tumor": [scene.box(1, (2, 4), (1, 3))]})
    dataset = pydicom.dcmread(path)
    change(dataset.ROIContourSequence[0].ContourSequence[0])
    dataset.save_as(path)
    with pytest.raises(Unusable, match=message):
        read_reference(path, scene.image.geometry)


def test_contours_far_apart_are_no_lesion(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path)
    places = [0.0, 0.11, 0.25, 2000.0]  # in slices of 4 mm
    with pytest.raises(Unusable, match="contours in planes over 8000 mm"):
        scene.placed({"tumor": [scene.box(s, (2, 4), (1, 3)) for s in places]})


def test_without_a_grid_the_contours_have_the_same_area(make: Any, tmp_path: Path) -> None:
    scene = Scene(make, tmp_path, cosines=DOUBLY_OBLIQUE)
    mask: Volume = read_reference(scene.write({"tumor": [scene.box(s, (2, 7), (1, 6)) for s in (1, 2)]})).mask
    area_mm2 = mask.array[0].sum() * np.prod(mask.geometry.spacing_xyz_mm[:2])
    assert area_mm2 == pytest.approx(6 * 0.8 * 6 * 0.6, rel=0.03)
