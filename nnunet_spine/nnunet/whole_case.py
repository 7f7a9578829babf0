"""Prediction of whole cases on a CPU: the bits of nnU-Net's predictor, without what larger images would need.

Preprocessing fits every case of our plans into the grid, so nnU-Net's sliding window has one place, and each fold's
network runs once. nnU-Net gets there by a thread that cuts the one tile, loads the weights of each fold anew for each
case, and finds the trainer by importing all that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine.errors import WorkFailed
from nnunet_spine.files import read_json
from nnunet_spine.networks.unet import NETWORK_CLASS, SpineUNet, arguments_of
from nnunet_spine.nnunet.configuration import PREPROCESSOR_NAME, adopt
from nnunet_spine.protocol import VARIANTS


@dataclass(frozen=True, eq=False)
class WholeCaseModel:
    """Folds of a trained model of this package.

    Parameters
    ----------
    plans, configuration, dataset_json
        nnU-Net's, from the model's folder.
    networks
        One for each fold, ready to predict on the CPU.
    """

    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    networks: tuple[nn.Module, ...]

    def predict(self, image: Path, output: Path, *, save_probabilities: bool) -> None:
        """Segment an image file and write what nnU-Net writes: OUTPUT.nii.gz, and OUTPUT.npz where asked for.

        Raises
        ------
        WorkFailed
            Where a score is infinite.
        """
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [str(image)], None, self.plans, self.configuration, self.dataset_json
        )
        export_prediction_from_logits(
            self.scores(torch.from_numpy(data)),
            properties,
            self.configuration,
            self.plans,
            self.dataset_json,
            str(output),
            save_probabilities,
            num_threads_torch=torch.get_num_threads(),
        )

    @torch.inference_mode()
    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """Mean of the networks' scores before the softmax.

        Parameters
        ----------
        image
            Preprocessed, float32, shape (1, z, y, x), in no axis larger than the grid.

        Returns
        -------
        scores
            float16, shape (class, z, y, x), the image's. nnU-Net weighs a tile by a bell, in half precision, and
            divides by the weights: the rounding of that is kept.

        Raises
        ------
        WorkFailed
            Where a score is infinite.
        """
        grid = self.configuration.patch_size
        padded, inside = pad_nd_image(image, grid, "constant", {"value": 0}, True, None)
        weight = compute_gaussian(tuple(grid), value_scaling_factor=10, device=torch.device("cpu"))
        total = torch.zeros((), dtype=torch.half)
        for network in self.networks:
            scores = (network(padded[None])[0] * weight).half().div_(weight)
            if torch.isinf(scores).any():
                raise WorkFailed("A network gives infinite scores. Was it trained to the end? Look at its losses.")
            total = total + scores
        if len(self.networks) > 1:
            total /= len(self.networks)
        return total[(slice(None), *inside[1:])]


def load_model(folder: Path, folds: tuple[int, ...], checkpoint: str) -> WholeCaseModel | None:
    """Folds of a model, or None where it is not one that this module predicts as nnU-Net would.

    Parameters
    ----------
    folder
        The model's folder, with plans.json, dataset.json and fold_N.
    folds
        Folds to load.
    checkpoint
        Name of the checkpoint in each fold's folder.
    """
    plans = PlansManager(str(folder / "plans.json"))
    saved = [
        torch.load(folder / f"fold_{fold}" / checkpoint, map_location="cpu", weights_only=False, mmap=True)
        for fold in folds
    ]
    first = saved[0]
    configuration = plans.get_configuration(first["init_args"]["configuration"])
    if (
        first["trainer_name"] not in VARIANTS
        or first.get("inference_allowed_mirroring_axes") is not None
        or configuration.preprocessor_name != PREPROCESSOR_NAME
        or configuration.network_arch_class_name != NETWORK_CLASS
    ):
        return None
    adopt(configuration)
    dataset_json = read_json(folder / "dataset.json")
    arguments = arguments_of(VARIANTS[first["trainer_name"]], configuration.network_arch_init_kwargs)
    classes = plans.get_label_manager(dataset_json).num_segmentation_heads
    networks = []
    for content in saved:
        network = SpineUNet(len(dataset_json["channel_names"]), classes, **arguments)
        network.load_state_dict(content["network_weights"])
        networks.append(network.eval())
    return WholeCaseModel(plans, configuration, dataset_json, tuple(networks))
