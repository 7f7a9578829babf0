from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.references import Reference, binary, on_grid, read_reference
from nnunet_spine.images import Volume, read_volume, reorient

ORIENTATIONS = ["LPS", "RAS", "LPI", "PIL", "ASL", "SRA", "IPR"]


def points_of(mask: Volume) -> np.ndarray:
    """LPS places of the tumor voxels, sorted, by SimpleITK's transform."""
    image = mask.image()
    indices = np.argwhere(mask.array)[:, ::-1]
    points = [image.TransformIndexToPhysicalPoint([int(v) for v in index]) for index in indices]
    return np.array(sorted(np.round(points, 3).tolist()))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_axis_order_and_direction_of_a_reference_do_not_matter(
    make: Any, tmp_path: Path, orientation: str, suffix: str
) -> None:
    grid = Volume.of(make.itk_image(make.asymmetric(), "RAS"))
    path = tmp_path / f"r{suffix}"
    sitk.WriteImage(make.itk_image(make.blob(), orientation), str(path))
    placed = on_grid(read_reference(path), reorient(grid).geometry)
    assert placed.notes == ()
    assert placed.mask.array.dtype == np.uint8
    assert np.array_equal(placed.mask.array, reorient(Volume.of(make.itk_image(make.blob()))).array)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("gap", [4.0, -4.0])
def test_a_dicom_seg_lies_on_the_voxels_it_was_drawn_on(make: Any, tmp_path: Path, kind: str, gap: float) -> None:
    plan = make.Plan(
        make.asymmetric(), cosines=(0.1736481776669303, 0.984807753012208, 0, 0, 0, -1), spacing=(gap, 0.8, 0.6)
    )
    datasets = make.datasets_of(plan)
    mask = make.blob()
    path = make.write_segmentation(
        tmp_path / "seg", datasets, mask.astype(float) if kind == "FRACTIONAL" else mask, kind=kind
    )
    image = reorient(read_series(make.write_datasets(tmp_path / "series", datasets)).volume)
    placed = on_grid(read_reference(path), image.geometry).mask
    expected = sorted(np.round([plan.point(*index) for index in np.argwhere(mask)], 3).tolist())
    assert np.allclose(points_of(placed), expected, atol=2e-3)


def test_a_dicom_seg_with_one_slice_of_tumor(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric())
    datasets = make.datasets_of(plan)
    mask = np.zeros_like(make.blob())
    mask[4, 2:4, 3] = 1
    path = make.write_segmentation(tmp_path / "seg", datasets, mask)
    image = reorient(read_series(make.write_datasets(tmp_path / "series", datasets)).volume)
    placed = on_grid(read_reference(path), image.geometry).mask
    assert np.allclose(points_of(placed), sorted(plan.point(*i).tolist() for i in np.argwhere(mask)), atol=2e-3)


def two_segments(make: Any, tmp_path: Path, labels: tuple) -> Path:
    both = np.zeros((6, 10, 8, 2), np.uint8)
    both[..., 0] = make.blob()
    both[4:, 7:, 5:, 1] = 1
    return make.write_segmentation(
        tmp_path / "seg", make.datasets_of(make.Plan(make.asymmetric())), both, labels=labels
    )


@pytest.mark.parametrize(
    ("labels", "voxels"),
    [
        ((("cord", ""), ("Lesion", "")), 2 * 3 * 3),
        ((("Tumour", "solid part"), ("peritumoral edema", "")), 13),
        ((("tumor", "cervical"), ("tumor", "lumbar")), 13 + 18),
        ((("A", "meningioma"), ("B", "normal")), 13),
    ],
)
def test_of_several_segments_the_tumor_is_taken(make: Any, tmp_path: Path, labels: tuple, voxels: int) -> None:
    reference = read_reference(two_segments(make, tmp_path, labels))
    assert int(reference.mask.array.sum()) == voxels
    assert "of 2 segments" in reference.notes[0]


def test_several_segments_without_a_tumor_are_refused(make: Any, tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="2 segments, none of which is named as a tumor"):
        read_reference(two_segments(make, tmp_path, (("cord", ""), ("disc", ""))))


