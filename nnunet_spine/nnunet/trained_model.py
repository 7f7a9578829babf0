"""Folds of a trained model, read from its folder and checked; and how a model segments an image."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.configuration import default_num_processes
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_spine.errors import BadInput, NotFound
from nnunet_spine.nnunet.checkpoint_reading import read_checkpoint_file
from nnunet_spine.nnunet.configuration import adopt, adopt_orientation
from nnunet_spine.nnunet.image_io import as_stored
from nnunet_spine.nnunet.model_folder import CHECKPOINT, FoldName, fold_name
from nnunet_spine.nnunet.orientation import Orientation
from nnunet_spine.nnunet.planned_network import built, check_planned_network
from nnunet_spine.nnunet.plans_check import check_configuration, read_dataset_json, read_plans

Weights = dict[str, torch.Tensor]
Scores = Callable[[torch.Tensor], torch.Tensor]
"""From a preprocessed image, (channel, z, y, x), to the scores of its classes before the softmax."""


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Folds of a model.

    Parameters
    ----------
    folder
        Where it is.
    plans, configuration, dataset_json
        nnU-Net's; the managers are ours where images are turned.
    trainer_name
        Which trainer made it.
    mirroring_axes
        Axes along which predictions are mirrored and averaged; None for none.
    weights
        Of each fold.
    """

    folder: Path
    plans: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    trainer_name: str
    mirroring_axes: tuple[int, ...] | None
    weights: tuple[Weights, ...]

    @property
    def channels(self) -> int:
        """Input channels of the network."""
        return int(determine_num_input_channels(self.plans, self.configuration, self.dataset_json))

    @property
    def classes(self) -> int:
        """Output channels of the network."""
        return int(self.plans.get_label_manager(self.dataset_json).num_segmentation_heads)

    def load(self, network: nn.Module, weights: Weights) -> None:
        """Give weights to a network of this model.

        Raises
        ------
        BadInput
            If they belong to another network.
        """
        try:
            network.load_state_dict(weights)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            raise BadInput(
                f"The weights in {self.folder} do not fit the network that its plans.json describes. Take plans.json "
                "and checkpoints of one training."
            ) from error

    def segment(
        self, scores: Scores, image: Path, output: Path, *, save_probabilities: bool, threads: int | None = None
    ) -> None:
        """Segment an image file, and write what nnU-Net writes: OUTPUT with the data set's ending, and OUTPUT.npz.

        Parameters
        ----------
        scores
            What predicts.
        image
            The image.
        output
            Path of the result, without suffix.
        save_probabilities
            Whether to write OUTPUT.npz, in the order of axes of the image.
        threads
            For resampling; None for nnU-Net's number.

        Raises
        ------
        BadInput
            If the image cannot be read, or cannot be turned as the model needs.
        """
        preprocessor = self.configuration.preprocessor_class(verbose=False)
        data, _, properties = preprocessor.run_case(
            [str(image)], None, self.plans, self.configuration, self.dataset_json
        )
        export_prediction_from_logits(
            scores(torch.from_numpy(data)),
            properties,
            self.configuration,
            self.plans,
            self.dataset_json,
            str(output),
            save_probabilities,
            num_threads_torch=default_num_processes if threads is None else threads,
        )
        if save_probabilities:
            _turn_back(output.with_name(f"{output.name}.npz"), properties)


def _turn_back(path: Path, properties: dict[str, Any]) -> None:
    """Bring nnU-Net's file of probabilities to the order of axes of the stored image."""
    with np.load(path, allow_pickle=False) as content:
        probabilities = content["probabilities"]
    stored = as_stored(probabilities, properties)
    if stored is not probabilities:
        np.savez_compressed(path, probabilities=stored)


