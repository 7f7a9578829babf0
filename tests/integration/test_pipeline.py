"""The pipeline inside nnU-Net is the pure functions in the documented order, up to the tensor that enters the network.

The steps are put together here from the functions themselves, with the values read from the plans on disk; nothing of
the preprocessor, the loader or the predictor is used for what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_spine.files import read_json
from nnunet_spine.nnunet.configuration import adopt
from nnunet_spine.nnunet.environment import Workspace
from nnunet_spine.nnunet.prediction import Model
from nnunet_spine.nnunet.whole_case import load_model
from nnunet_spine.preprocessing.bias import correct_bias
from nnunet_spine.preprocessing.intensity import adjust_gamma, scale_intensity
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY
from nnunet_spine.preprocessing.van_leemput import estimate_field
from nnunet_spine.protocol import BiasMethod
from nnunet_spine.training.run import TrainingJob, train_fold

Array = np.ndarray[Any, Any]
DOCUMENTED = ("gamma", "bias", "scale", "resize")
CASES = [f"spine_{number:03d}" for number in range(1, 9)]


def cropped(path: Path) -> tuple[Array, list[float]]:
    """An image without its borders of 0, and its spacing (z, y, x); read without the package."""
    image = sitk.ReadImage(str(path))
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    box = tuple(slice(where.min(), where.max() + 1) for where in np.nonzero(array))
    return array[box], list(image.GetSpacing()[::-1])


def bias_step(array: Array, spacing_mm: list[float], settings: dict[str, Any]) -> Array:
    if settings["bias_method"] != "van_leemput":
        return correct_bias(array, spacing_mm, BiasMethod(settings["bias_method"])).image
    field = settings["bias_field"]
    estimate = estimate_field(
        array,
        spacing_mm,
        classes=field["classes"],
        orders=tuple(field["orders"]),
        sample_spacing_mm=field["sample_spacing_mm"],
    )
    return array / estimate.field


def resize_step(array: Array, spacing_mm: list[float], grid: list[int]) -> Array:
    """One factor for both in-plane axes, the largest that fits; cubic, as nnU-Net resamples images."""
    factor = min(grid[1] / array.shape[1], grid[2] / array.shape[2])
    shape = [min(array.shape[0], grid[0]), round(array.shape[1] * factor), round(array.shape[2] * factor)]
    assert all(n <= g for n, g in zip(shape, grid, strict=True))
    new_mm = [mm * old / new for mm, old, new in zip(spacing_mm, array.shape, shape, strict=True)]
    resized = resample_data_or_seg_to_shape(
        array[None], shape, spacing_mm, new_mm, is_seg=False, order=3, order_z=0, force_separate_z=None
    )
    return np.asarray(resized[0])


def recomposed(path: Path, plans: dict[str, Any], order: tuple[str, ...] = DOCUMENTED) -> Array:
    """The preprocessed image by the pure functions, shape (slice, y, x)."""
    array, spacing_mm = cropped(path)
    configuration = plans["configurations"]["3d_fullres"]
    settings = configuration[SETTINGS_KEY]
    low, high = settings["scale_minimum"], settings["scale_maximum"]
    steps: dict[str, Callable[[Array], Array]] = {
        "gamma": lambda image: adjust_gamma(image, settings["gamma"]),
        "bias": lambda image: bias_step(image, spacing_mm, settings),
        "scale": lambda image: scale_intensity(image, low, high),
        "resize": lambda image: resize_step(image, spacing_mm, configuration["patch_size"]),
    }
    for name in order:
        array = steps[name](array)
    return np.clip(array, low, high).astype(np.float32)


def padded(array: Array, grid: list[int]) -> Array:
    """The image in the middle of the grid, the odd voxel of padding behind it, and 0 around."""
    whole = np.zeros(grid, np.float32)
    before = [(g - n) // 2 for g, n in zip(grid, array.shape, strict=True)]
    whole[tuple(slice(b, b + n) for b, n in zip(before, array.shape, strict=True))] = array
    return whole


def plans_of(tiny) -> dict[str, Any]:
    content: dict[str, Any] = read_json(tiny.preprocessed / "nnUNetSpinePlans.json")
    return content


def by_nnunet(tiny, path: Path, plans: dict[str, Any]) -> Array:
    """The preprocessed image as nnU-Net makes it for a prediction by these plans."""
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    adopt(manager, configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, _ = preprocessor.run_case([str(path)], None, manager, configuration, read_json(tiny.raw / "dataset.json"))
    return np.asarray(data[0])


def image_of(tiny, case: str) -> Path:
    return Path(tiny.raw / "imagesTr" / f"{case}_0000.nii.gz")


@pytest.mark.parametrize("case", CASES)
def test_what_is_on_disk_is_the_pure_functions_with_the_values_of_the_plans(tiny, case: str) -> None:
    folder = tiny.preprocessed / "nnUNetSpinePlans_3d_fullres"
    data = nnUNetDatasetBlosc2(str(folder)).load_case(case)[0]
    np.testing.assert_array_equal(np.asarray(data[:])[0], recomposed(image_of(tiny, case), plans_of(tiny)))


@pytest.mark.parametrize(
    "change",
    [
        {"gamma": 1.0},
        {"gamma": 0.4},
        {"bias_method": "n4"},
        {"bias_method": "none"},
        {"bias_field": {"classes": 4, "orders": [0, 2], "sample_spacing_mm": 4.0}},
        {"bias_field": {"classes": 8, "orders": [0, 1], "sample_spacing_mm": 6.0}},
        {"scale_minimum": -1.0, "scale_maximum": 3.0},
    ],
    ids=str,
)
def test_each_value_of_the_plans_is_the_one_applied(tiny, change: dict[str, Any]) -> None:
    plans = plans_of(tiny)
    path = image_of(tiny, "spine_001")
    unchanged = recomposed(path, plans)
    plans["configurations"]["3d_fullres"][SETTINGS_KEY].update(change)
    found = by_nnunet(tiny, path, plans)
    np.testing.assert_array_equal(found, recomposed(path, plans))
    assert not np.array_equal(found, unchanged)


@pytest.mark.parametrize("order", [o for o in permutations(DOCUMENTED) if o != DOCUMENTED], ids="-".join)
def test_no_other_order_gives_the_same(tiny, order: tuple[str, ...]) -> None:
    path = image_of(tiny, "spine_001")
    assert np.abs(recomposed(path, plans_of(tiny), order) - by_nnunet(tiny, path, plans_of(tiny))).max() > 1e-3


def test_the_case_has_a_field_that_is_taken_off(tiny) -> None:
    plans = plans_of(tiny)
    corrected = by_nnunet(tiny, image_of(tiny, "spine_001"), plans)
    plans["configurations"]["3d_fullres"][SETTINGS_KEY]["bias_method"] = "none"
    left = by_nnunet(tiny, image_of(tiny, "spine_001"), plans)
    # Medians of the lower and the upper half: exp(0.8 / 2) apart in the image, and gamma times that after gamma.
    halves = [np.median(a[:, 32:]) / np.median(a[:, :32]) for a in (left, corrected)]
    assert halves[0] == pytest.approx(np.exp(0.7 * 0.4), abs=0.1)
    assert halves[1] == pytest.approx(1.0, abs=0.08)


@contextmanager
def network_inputs() -> Iterator[list[tuple[bool, torch.Tensor]]]:
    """Every case that enters the network in the block: whether in training mode, and the tensor (slice, y, x)."""
    seen: list[tuple[bool, torch.Tensor]] = []

    def note(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if type(module).__name__ == "SpineUNet":
            seen.extend((module.training, case[0].clone()) for case in inputs[0])

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def contents(tensors: list[torch.Tensor]) -> list[bytes]:
    return sorted(tensor.numpy().tobytes() for tensor in tensors)


def test_training_validation_and_prediction_give_the_network_the_same_tensor(tiny, tmp_path: Path) -> None:
    grid = plans_of(tiny)["configurations"]["3d_fullres"]["patch_size"]
    expected = {case: padded(recomposed(image_of(tiny, case), plans_of(tiny)), grid).tobytes() for case in CASES}
    test_cases = ("spine_001", "spine_005")
    training = sorted(content for case, content in expected.items() if case not in test_cases)
    testing = sorted(expected[case] for case in test_cases)

    workspace = Workspace(tiny.workspace.raw, tiny.workspace.preprocessed, tmp_path / "results")
    with network_inputs() as seen:
        train_fold(TrainingJob("58", 0, epochs=1, device="cpu", threads=1), workspace)
    assert contents([tensor for trains, tensor in seen if trains]) == training
    # Once in the epoch's validation loss, once in the prediction of the fold's test cases.
    assert contents([tensor for trains, tensor in seen if not trains]) == sorted([*testing, *testing])

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)  # what nnUNetv2_predict runs
    predictor.initialize_from_trained_model_folder(str(Model("58").folder(workspace)), (0,), "checkpoint_final.pth")
    images, outputs = [[str(image_of(tiny, case))] for case in CASES], [str(tmp_path / case) for case in CASES]
    with network_inputs() as seen:
        predictor.predict_from_files(images, outputs, num_processes_preprocessing=1)
    assert contents([tensor for _, tensor in seen]) == sorted(expected.values())

    model = load_model(Model("58").folder(workspace), (0,), "checkpoint_final.pth")  # in each worker of ours
    assert model is not None
    (tmp_path / "own").mkdir()
    with network_inputs() as seen:
        for case in CASES:
            model.predict(image_of(tiny, case), tmp_path / "own" / case, save_probabilities=False)
    assert contents([tensor for _, tensor in seen]) == sorted(expected.values())
    for case in CASES:
        own = (tmp_path / "own" / f"{case}.nii.gz").read_bytes()
        assert own == (tmp_path / f"{case}.nii.gz").read_bytes()