def test_a_value_other_than_one_is_tumor_and_told() -> None:
    mask, told = binary(np.array([[[0, 255], [255, 0]]]))
    assert mask.tolist() == [[[0, 1], [1, 0]]]
    assert told == "the reference holds the value 255, which was taken as tumor"
    assert binary(np.array([[[0, 1]]]))[1] == ""


def test_the_values_that_were_asked_for_are_tumor_and_the_others_told() -> None:
    mask, told = binary(np.array([[[0, 1], [2, 3]]]), [2, 3])
    assert mask.tolist() == [[[0, 0], [1, 1]]]
    assert told == "the reference also holds the values 1, which were not taken as tumor"
    assert binary(np.array([[[0, 2]]]), [2])[1] == ""
    assert binary(np.array([[[0, 0]]]), [2])[0].sum() == 0  # `on_grid` says that it is empty
    with pytest.raises(Unusable, match="the values 1, 4; expected one of 2, 3, as given with --segment"):
        binary(np.array([[[0, 1], [4, 0]]]), [2, 3])


@pytest.mark.parametrize("value", [-1, 2.25])
def test_values_that_are_no_labels_are_refused(value: float) -> None:
    with pytest.raises(Unusable, match=f"the values .*{value}.*; expected whole numbers from 0 on"):
        binary(np.array([[[0, 1, value]]]))


def test_an_image_is_no_reference() -> None:
    with pytest.raises(Unusable, match="a reference with 60 different values"):
        binary(np.arange(60.0).reshape(1, 1, -1))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_is_not_finite_is_refused(make: Any, tmp_path: Path, suffix: str, value: float) -> None:
    mask = make.blob().astype(np.float32)
    mask[0, 0, :2] = value
    sitk.WriteImage(make.itk_image(mask), str(tmp_path / f"r{suffix}"))
    with pytest.raises(Unusable, match="the reference has 2 voxels that are not finite"):
        read_reference(tmp_path / f"r{suffix}")


def test_an_empty_reference_is_refused(make: Any) -> None:
    empty = Volume.of(make.itk_image(np.zeros((4, 4, 4), np.uint8)))
    with pytest.raises(Unusable, match="is empty"):
        on_grid(Reference(empty), empty.geometry)


def test_a_reference_elsewhere_is_refused(make: Any) -> None:
    image = Volume.of(make.itk_image(make.asymmetric()))
    away = Volume.of(make.itk_image(make.blob(), origin=(500.0, 0.0, 0.0)))
    with pytest.raises(Unusable, match="no tumor voxel of the reference lies on the image"):
        on_grid(Reference(away), image.geometry)


def test_a_finer_grid_is_resampled_by_place(make: Any) -> None:
    image = Volume.of(make.itk_image(make.asymmetric((6, 10, 8))))
    coarse = make.blob()
    fine = sitk.GetImageFromArray(np.kron(coarse, np.ones((3, 3, 3), np.uint8)))
    fine.SetSpacing(tuple(s / 3 for s in image.geometry.spacing_xyz_mm))
    fine.SetOrigin(
        tuple(o - s / 3 for o, s in zip(image.geometry.origin_xyz_mm, image.geometry.spacing_xyz_mm, strict=True))
    )
    placed = on_grid(Reference(Volume.of(fine)), image.geometry)
    assert np.array_equal(placed.mask.array, coarse)
    assert placed.notes == ()


def test_a_lesion_cut_by_the_image_is_told(make: Any) -> None:
    image = Volume.of(make.itk_image(make.asymmetric((2, 10, 8))))
    placed = on_grid(Reference(Volume.of(make.itk_image(make.blob()))), image.geometry)
    assert placed.mask.array.sum() == 6  # of 13: the second slice of the lesion lies beyond
    assert "the lesion has 0.01 ml on the image's grid, 0.02 ml on its own" in placed.notes


def test_a_text_file_is_no_reference(tmp_path: Path) -> None:
    for name in ("r.nii.gz", "r.txt"):
        (tmp_path / name).write_text("nothing")
        with pytest.raises(Unusable, match="cannot be read"):
            read_reference(tmp_path / name)


def test_what_is_written_reads_back(make: Any, tmp_path: Path) -> None:
    sitk.WriteImage(make.itk_image(make.blob(), "RAS"), str(tmp_path / "a.nii.gz"))
    assert read_volume(tmp_path / "a.nii.gz").array.sum() == 13
