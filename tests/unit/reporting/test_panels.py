import io
import re

import numpy as np
import pytest
from PIL import Image

from nnunet_spine.reporting.panels import (
    LONGEST_SIDE_PIXELS,
    Window,
    grey_png,
    grey_range,
    largest_slice,
    outline_path,
    window_around,
)


def points(path: str) -> np.ndarray:
    return np.array([[float(v) for v in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])


def test_largest_slice_is_of_area_not_of_index():
    mask = np.zeros((4, 5, 5), bool)
    mask[1, :2, :2] = mask[2, :3, :3] = mask[3, :1, :1] = True
    assert largest_slice(mask) == 2
    assert largest_slice(np.zeros((4, 5, 5), bool)) is None


def test_outline_of_one_voxel_is_centred_on_it_in_mm():
    plane = np.zeros((4, 6), bool)
    plane[1, 3] = True
    found = points(outline_path(plane, (2.0, 0.5)))
    assert found.mean(axis=0) == pytest.approx([3.5 * 0.5, 1.5 * 2.0], abs=0.06)  # x, then y
    assert np.ptp(found, axis=0) == pytest.approx([0.5, 2.0], abs=0.11)


def test_outline_at_the_edge_is_closed():
    path = outline_path(np.ones((3, 3), bool), (1.0, 1.0))
    assert path.startswith("M")
    assert path.endswith("Z")
    assert np.ptp(points(path), axis=0) == pytest.approx([3, 3])


def test_outline_has_a_part_for_each_component_and_hole():
    plane = np.zeros((9, 9), bool)
    plane[1:6, 1:6] = True
    plane[3, 3] = False
    plane[7, 7] = True
    assert outline_path(plane, (1.0, 1.0)).count("M") == 3
    assert outline_path(np.zeros((3, 3), bool), (1.0, 1.0)) == ""


def test_window_holds_all_masks_with_a_margin():
    first, second = np.zeros((2, 400, 400), bool), np.zeros((2, 400, 400), bool)
    first[0, 100, 200] = second[1, 300, 250] = True
    window = window_around([first, second], (400, 400), (1.0, 1.0))
    assert (window.y_start, window.y_stop) == (60, 341)  # 40 mm on both sides
    assert (window.x_stop - window.x_start) == 160
    assert window.size_mm((1.0, 2.0)) == (281, 320)


def test_window_is_pushed_back_into_the_image():
    mask = np.zeros((1, 300, 300), bool)
    mask[0, 2, 297] = True
    assert window_around([mask], (300, 300), (1.0, 1.0)) == Window(0, 160, 140, 300)


def test_window_is_the_whole_of_a_small_image_and_of_one_without_a_mask():
    mask = np.zeros((1, 50, 60), bool)
    assert window_around([mask], (50, 60), (1.0, 1.0)) == Window(0, 50, 0, 60)
    mask[0, 10, 10] = True
    assert window_around([mask], (50, 60), (1.0, 1.0)) == Window(0, 50, 0, 60)


def test_grey_png_maps_the_range_and_shrinks_what_is_large():
    plane = np.array([[-5.0, 0.0, 10.0, 99.0]])
    picture = np.asarray(Image.open(io.BytesIO(grey_png(plane, 0.0, 10.0))))
    assert picture.tolist() == [[0, 0, 255, 255]]
    large = Image.open(io.BytesIO(grey_png(np.zeros((1000, 500)), 0.0, 1.0)))
    assert large.size == (LONGEST_SIDE_PIXELS // 2, LONGEST_SIDE_PIXELS)


def test_a_constant_image_gives_a_picture():
    array = np.full((2, 4, 4), 7, np.int16)
    assert Image.open(io.BytesIO(grey_png(array[0], *grey_range(array)))).size == (4, 4)
