"""Prediction of whole cases on a CPU: the bits of nnU-Net's predictor, without what larger images would need.

Preprocessing fits every case of our plans into the grid, so nnU-Net's sliding window has one place, and each fold's
network runs once. nnU-Net gets there by a thread that cuts the one tile, loads the weights of each fold again for each
case, and finds the trainer by importing all that it has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian
from torch import nn

from nnunet_spine.errors import WorkFailed
from nnunet_spine.networks.unet import NETWORK_CLASS, SpineUNet, arguments_of
from nnunet_spine.nnunet.model_folder import FoldName
from nnunet_spine.nnunet.orientation import PREPROCESSOR_NAME
from nnunet_spine.nnunet.planned_network import built
from nnunet_spine.nnunet.trained_model import TrainedModel, read_model
from nnunet_spine.protocol import VARIANTS


@dataclass(frozen=True, eq=False)
class WholeCaseModel:
    """Folds of a trained model of this package.

    Parameters
    ----------
    model
        The model.
    networks
        One for each fold, ready to predict on the CPU.
    """

    model: TrainedModel
    networks: tuple[nn.Module, ...]

    def predict(self, image: Path, output: Path, *, save_probabilities: bool) -> None:
        """Segment an image file and write what nnU-Net writes: OUTPUT.nii.gz, and OUTPUT.npz if asked for.

        Raises
        ------
        WorkFailed
            If a score is infinite.
        """
        threads = torch.get_num_threads()
        self.model.segment(self.scores, image, output, save_probabilities=save_probabilities, threads=threads)

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
        grid = self.model.configuration.patch_size
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


def whole_case_model(model: TrainedModel) -> WholeCaseModel | None:
    """The networks of a model, or None if it is not one that this module predicts as nnU-Net would.

    Raises
    ------
    BadInput
        If the weights are another network's.
    """
    configuration = model.configuration
    if (
        model.trainer_name not in VARIANTS
        or model.mirroring_axes is not None
        or configuration.preprocessor_name != PREPROCESSOR_NAME
        or configuration.network_arch_class_name != NETWORK_CLASS
    ):
        return None
    arguments = arguments_of(VARIANTS[model.trainer_name], configuration.network_arch_init_kwargs)
    networks = []
    for weights in model.weights:
        network = built(NETWORK_CLASS, lambda: SpineUNet(model.channels, model.classes, **arguments))
        model.load(network, weights)
        networks.append(network.eval())
    return WholeCaseModel(model, tuple(networks))


def load_model(folder: Path, folds: Sequence[FoldName], checkpoint: str) -> WholeCaseModel | None:
    """Read folds of a model and give their networks; parameters and errors as for `read_model`."""
    return whole_case_model(read_model(folder, folds, checkpoint))
