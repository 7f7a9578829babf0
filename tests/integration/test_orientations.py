"""A trained network gives the same segmentation in space however an image is stored, in `predict` and under nnU-Net."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from test_nnunet_commands import shell
from training_processes import COMMAND, environment, run

from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.planning import plan_dataset
from nnunet_spine.nnunet.preprocessing_run import preprocess_dataset
from nnunet_spine.training.run import TrainingJob, train_fold

CODES = [
    "".join(letters) for axes in itertools.permutations(("LR", "PA", "SI")) for letters in itertools.product(*axes)
]
ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
MODEL = "-d 58 -c 3d_fullres -tr nnUNetTrainerSpine -p nnUNetSpinePlans -f 0 -device cpu -npp 1 -nps 1"


def tilted(path: Path, degrees: float) -> sitk.Image:
    """An image turned about the long axis of the body, as an oblique acquisition is."""
    image = sitk.ReadImage(str(path))
    turn = np.radians(degrees)
    about = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    image.SetDirection((about @ np.reshape(image.GetDirection(), (3, 3))).ravel())
    return image


@pytest.fixture(scope="module")
def stored(tiny, tmp_path_factory) -> Path:
    """One oblique image, stored in all 48 orders of axes, its formats in turn; and once more in NIfTI alone."""
    folder = tmp_path_factory.mktemp("stored")
    image = tilted(tiny.raw / "imagesTs" / "new_100_0000.nii.gz", 12.0)
    for number, code in enumerate(CODES):
        sitk.WriteImage(sitk.DICOMOrient(image, code), str(folder / f"{code}_0000{ENDINGS[number % 4]}"))
    return folder


@pytest.fixture(scope="module")
def predicted(stored: Path, tiny, trained, tmp_path_factory) -> tuple[Path, str]:
    """What `predict` made of them, and what it said."""
    output = tmp_path_factory.mktemp("predicted") / "out"
    options = ["--input", str(stored), "--output", str(output), "--device", "cpu", "--save-probabilities"]
    done = run([*COMMAND, "predict", "58", *options], **environment(tiny, trained.results))
    assert done.returncode == 0, done.stderr
    return output, done.stderr


def in_ras(array_xyz: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """An array in nibabel's order, by nibabel."""
    return nibabel.orientations.apply_orientation(array_xyz, nibabel.io_orientation(affine))


def test_all_48_orders_of_axes_give_one_segmentation(stored: Path, predicted: tuple[Path, str]) -> None:
    output, _ = predicted
    masks, chances = {}, {}
    for number, code in enumerate(CODES):
        image = sitk.ReadImage(str(stored / f"{code}_0000{ENDINGS[number % 4]}"))
        mask = nibabel.load(output / f"{code}.nii.gz")
        assert mask.shape == image.GetSize()
        assert nibabel.aff2axcodes(mask.affine) == tuple(code)
        lps = np.diag([-1.0, -1.0, 1.0]) @ mask.affine[:3]
        assert lps[:, 3] == pytest.approx(image.GetOrigin(), abs=1e-3)
        direction = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        np.testing.assert_allclose(lps[:, :3], direction, atol=1e-4)
        masks[code] = in_ras(np.asarray(mask.dataobj), mask.affine)
        with np.load(output / f"{code}.npz") as content:
            chances[code] = [in_ras(one.transpose(2, 1, 0), mask.affine) for one in content["probabilities"]]
    first = masks["PIL"]
    assert 100 < first.sum() < first.size - 100
    assert np.ptp(chances["PIL"][1]) > 0.05  # the network says something
    for code in CODES:
        np.testing.assert_array_equal(masks[code], first)
        np.testing.assert_array_equal(chances[code], chances["PIL"])


def test_each_is_warned_of_as_more_oblique_than_those_of_training(predicted: tuple[Path, str]) -> None:
    warnings = [line for line in predicted[1].splitlines() if "oblique by 12.0 degrees" in line]
    assert len(warnings) == 48
    assert all("the training images by at most 0.0" in line for line in warnings)


def test_nnunets_own_command_gives_the_same_files(stored: Path, predicted, tiny, trained, tmp_path: Path) -> None:
    images, output = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for path in stored.iterdir():  # nnU-Net takes the ending of the data set alone
        case = path.name.split("_")[0]
        sitk.WriteImage(sitk.ReadImage(str(path)), str(images / f"{case}_0000.nii.gz"))
    root = tmp_path / "root"
    root.mkdir()
    for name, place in (("raw", tiny.workspace.raw), ("preprocessed", tiny.workspace.preprocessed)):
        (root / f"nnUNet_{name}").symlink_to(place)
    (root / "nnUNet_results").symlink_to(trained.results)
    shell(f'nnUNetv2_predict -i "{images}" -o "{output}" {MODEL}', root)
    for code in CODES:
        assert (output / f"{code}.nii.gz").read_bytes() == (predicted[0] / f"{code}.nii.gz").read_bytes(), code