def read_model(
    folder: Path,
    folds: Sequence[FoldName],
    checkpoint: str = CHECKPOINT,
    *,
    orientation: Orientation | None = None,
    trusted: bool = False,
    checked: bool = False,
) -> TrainedModel:
    """Read folds of a model as data.

    Parameters
    ----------
    folder
        The model's folder, with plans.json, dataset.json and fold_N.
    folds
        Folds to read; the first one says what the model is, as for nnU-Net.
    checkpoint
        Name of the checkpoint in each fold's folder.
    orientation
        To which images are turned; None for what the plans say.
    trusted
        Whether code in checkpoints may run, and networks may be of any class.
    checked
        Whether `checkpoint_reading.check_archive` has seen the checkpoints already.

    Raises
    ------
    NotFound, BadInput
        If a file is missing, damaged, or holds what no model of nnU-Net does.
    """
    plans_file = folder / "plans.json"
    content, dataset_json = read_plans(plans_file, trusted=trusted), read_dataset_json(folder / "dataset.json")
    paths = [folder / fold_name(fold) / checkpoint for fold in folds]
    saved = [read_checkpoint_file(path, trusted=trusted, mapped=True, checked=checked) for path in paths]
    name = saved[0]["init_args"]["configuration"]
    check_configuration(content, name, str(plans_file), trusted=trusted)
    plans = PlansManager(content)
    configuration = plans.get_configuration(name)
    if configuration.previous_stage_name is not None:
        raise BadInput(
            f"{folder} is the second stage of a cascade, which needs predictions of the first one. Predict with "
            "nnUNetv2_predict and -prev_stage_predictions."
        )
    adopt(plans, configuration)
    if orientation is not None:
        adopt_orientation(plans, orientation)
    axes = _mirroring_axes(paths[0], saved[0], len(configuration.patch_size))
    check_planned_network(plans, configuration, dataset_json, trusted=trusted)
    return TrainedModel(
        folder,
        plans,
        configuration,
        dataset_json,
        saved[0]["trainer_name"],
        axes,
        tuple(one["network_weights"] for one in saved),
    )


def _mirroring_axes(path: Path, saved: Mapping[str, Any], dimensions: int) -> tuple[int, ...] | None:
    """Axes along which a checkpoint has predictions mirrored; None for none, as nnU-Net fails at an empty list."""
    axes = tuple(saved.get("inference_allowed_mirroring_axes") or ())
    if len(set(axes)) < len(axes) or any(axis >= dimensions for axis in axes):
        raise BadInput(
            f"{path} has predictions mirrored along the axes {', '.join(map(str, axes))}; expected different axes of "
            f"the patch in its plans, from 0 to {dimensions - 1}. Take plans.json and checkpoints of one training."
        )
    return axes or None


def nnunet_scores(model: TrainedModel, device: str) -> Scores:
    """What nnU-Net's predictor makes of a preprocessed image, with the network that the model's trainer builds.

    Raises
    ------
    NotFound
        If nobody has the trainer.
    BadInput
        If the weights are another network's.
    """
    predictor = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    network = _network_of(model)
    for weights in reversed(model.weights):  # those of the first fold stay in it, as nnU-Net leaves them
        model.load(network, weights)
    predictor.manual_initialization(
        network,
        model.plans,
        model.configuration,
        list(model.weights),
        model.dataset_json,
        model.trainer_name,
        model.mirroring_axes,
    )

    def scores(image: torch.Tensor) -> torch.Tensor:
        """Mean of the folds' scores, on the CPU."""
        found: torch.Tensor = predictor.predict_logits_from_preprocessed_data(image).cpu()
        return found

    return scores


def _network_of(model: TrainedModel) -> nn.Module:
    """The network that a model's trainer builds for predictions, as nnU-Net's predictor asks for it."""
    try:
        build = recursive_find_trainer_class_by_name(model.trainer_name).build_network_architecture
    except (RuntimeError, AssertionError, TypeError, AttributeError) as error:
        raise NotFound(
            f"There is no trainer {model.trainer_name[:80]!r}, which {model.folder} was trained with. Install it, or "
            "name the folder that has it in the variable nnUNet_extTrainer."
        ) from error
    if "plans_manager" in inspect.signature(build).parameters:
        plans: tuple[Any, ...] = (model.plans, model.configuration)
    else:  # trainers that were written for nnU-Net before version 2.7
        configuration = model.configuration
        plans = (
            configuration.network_arch_class_name,
            configuration.network_arch_init_kwargs,
            configuration.network_arch_init_kwargs_req_import,
        )
    sizes = (model.channels, model.classes)
    name = model.configuration.network_arch_class_name
    return built(name, lambda: build(*plans, *sizes, enable_deep_supervision=False))
