from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume
from nnunet_spine.preprocessing.advice import findings
from nnunet_spine.preprocessing.bias import correct_bias
from nnunet_spine.preprocessing.mixture import Classes
from nnunet_spine.protocol import BiasMethod
from nnunet_spine.reporting import field_picture
from nnunet_spine.reporting.bias_page import BiasPage, draw_case, failed_case, write_bias_page
from nnunet_spine.reporting.bias_words import confidence_text, gamma_note
from nnunet_spine.reporting.display_slice import middle_slice
from nnunet_spine.reporting.figures import DARK, LIGHT
from nnunet_spine.reporting.histogram import LogIntensities, class_densities, histogram_png, nice_intensities

IDENTITY = (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)
SAGITTAL = (0, 0, 1.0, 1.0, 0, 0, 0, 1.0, 0)
"""Columns x, y, z: to posterior, to superior, to left (LPS)."""


def geometry(size: tuple[int, int, int], spacing: tuple[float, float, float], direction: tuple = IDENTITY) -> Geometry:
    return Geometry(size, spacing, (0.0, 0.0, 0.0), direction)


@pytest.mark.parametrize(
    ("size", "spacing", "direction", "plane", "axis", "index"),
    [
        ((60, 64, 12), (1, 1, 4), IDENTITY, "axial", 0, 6),
        ((60, 12, 64), (1, 4, 1), IDENTITY, "coronal", 1, 6),
        ((12, 60, 64), (4, 1, 1), IDENTITY, "sagittal", 2, 6),
        ((38, 257, 201), (1, 1, 1), IDENTITY, "sagittal", 2, 19),  # no thick slices: across the thinnest side
        ((60, 64, 13), (1, 1, 4), SAGITTAL, "sagittal", 0, 6),
    ],
)
def test_the_slice_is_the_middle_one_of_the_acquired_plane(size, spacing, direction, plane, axis, index) -> None:
    chosen = middle_slice(geometry(size, spacing, direction))
    assert (chosen.plane, chosen.axis, chosen.index) == (plane, axis, index)


def test_superior_is_up_and_anterior_left_on_a_sagittal_slice() -> None:
    # Array (z, y, x): y grows to superior and x to posterior, so superior-anterior is the last y, the first x.
    array = np.zeros((5, 8, 6))
    array[2, -1, 0] = 1
    chosen = middle_slice(geometry((6, 8, 5), (1, 2, 9), SAGITTAL))
    shown = chosen.of(array)
    assert shown.array.shape == (1, 8, 6)
    assert shown.array[0, 0, 0] == 1
    assert shown.geometry.spacing_zyx_mm == (9, 2, 1)
    assert chosen.sides == "superior up, anterior left"


def test_right_of_the_patient_is_left_on_an_axial_slice() -> None:
    array = np.zeros((5, 8, 6))
    array[2, 0, 0] = 1  # flipped axes: index 0 is left and posterior
    flipped = (-1.0, 0, 0, 0, -1.0, 0, 0, 0, 1.0)
    shown = middle_slice(geometry((6, 8, 5), (1, 1, 9), flipped)).of(array)
    assert shown.array[0, -1, -1] == 1


def test_the_fields_colours_run_from_purple_over_white_to_orange() -> None:
    field = np.exp(np.array([[-9.0, -0.5, 0.0, 0.5, 9.0]]))
    picture = np.asarray(Image.open(io.BytesIO(field_picture.field_png(field, 0.5))).convert("RGB"), int)[0]
    assert picture[0].tolist() == picture[1].tolist()  # beyond the end, the end's
    assert picture[3].tolist() == picture[4].tolist()
    assert picture[2].min() > 240
    assert picture[1][2] > picture[1][1]  # purple: blue over green
    assert picture[3][0] > picture[3][2]  # orange: red over blue


def test_the_scale_has_numbers() -> None:
    assert field_picture.tick_labels(float(np.log(4))) == ("x0.25", "x0.50", "x1.00", "x2.00", "x4.00")
    assert field_picture.colour_limit(np.zeros(9)) == pytest.approx(np.log(1.1))
    assert field_picture.colour_limit(np.array([-0.7, 0.1])) == pytest.approx(0.7, abs=0.01)
    assert field_picture.colour_limit(np.empty(0)) == pytest.approx(np.log(1.1))


def test_the_classes_are_drawn_as_densities() -> None:
    classes = Classes(np.array([0.0, 2.0]), np.array([1.0, 0.25]), np.array([0.25, 0.75]))
    at = np.linspace(-8, 10, 4000)
    each = class_densities(classes, at)
    assert each.sum(axis=1) * (at[1] - at[0]) == pytest.approx([0.25, 0.75], abs=1e-3)
    assert each[0].max() == pytest.approx(0.25 * 0.39894, abs=1e-4)  # 1 / sqrt(2 pi)


def test_ticks_are_round_intensities() -> None:
    assert nice_intensities(np.log(9), np.log(80)) == [10, 20, 30, 50, 70]
    assert nice_intensities(np.log(11.04), np.log(12.08)) == [11, 12.1]
    assert len(nice_intensities(np.log(1e-6), np.log(1e6))) <= 10


