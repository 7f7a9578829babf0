"""DICOM SEG files written with highdicom, as different tools leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from nnunet_spine.dataset_conversion.dicom_reading import read_series
from nnunet_spine.dataset_conversion.problems import Unusable
from nnunet_spine.dataset_conversion.reference_selection import NO_SELECTION, Selection
from nnunet_spine.dataset_conversion.references import on_grid, read_reference
from nnunet_spine.images import Volume, reorient

NAMELESS = (("A", ""), ("B", ""))


def image_of(make: Any, folder: Path, datasets: list[Any]) -> Volume:
    return reorient(read_series(make.write_datasets(folder / "series", datasets)).volume)


def on_image(image: Volume, plan: Any, mask: np.ndarray) -> np.ndarray:
    """A mask (slice, row, column) on the image's grid, by the DICOM equation and SimpleITK."""
    truth = np.zeros(image.array.shape, np.uint8)
    for voxel in np.argwhere(mask):
        x, y, z = image.image().TransformPhysicalPointToIndex([float(v) for v in plan.point(*voxel)])
        truth[z, y, x] = 1
    return truth


def rewrite_spacing(path: Path, between_slices: float | None) -> None:
    """Write another Spacing Between Slices into a DICOM SEG, or none."""
    dataset = pydicom.dcmread(path)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    del measures.SpacingBetweenSlices
    if between_slices is not None:
        measures.SpacingBetweenSlices = between_slices
    dataset.save_as(path)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize("written", [4.0, None, 3.0])  # the truth, absent, and the thickness without the gap
@pytest.mark.parametrize("slices", [[2], [1, 5], [1, 2], [0, 3, 5]])
def test_left_out_slices_are_empty_and_the_others_stay_in_place(
    make: Any, tmp_path: Path, slices: list[int], written: float | None, kind: str
) -> None:
    plan = make.Plan(make.asymmetric((8, 10, 8)), spacing=(-4.0, 0.8, 0.6))
    datasets = make.datasets_of(plan)
    mask = np.zeros((8, 10, 8), np.uint8)
    mask[slices, 3:5, 2:4] = 1
    path = make.write_segmentation(tmp_path / "seg", datasets, mask, kind=kind)
    rewrite_spacing(path, written)
    image = image_of(make, tmp_path, datasets)
    placed = on_grid(read_reference(path, image.geometry), image.geometry)
    assert np.array_equal(placed.mask.array, on_image(image, plan, mask))
    assert placed.notes == ()


@pytest.mark.parametrize("most", [255, 100, 10])
@pytest.mark.parametrize(("fraction", "voxels"), [(0.3, 4), (0.5, 3), (0.7, 2), (1.0, 1)])
@pytest.mark.parametrize("kind", ["PROBABILITY", "OCCUPANCY"])
def test_a_fraction_counts_from_the_threshold_on(
    make: Any, tmp_path: Path, most: int, fraction: float, voxels: int, kind: str
) -> None:
    shares = np.zeros((6, 10, 8))
    shares[2, 3, 1:6] = [0.2, 0.3, 0.5, 0.7, 1.0] if most < 255 else [0.2, 77 / 255, 128 / 255, 179 / 255, 1.0]
    path = make.write_segmentation(
        tmp_path / "seg",
        make.datasets_of(make.Plan(make.asymmetric())),
        shares,
        kind="FRACTIONAL",
        max_fractional_value=most,
        fractional_type=kind,
    )
    assert int(read_reference(path, None, Selection(fraction=fraction)).mask.array.sum()) == voxels


