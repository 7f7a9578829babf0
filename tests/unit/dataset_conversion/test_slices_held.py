"""A reference that covers slices which the image does not hold is an error; one that is cut in plane is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.dataset_conversion.case_conversion import Job, convert_case
from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.mask_place import check_slices
from nnunet_spine.dataset_conversion.problems import Severity, Unusable
from nnunet_spine.dataset_conversion.references import Reference, on_grid, read_reference
from nnunet_spine.dataset_conversion.sources import Details, Identity, SourceCase
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, reorient

SLICES_MM, PIXEL_MM = 4.0, 0.5
OBLIQUE = (-0.17101007, 0.96984631, -0.17364818, 0.0301537, -0.17101007, -0.98480775)


def grid(slices: int, *, first: float = 0.0, spacing: float = SLICES_MM, side: int = 20) -> Geometry:
    """Sagittal slices along x from `first` (in slices of 4 mm) on."""
    size, steps = (slices, side, side), (spacing, PIXEL_MM, PIXEL_MM)
    return Geometry(size, steps, (first * SLICES_MM, 0.0, 0.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))


def drawn(geometry: Geometry, slices: slice) -> Volume:
    array = np.zeros(geometry.shape_zyx, np.uint8)
    array[5:9, 5:9, slices] = 1  # 16 voxels a slice
    return Volume(array, geometry)


@pytest.mark.parametrize(
    ("image", "slices", "voxels", "count"),
    [
        (grid(6), slice(4, 8), 32, 2),  # slices 6 and 7 of 8
        (grid(6, first=3), slice(2, 5), 16, 1),  # slice 2, before the first
        (grid(3, first=3), slice(0, 10), 112, 7),  # on both sides
    ],
)
def test_marks_on_slices_that_are_not_there_are_refused(
    image: Geometry, slices: slice, voxels: int, count: int
) -> None:
    mask = drawn(grid(10), slices)
    message = (
        f"marks {voxels} of its {int(mask.array.sum())} voxels on {count} slices that the image of {image.size_xyz[0]}"
    )
    with pytest.raises(Unusable, match=message):
        on_grid(Reference(mask), reorient(Volume(np.zeros(image.shape_zyx), image)).geometry)


@pytest.mark.parametrize(
    ("first", "spacing", "slices", "is_refused"),
    [
        (0.0, 4.0, slice(0, 6), False),
        (-0.89, 4.0, slice(0, 6), False),  # less than 0.9 slices before the first
        (-0.91, 4.0, slice(0, 6), True),
        (0.89, 4.0, slice(0, 6), False),
        (0.91, 4.0, slice(0, 6), True),
        (0.0, 1.0, slice(0, 24), False),  # finer slices: the last lies at 5.75
        (0.0, 1.0, slice(0, 25), True),  # at 6.0
    ],
)
def test_by_less_than_a_slice_nothing_is_missing(first: float, spacing: float, slices: slice, is_refused: bool) -> None:
    mask = drawn(grid(30, first=first, spacing=spacing), slices)
    if is_refused:
        with pytest.raises(Unusable, match="slices that the image of 6 slices does not hold"):
            check_slices(mask, grid(6))
    else:
        check_slices(mask, grid(6))


def test_what_is_cut_in_plane_is_told() -> None:
    image = Geometry((6, 8, 8), (SLICES_MM, PIXEL_MM, PIXEL_MM), (0.0, 0.0, 0.0), tuple(np.eye(3).ravel()))
    placed = on_grid(Reference(drawn(grid(6), slice(1, 4))), image)
    assert int(placed.mask.array.sum()) == 27  # rows and columns 5 to 7 of 5 to 8
    assert "44 % of the reference lies outside the image and was cut off" in placed.notes


@pytest.mark.parametrize("kind", ["seg", "rt"])
@pytest.mark.parametrize(("kept", "missing"), [(slice(0, 4), 1), (slice(3, 8), 1), (slice(0, 8), 0)])
def test_references_of_a_whole_series_on_a_part_of_it(
    make: Any, tmp_path: Path, kind: str, kept: slice, missing: int
) -> None:
    plan = make.Plan(make.asymmetric((8, 10, 9)), cosines=OBLIQUE)
    datasets = make.datasets_of(plan)
    if kind == "seg":
        mask = np.zeros((8, 10, 9), np.uint8)
        mask[2:5, 3:7, 2:6] = 1
        path = make.write_segmentation(tmp_path / "s", datasets, mask)
    else:
        contours = [make.outline(plan, k, (3, 6), (2, 5)) for k in (2, 3, 4)]
        path = make.write_structure_set(tmp_path / "s", datasets, {"tumor": contours})
    image = reorient(read_series(make.write_datasets(tmp_path / "mr", datasets[kept])).volume)
    reference = read_reference(path, image.geometry)
    if not missing:
        assert int(on_grid(reference, image.geometry).mask.array.sum()) == 48
        return
    with pytest.raises(Unusable, match=f"on {missing} slices that the image of {len(datasets[kept])} slices does not"):
        on_grid(reference, image.geometry)


def test_a_conversion_leaves_the_case_out(make: Any, tmp_path: Path) -> None:
    image = grid(6)
    values = Volume(np.random.default_rng(3).integers(1, 500, image.shape_zyx).astype(np.int16), image)
    sitk.WriteImage(values.image(), str(tmp_path / "i.nii.gz"))
    sitk.WriteImage(drawn(grid(9), slice(4, 8)).image(), str(tmp_path / "r.nii.gz"))
    source = SourceCase("row 2", (tmp_path / "i.nii.gz",), tmp_path / "r.nii.gz", Details(), Identity())
    outcome = convert_case(Job(source, tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"))
    (problem,) = outcome.problems
    assert (problem.severity, problem.where) == (Severity.ERROR, "row 2")
    assert problem.found.startswith("the reference marks 32 of its 64 voxels on 2 slices")
    assert not (tmp_path / "a.nii.gz").exists()
