"""A reference sent through preprocessing, padding, prediction and export comes back where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_spine.files import read_json
from nnunet_spine.grids import Geometry
from nnunet_spine.images import Volume, read_volume, write_volume
from nnunet_spine.nnunet.configuration import adopt
from nnunet_spine.preprocessing.pipeline import SETTINGS_KEY

DIRECTION = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


class Echo(nn.Module):
    """A network that finds the lesion wherever the image is brighter than three quarters."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.full_like(image, 0.75), image], dim=1)


def lesion_case(shape: tuple[int, int, int], body: tuple[slice, slice, slice]) -> tuple[Volume, np.ndarray]:
    """An image that is bright in an off-centre lesion, grey in an off-centre body, and 0 outside."""
    lesion = np.zeros(shape, bool)
    lesion[1:4, body[1].start + 2 : body[1].start + 14, body[2].stop - 15 : body[2].stop - 4] = True
    image = np.zeros(shape, np.float32)
    image[body] = 40
    image[lesion] = 100
    return Volume(image, Geometry(shape[::-1], (1.1, 1.3, 3.7), (3.0, -4.0, 5.0), DIRECTION)), lesion


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ((9, 60, 40), (slice(1, 9), slice(5, 58), slice(0, 33))),  # padded on the slice axis and in the plane
        ((16, 30, 70), (slice(0, 16), slice(3, 30), slice(10, 70))),  # wide: fits by its width
        ((20, 90, 44), (slice(0, 20), slice(0, 90), slice(4, 40))),  # more slices than the grid
        ((7, 33, 33), (slice(0, 7), slice(0, 33), slice(0, 33))),  # small: enlarged
    ],
)
def test_reference_comes_back_in_place(tiny, tmp_path: Path, shape, body) -> None:
    volume, lesion = lesion_case(shape, body)
    write_volume(tmp_path / "case_0000.nii.gz", volume)
    plans = PlansManager(read_json(tiny.preprocessed / "nnUNetSpinePlans.json"))
    configuration = plans.get_configuration("3d_fullres")
    configuration.configuration[SETTINGS_KEY].update(gamma=1.0, bias_method="none")
    adopt(plans, configuration)
    dataset_json = read_json(tiny.raw / "dataset.json")

    preprocessor = configuration.preprocessor_class(verbose=False)
    data, _, properties = preprocessor.run_case(
        [str(tmp_path / "case_0000.nii.gz")], None, plans, configuration, dataset_json
    )
    assert all(n <= g for n, g in zip(data.shape[1:], configuration.patch_size, strict=True))
    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.manual_initialization(Echo(), plans, configuration, None, dataset_json, "none", None)
    logits = predictor.predict_sliding_window_return_logits(torch.from_numpy(data))
    export_prediction_from_logits(
        logits, properties, configuration, plans, dataset_json, str(tmp_path / "case"), num_threads_torch=1
    )

    result = read_volume(tmp_path / "case.nii.gz")
    assert result.geometry.same_grid(volume.geometry)
    found = result.array > 0
    shift = np.abs(np.argwhere(found).mean(axis=0) - np.argwhere(lesion).mean(axis=0))
    assert shift.max() < 1.0
    dice = 2 * (found & lesion).sum() / (found.sum() + lesion.sum())
    assert dice > 0.8


def test_padding_in_training_is_the_predictors(tiny) -> None:
    from acvl_utils.cropping_and_padding.padding import pad_nd_image

    from nnunet_spine.preprocessing.geometry import pad_to_grid

    data = np.random.default_rng(0).random((1, 9, 41, 30), np.float32)
    grid = (16, 64, 48)
    expected, _ = pad_nd_image(torch.from_numpy(data), grid, "constant", {"value": 0}, True, None)
    np.testing.assert_array_equal(pad_to_grid(data, grid), expected.numpy())