def test_a_histogram_is_drawn_of_anything() -> None:
    values = np.array([3.0] * 5)
    assert histogram_png(LogIntensities(values, values, None), LIGHT).startswith(b"\x89PNG")
    spread = np.linspace(0, 5, 200)
    classes = Classes(np.array([2.0]), np.array([0.5]), np.array([1.0]))
    drawn = [
        histogram_png(LogIntensities(spread, spread / 2, c), theme) for c in (None, classes) for theme in (LIGHT, DARK)
    ]
    assert len(set(drawn)) == 4
    assert histogram_png(LogIntensities(spread, spread / 2, classes), DARK) == drawn[3]


def test_words() -> None:
    assert [confidence_text(c) for c in (None, 0.0, 0.82, 0.9901)] == ["-", "0.00", "0.82", ">0.99"]
    assert gamma_note(1.0) == ""
    assert "Gamma 0.7 came first" in gamma_note(0.7)


def volume() -> Volume:
    """A chequered body in air, under a field that grows along x."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (12, 64, 60)), indexing="ij")
    rng = np.random.default_rng(0)
    tissue = np.where(np.sin(12 * x) * np.sin(10 * y) * np.sin(5 * z + 1) > 0, 160.0, 90.0) * (x**2 + y**2 < 0.8)
    measured = np.hypot(tissue * np.exp(0.5 * x) + rng.normal(0, 3, x.shape), rng.normal(0, 3, x.shape))
    return Volume(measured.astype(np.float32), geometry((60, 64, 12), (2.0, 3.0, 8.0)))


def drawn(name: str, method: BiasMethod = BiasMethod.VAN_LEEMPUT, gamma: float = 1.0):
    image = volume()
    correction = correct_bias(image.array, image.geometry.spacing_zyx_mm, method)
    return draw_case(name, image, correction, findings(correction), gamma=gamma)


def page_text(path: Path, *cases, gamma: float = 1.0, method: BiasMethod = BiasMethod.VAN_LEEMPUT) -> str:
    write_bias_page(path, BiasPage(method, gamma, cases))
    return path.read_text(encoding="utf-8")


def test_the_page_is_whole_and_shows_each_image(tmp_path: Path, page_of) -> None:
    cases = [drawn("a.nii.gz"), drawn("b&b.mha", BiasMethod.N4), drawn("c.nrrd", BiasMethod.NONE)]
    text = page_text(tmp_path / "page.html", *cases, failed_case("d.mha", "d.mha: <damaged>"))
    page = page_of(text)
    page.assert_whole()
    assert text.count("<article") == 4
    assert "b&amp;b.mha" in text
    assert "d.mha: &lt;damaged&gt;" in text
    for png in re.findall(r"data:image/png;base64,([\w+/=]+)", text):
        Image.open(io.BytesIO(base64.b64decode(png))).verify()
    labels = [attributes["aria-label"] for tag, attributes in page.elements if tag == "svg"]
    assert len(labels) == 9
    assert labels[0] == "a.nii.gz, axial slice 7 of 12, before correction"
    assert re.fullmatch(r"a\.nii\.gz, axial slice 7 of 12, field from x0\.\d\d to x1\.\d\d", labels[1])
    assert all(attributes["alt"] for tag, attributes in page.elements if tag == "img")
    boxes = [attributes["viewbox"] for tag, attributes in page.elements if tag == "svg"]
    assert set(boxes) == {"0 0 120.0 192.0"}  # 60 voxels of 2 mm, 64 of 3 mm


def test_classes_belong_to_the_method_that_has_them() -> None:
    fitted, n4 = drawn("a").histogram, drawn("a", BiasMethod.N4).histogram
    assert fitted is not None
    assert n4 is not None
    assert "fitted classes" in fitted.caption
    assert "classes" not in n4.caption
    assert drawn("a", BiasMethod.NONE).histogram is None
    before, after = map(float, re.findall(r"SD (\d\.\d\d) before, (\d\.\d\d) after", fitted.alt)[0])
    assert after < before


def test_original_and_corrected_have_one_grey_scale() -> None:
    panels = drawn("a", BiasMethod.NONE).panels
    assert panels[0].picture == panels[2].picture
    corrected = drawn("a").panels
    assert corrected[0].picture != corrected[2].picture


def test_gamma_is_said_on_the_page(tmp_path: Path) -> None:
    plain, gamma = (page_text(tmp_path / "p.html", drawn("a", gamma=g), gamma=g) for g in (1.0, 0.7))
    assert "gamma" not in re.sub(r"base64,[\w+/=]+", "", plain).lower()
    assert '<p class="title">Original</p>' in plain
    assert "percentile of the field after gamma 0.7 in tissue" in gamma
    assert '<p class="title">After gamma 0.7</p>' in gamma
    assert "about their power of 1/0.7" in gamma


def test_equal_inputs_give_equal_bytes(tmp_path: Path) -> None:
    assert page_text(tmp_path / "a.html", drawn("a")) == page_text(tmp_path / "b.html", drawn("a"))
