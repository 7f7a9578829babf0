"""The viewer's volumes, read back by nibabel: on the place of the case's own files, masks exact, intensities near."""

import base64
import gzip
import json
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

import nnunet_spine.reporting
from nnunet_spine.evaluation.policy import MaskState
from nnunet_spine.evaluation.results import CaseResult
from nnunet_spine.reporting import viewer
from nnunet_spine.reporting.case_volumes import CaseFiles, read_case
from nnunet_spine.reporting.viewer import viewer_content, viewer_script

SHAPE = (6, 300, 280)
RESULT = CaseResult("a", "a", 0, 0.5, True, MaskState.PRESENT, MaskState.PRESENT)
VENDOR = Path(nnunet_spine.reporting.__file__).parent / "vendor"


def write(path: Path, array: np.ndarray) -> Path:
    """Stored as a converted case is: x to posterior, y to inferior, z to left, slightly oblique."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.8, 1.0, 4.0))
    image.SetOrigin((-12.0, -100.0, 150.0))
    c, s = np.cos(0.1), np.sin(0.1)
    x, y, z = (s, c, 0.0), (0.0, 0.0, -1.0), (c, -s, 0.0)
    image.SetDirection([*np.array([x, y, z]).T.flatten()])
    sitk.WriteImage(image, str(path))
    return path


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(0)
    reference, prediction = (np.zeros(SHAPE, np.uint8) for _ in range(2))
    reference[2:4, 140:150, 100:120] = 1
    prediction[3:5, 145:160, 110:125] = 1
    return CaseFiles(
        write(tmp_path / "a_0000.nii.gz", rng.integers(-50, 900, SHAPE).astype(np.int16)),
        write(tmp_path / "reference.nii.gz", reference),
        {"A": RESULT},
        {"A": write(tmp_path / "prediction.nii.gz", prediction)},
    )


def layers_of(script: str) -> dict[str, nib.Nifti1Image]:
    content = json.loads(script.removeprefix("window.spineCase = ").removesuffix(";\n"))
    packed = {layer["label"]: base64.b64decode(layer["base64"]) for layer in content["layers"]}
    return {label: nib.Nifti1Image.from_bytes(gzip.decompress(data)) for label, data in packed.items()}


def test_voxels_lie_where_those_of_the_case_lie(files):
    layers = layers_of(viewer_script(viewer_content(read_case("a", files))))
    assert list(layers) == ["Image", "Annotation", "Prediction"]
    for label, path in (("Annotation", files.reference), ("Prediction", files.predictions["A"])):
        whole, crop = nib.load(path), layers[label]
        places = [
            nib.affines.apply_affine(volume.affine, np.argwhere(np.asarray(volume.dataobj) > 0))
            for volume in (whole, crop)
        ]
        np.testing.assert_allclose(places[1], places[0], atol=1e-3)
    # The masks' rows 140 to 160 and columns 100 to 125 with 40 mm on each side are less than 160 mm: 160 rows of 1 mm,
    # 200 columns of 0.8 mm. All 6 slices are within 40 mm.
    assert layers["Image"].shape == (200, 160, 6)


def test_intensities_keep_their_unit_within_half_a_level(files):
    crop = layers_of(viewer_script(viewer_content(read_case("a", files))))["Image"]
    whole = nib.load(files.image)
    x, y, z = np.rint(nib.affines.apply_affine(np.linalg.inv(whole.affine) @ crop.affine, (0, 0, 0))).astype(int)
    expected = np.asarray(whole.dataobj)[x : x + 200, y : y + 160, z : z + 6]
    step = float(crop.dataobj.slope)
    assert 949 / 255 * 0.99 < step < 949 / 255 * 1.01
    clipped = expected > 255 * step - 50
    assert clipped.mean() <= 0.001
    assert np.abs(crop.get_fdata() - expected)[~clipped].max() <= step / 2 + 1e-3


def test_slices_are_counted_as_in_the_image(files):
    content = viewer_content(read_case("a", files))
    assert (content.first_slice, content.last_slice, content.slices, content.left_is_last) == (1, 6, 6, True)
    assert "slices 1 to 6 of 6" in content.caption
    assert "not resampled" in content.caption
    assert "256 levels" in content.caption


def test_it_opens_in_the_annotation(files):
    content = viewer_content(read_case("a", files))
    annotation = nib.load(files.reference)
    x, y, z = np.rint(nib.affines.apply_affine(np.linalg.inv(annotation.affine), content.position_mm)).astype(int)
    assert np.asarray(annotation.dataobj)[x, y, z] == 1


def test_equal_input_gives_an_equal_script(files):
    assert viewer_script(viewer_content(read_case("a", files))) == viewer_script(viewer_content(read_case("a", files)))


def test_a_large_case_is_cropped_to_fewer_slices_and_a_larger_one_has_no_viewer(files, monkeypatch):
    # 200 x 160 voxels a slice; the masks are on slices 3 to 5, and 4 mm apart.
    monkeypatch.setattr(viewer, "MOST_VOXELS", 200 * 160 * 5)
    monkeypatch.setattr(viewer, "SLICE_MARGINS_MM", (40.0, 4.0, 0.0))
    content = viewer_content(read_case("a", files))
    assert (content.first_slice, content.last_slice) == (2, 6)
    monkeypatch.setattr(viewer, "MOST_VOXELS", 200 * 160 * 3 - 1)
    assert viewer_content(read_case("a", files)).startswith("0.1 million voxels around the tumor are more than")


def test_a_constant_image_has_a_viewer(files, tmp_path):
    write(files.image, np.full(SHAPE, 7, np.int16))
    image = layers_of(viewer_script(viewer_content(read_case("a", files))))["Image"]
    assert (image.get_fdata() == 7).all()


def test_vendored_file_is_the_recorded_one_and_has_its_licence():
    about = json.loads((VENDOR / "niivue.json").read_text(encoding="utf-8"))
    assert sha256((VENDOR / about["file"]).read_bytes()).hexdigest() == about["sha256"]
    licence = (VENDOR / "niivue.LICENSE.txt").read_text(encoding="utf-8")
    assert f"@niivue/niivue {about['version']} (BSD-2-Clause)" in licence
    assert "Copyright (c) 2021, Niivue" in licence