def test_nnunet_refuses_what_cannot_be_turned(tiny, trained, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    source = nibabel.load(tiny.raw / "imagesTs" / "new_100_0000.nii.gz")
    unset = nibabel.Nifti1Image(np.asarray(source.dataobj), None)
    nibabel.save(unset, tmp_path / "images" / "case_0000.nii.gz")
    options = ["--input", str(tmp_path / "images"), "--output", str(tmp_path / "out"), "--device", "cpu"]
    variables = environment(tiny, trained.results)
    done = run([*COMMAND, "predict", "58", *options], **variables)
    assert done.returncode == 2
    assert "case cannot be predicted" in done.stderr
    assert "does not say where its axes point" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    command = ["nnUNetv2_predict", "-i", str(tmp_path / "images"), "-o", str(tmp_path / "theirs"), *MODEL.split()]
    done = run([*COMMAND, "exec", *command], **variables)
    assert done.returncode != 0
    assert "does not say where its axes point" in done.stderr
    assert not list((tmp_path / "theirs").glob("*.nii.gz"))


def turned_copy(tiny, root: Path) -> Workspace:
    """The small data set with half of its images, and references apart from them, in other orders of axes."""
    workspace = Workspace.from_environment(root)
    shutil.copytree(tiny.raw, workspace.raw / tiny.dataset)
    for number, code in ((2, "RAS"), (3, "ASL"), (5, "LPS")):
        for path, order in (
            (f"imagesTr/spine_{number:03d}_0000.nii.gz", code),
            (f"labelsTr/spine_{number:03d}.nii.gz", code[::-1]),
        ):
            file = str(workspace.raw / tiny.dataset / path)
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(file), order), file, True)
    folder = workspace.preprocessed / tiny.dataset
    folder.mkdir(parents=True)
    shutil.copy(tiny.preprocessed / "splits_final.json", folder)
    return workspace


def test_a_data_set_of_several_orders_is_planned_and_trained_as_one(tiny, trained, tmp_path, caplog) -> None:
    """spine_005, a test case of fold 0, is stored in LPS, and its reference in SPL."""
    workspace = turned_copy(tiny, tmp_path)
    plan_dataset("58", workspace)
    assert "The data set's orientation is PIL: the order of axes of 5 of 8 training images" in caplog.text
    ours, theirs = (
        json.loads((w.preprocessed / tiny.dataset / "nnUNetSpinePlans.json").read_text())
        for w in (workspace, tiny.workspace)
    )
    assert ours["spine_orientation"] == {"axes": "PIL", "largest_angle_degrees": 0.0}
    assert ours["spine_reasons"].pop("spine_orientation") != theirs["spine_reasons"].pop("spine_orientation")
    assert ours == theirs
    for name in ("resize_ceiling", "bias_fields"):
        file = f"{tiny.dataset}/nnUNetSpinePlans_{name}.csv"
        assert (workspace.preprocessed / file).read_bytes() == (tiny.workspace.preprocessed / file).read_bytes()
    preprocess_dataset("58", workspace)
    cases = f"{tiny.dataset}/nnUNetSpinePlans_3d_fullres"
    for path in sorted((tiny.workspace.preprocessed / cases).glob("*.b2nd")):
        assert (workspace.preprocessed / cases / path.name).read_bytes() == path.read_bytes()

    shutil.copytree(trained.results, workspace.results)
    fold = workspace.results / tiny.dataset / "nnUNetTrainerSpine__nnUNetSpinePlans__3d_fullres" / "fold_0"
    earlier = json.loads((fold / "validation" / "summary.json").read_text())
    predictions = {path.name: sitk.ReadImage(str(path)) for path in (fold / "validation").glob("*.nii.gz")}
    shutil.rmtree(fold / "validation")
    train_fold(TrainingJob("58", 0, epochs=1, device="cpu", threads=1), workspace)
    again = json.loads((fold / "validation" / "summary.json").read_text())
    assert [case["metrics"] for case in again["metric_per_case"]] == [
        case["metrics"] for case in earlier["metric_per_case"]
    ]
    for name, before in predictions.items():
        after = sitk.ReadImage(str(fold / "validation" / name))
        image = sitk.ReadImage(str(workspace.raw / tiny.dataset / "imagesTr" / name.replace(".nii", "_0000.nii")))
        assert after.GetDirection() == pytest.approx(image.GetDirection())
        assert after.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-3)
        np.testing.assert_array_equal(
            sitk.GetArrayFromImage(sitk.DICOMOrient(after, "PIL")), sitk.GetArrayFromImage(before)
        )
