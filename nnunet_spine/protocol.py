"""The documented protocol: every value, where it comes from, and how departures from it are named.

"The source deck" is the slide deck on intradural spinal tumour segmentation
that this project implements. A value is *documented* where the deck states it,
*implied* where the deck's table of results determines it, and *ours* where the
deck leaves it open. docs/protocol.md carries the same list, and a test holds
the two together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any


class Origin(StrEnum):
    """Where a value comes from."""

    DOCUMENTED = "documented"
    IMPLIED = "implied"
    OURS = "ours"


class BiasMethod(StrEnum):
    """How the bias field is corrected before training."""

    VAN_LEEMPUT = "van_leemput"
    N4 = "n4"
    NONE = "none"


class Augmentation(StrEnum):
    """What training does to its images at random."""

    NONE = "none"
    NNUNET = "nnU-Net"
    RAND_BIAS_FIELD = "RandBiasField"


class Precision(StrEnum):
    """In what a CPU multiplies and adds in training; weights, loss and optimiser are float32 in both."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Criterion(StrEnum):
    """When a case, or a lesion of it, counts as detected; `evaluation.lesions` defines each exactly."""

    ANY_OVERLAP = "any_overlap"
    IOU_01 = "iou_0.1"
    IOU_05 = "iou_0.5"
    CENTROID_INSIDE = "centroid_inside"


def _value(default: Any, origin: Origin, source: str) -> Any:
    return field(default=default, metadata={"origin": origin, "source": source})


_PREPROCESSING = "Source deck, preprocessing"
_MODEL = "Source deck, model details"
_RESULTS = "Source deck, results"


@dataclass(frozen=True)
class Protocol:
    """The protocol as this package runs it by default; see `origin_of` for where a value comes from."""

    # Preprocessing
    steps: tuple[str, ...] = _value(
        ("gamma", "bias", "scale", "resize", "pad"), Origin.DOCUMENTED, f"{_PREPROCESSING}: steps 1 to 5, in this order"
    )
    gamma: float = _value(0.7, Origin.OURS, "the formula is documented, its exponent is not; 1.0 switches it off")
    bias_method: BiasMethod = _value(
        BiasMethod.VAN_LEEMPUT,
        Origin.OURS,
        "the step is documented, citing Van Leemput 1999; that the cited method is what was run is our reading",
    )
    scale_minimum: float = _value(0.0, Origin.DOCUMENTED, f"{_PREPROCESSING}: step 3")
    scale_maximum: float = _value(1.0, Origin.DOCUMENTED, f"{_PREPROCESSING}: step 3")
    resize: str = _value(
        "one in-plane factor per case, to fit the grid; slices only where a case has more than the grid",
        Origin.OURS,
        "the step is documented, its target is not; a distorting resize would change what a kernel means per case",
    )
    grid_multiple: int = _value(16, Origin.OURS, "four strides of 2 divide the grid by 16")
    padding_value: float = _value(0.0, Origin.OURS, "the step is documented, its value is not")
    # Network
    channels: tuple[int, ...] = _value((16, 32, 64, 128, 256), Origin.DOCUMENTED, f"{_MODEL}: sequence of channels")
    strides: tuple[int, ...] = _value((2, 2, 2, 2), Origin.DOCUMENTED, f"{_MODEL}: strides")
    kernel_size: int = _value(3, Origin.DOCUMENTED, f"{_MODEL}: kernel 3x3x3")
    up_kernel_size: int = _value(3, Origin.DOCUMENTED, f"{_MODEL}: up-kernel 3x3x3")
    residual_units: int = _value(2, Origin.OURS, "MONAI's tutorial network for this list of channels")
    normalization: str = _value("instance", Origin.OURS, "MONAI's default")
    activation: str = _value("PReLU", Origin.OURS, "MONAI's default")
    output_channels: int = _value(2, Origin.OURS, "background and tumour, under a softmax")
    # Training
    loss: str = _value("Dice", Origin.DOCUMENTED, f"{_MODEL}: DiceLoss")
    loss_activation: str = _value("softmax", Origin.OURS, "MONAI's loss has none by default; one must be named")
    loss_include_background: bool = _value(True, Origin.OURS, "MONAI's default")
    loss_batch: bool = _value(False, Origin.OURS, "MONAI's default: one Dice per case and channel, then the mean")
    loss_dtype: str = _value("float32", Origin.OURS, "sums over a whole grid overflow or round in half precision")
    cpu_precision: Precision = _value(
        Precision.FLOAT32, Origin.OURS, "not documented; on a GPU nnU-Net trains in float16 where that is safe"
    )
    epochs: int = _value(400, Origin.DOCUMENTED, f"{_MODEL}: number of epochs")
    iterations_per_epoch: int | None = _value(
        None, Origin.OURS, "None: one pass over the training cases, as in MONAI, in which the authors worked"
    )
    optimizer: str = _value("Adam", Origin.OURS, "not documented")
    initial_learning_rate: float = _value(1e-3, Origin.OURS, "not documented; Adam's default")
    learning_rate_decay: str = _value("polynomial, exponent 0.9", Origin.OURS, "not documented; nnU-Net's schedule")
    weight_decay: float = _value(0.0, Origin.OURS, "not documented; Adam's default")
    gradient_clip_norm: float = _value(12.0, Origin.OURS, "not documented; nnU-Net's training step")
    augmentation: Augmentation = _value(Augmentation.NONE, Origin.OURS, "the deck lists none")
    test_time_mirroring: bool = _value(False, Origin.OURS, "nothing in training saw mirrored images")
    seed: int = _value(0, Origin.OURS, "not documented")
    # Cross-validation and judgement
    folds: int = _value(4, Origin.DOCUMENTED, f"{_RESULTS}: K = 4")
    fold_sizes: tuple[int, ...] = _value((15, 15, 15, 13), Origin.DOCUMENTED, f"{_RESULTS}: cases per fold, of 58")
    criterion: Criterion = _value(
        Criterion.ANY_OVERLAP,
        Origin.IMPLIED,
        f"{_RESULTS}: overall Dice = sensitivity x true-positive Dice in each fold",
    )
    dice_sd_ddof: int = _value(0, Origin.IMPLIED, f"{_RESULTS}: folds 1 and 4 fit no other")