def test_several_fractional_segments_are_united(make: Any, tmp_path: Path) -> None:
    shares = np.zeros((6, 10, 8, 2))
    shares[2, 3, 1:4, 0] = [0.4, 0.6, 0.6]
    shares[2, 3, 1:4, 1] = [0.4, 0.1, 0.9]
    datasets = make.datasets_of(make.Plan(make.asymmetric()))
    labels = (("tumor solid", ""), ("tumor rest", ""))
    path = make.write_segmentation(tmp_path / "seg", datasets, shares, labels=labels, kind="FRACTIONAL")
    assert int(read_reference(path).mask.array.sum()) == 2  # twice 0.4 is not tumor: no segment reaches 0.5


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
@pytest.mark.parametrize(
    ("selection", "voxels"),
    [
        (NO_SELECTION, 18),  # by its coded type
        (Selection(labels=("a",)), 13),
        (Selection(labels=("A", "B")), 31),
        (Selection(labels=("85756007",)), 13),  # the code of tissue
        (Selection(labels=("Neoplasm",)), 18),
        (Selection(numbers=(1,)), 13),
        (Selection(numbers=(1, 2)), 31),
        (Selection(labels=("b",), numbers=(1,)), 31),
    ],
)
def test_segments_are_chosen_by_coded_type_label_or_number(
    make: Any, tmp_path: Path, selection: Selection, voxels: int, kind: str
) -> None:
    both = np.zeros((6, 10, 8, 2), np.uint8)
    both[..., 0] = make.blob()
    both[4:, 7:, 5:, 1] = 1
    path = make.write_segmentation(
        tmp_path / "seg",
        make.datasets_of(make.Plan(make.asymmetric())),
        both,
        labels=NAMELESS,
        property_types=(codes.SCT.Tissue, codes.SCT.Neoplasm),
        kind=kind,
    )
    assert int(read_reference(path, None, selection).mask.array.sum()) == voxels


def test_what_was_asked_for_and_is_not_there_is_refused(make: Any, tmp_path: Path) -> None:
    path = make.write_segmentation(tmp_path / "seg", make.datasets_of(make.Plan(make.asymmetric())), make.blob())
    for selection in (Selection(labels=("cord",)), Selection(numbers=(2,))):
        with pytest.raises(Unusable, match="1 segment, which has no number or label that was asked for"):
            read_reference(path, None, selection)


def test_a_seg_across_the_slices_keeps_place_and_volume(make: Any, tmp_path: Path) -> None:
    plan = make.Plan(make.asymmetric((8, 40, 40)), spacing=(4.0, 0.8, 0.8))
    datasets = make.datasets_of(plan)
    image = image_of(make, tmp_path, datasets)
    low, high = np.sort([plan.point(1.5, 9.5, 9.5), plan.point(5.5, 29.5, 29.5)], axis=0)  # 16 x 16 x 16 mm
    # Axial frames of 1 x 1 mm, 2 mm apart, over the box and some about it.
    counts = np.array([22, 22, 12])
    first = low - np.array([3, 3, 4]) + np.array([0.5, 0.5, 1.0])
    x, y, z = (first[i] + np.arange(counts[i]) * (1, 1, 2)[i] for i in range(3))
    inside = [(along > low[i]) & (along < high[i]) for i, along in enumerate((x, y, z))]
    mask = (inside[2][:, None, None] & inside[1][None, :, None] & inside[0][None, None, :]).astype(np.uint8)
    path = make.write_segmentation(
        tmp_path / "seg",
        datasets,
        mask,
        pixel_measures=highdicom.PixelMeasuresSequence((1.0, 1.0), 2.0, 2.0),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", (1, 0, 0, 0, 1, 0)),
        plane_positions=[highdicom.PlanePositionSequence("PATIENT", (first[0], first[1], place)) for place in z],
    )
    placed = on_grid(read_reference(path, image.geometry), image.geometry)
    truth = np.zeros((8, 40, 40), np.uint8)
    truth[2:6, 10:30, 10:30] = 1
    before_ml = mask.sum() * 0.002
    assert placed.mask.array.sum() * image.geometry.voxel_ml == pytest.approx(before_ml, rel=0.02)
    overlap = (placed.mask.array & on_image(image, plan, truth)).sum()
    assert 2 * overlap / (placed.mask.array.sum() + truth.sum()) > 0.98