PROTOCOL = Protocol()
"""The protocol with all its defaults."""


NNUNET_ITERATIONS = 250
"""nnU-Net's iterations per epoch."""

VARIANTS = {
    "nnUNetTrainerSpine": PROTOCOL,
    "nnUNetTrainerSpine250Iterations": replace(PROTOCOL, iterations_per_epoch=NNUNET_ITERATIONS),
    "nnUNetTrainerSpineAugmented": replace(PROTOCOL, augmentation=Augmentation.NNUNET),
    "nnUNetTrainerSpineRandBiasField": replace(PROTOCOL, augmentation=Augmentation.RAND_BIAS_FIELD),
    "nnUNetTrainerSpineNoResidual": replace(PROTOCOL, residual_units=0),
    "nnUNetTrainerSpineNoBackground": replace(PROTOCOL, loss_include_background=False),
}
"""Protocol of each trainer of this package by its name: the documented one, and one for each value that is varied."""


@dataclass(frozen=True)
class Departure:
    """One value of a run that differs from the protocol's."""

    name: str
    protocol: Any
    run: Any
    origin: Origin

    def describe(self) -> str:
        """One line for reports."""
        return f"{self.name}: {self.run} instead of {self.protocol} ({self.origin})"


def origin_of(name: str) -> tuple[Origin, str]:
    """Origin and source of a protocol value by its field name."""
    metadata = Protocol.__dataclass_fields__[name].metadata
    return metadata["origin"], metadata["source"]


def departures(run: Mapping[str, Any], protocol: Protocol = PROTOCOL) -> list[Departure]:
    """What differs between the values of a run and the protocol, in the protocol's order.

    Parameters
    ----------
    run
        Values by field name; names that are not fields of `Protocol` are an error, absent ones are not compared.
    protocol
        What to compare with.

    Raises
    ------
    KeyError
        Where `run` has a name that is no protocol value.
    """
    unknown = set(run) - {f.name for f in fields(protocol)}
    if unknown:
        raise KeyError(f"not protocol values: {', '.join(sorted(unknown))}")
    return [
        Departure(f.name, getattr(protocol, f.name), run[f.name], f.metadata["origin"])
        for f in fields(protocol)
        if f.name in run and _plain(run[f.name]) != _plain(getattr(protocol, f.name))
    ]


def _plain(value: Any) -> Any:
    """`value` with lists as tuples, so that what came from JSON compares."""
    return tuple(_plain(v) for v in value) if isinstance(value, list | tuple) else value
