"""Augmentations that variants of the trainer add; the documented protocol has none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from nnunet_spine.protocol import Augmentation

Transform = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From image and label, each (channel, z, y, x), to both changed at random; draws from torch's and numpy's state."""

BIAS_FIELD_PROBABILITY = 0.5
"""Ours: MONAI's default of 0.1 would leave nine cases in ten as they are. Degree and strength are MONAI's defaults."""


def make_transform(kind: Augmentation, grid: Sequence[int]) -> Transform | None:
    """Transform for one kind of augmentation, or None where there is nothing to do.

    Parameters
    ----------
    kind
        Which one.
    grid
        Voxels (slice, y, x) of a case.
    """
    if kind is Augmentation.NNUNET:
        return _nnunet(grid)
    if kind is Augmentation.RAND_BIAS_FIELD:
        return _rand_bias_field()
    return None


def _nnunet(grid: Sequence[int]) -> Transform:
    """nnU-Net's own training transforms, by its own rules for this grid."""
    import numpy as np
    from nnunetv2.configuration import ANISO_THRESHOLD
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    flat = max(grid) / grid[0] > ANISO_THRESHOLD
    limit = np.pi if flat else np.pi / 6
    transforms = nnUNetTrainer.get_training_transforms(
        tuple(grid),
        (-limit, limit),
        None,
        mirror_axes=(0, 1, 2),
        do_dummy_2d_data_aug=flat,
        use_mask_for_norm=[False],
    )

    def transform(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply nnU-Net's transforms; what comes in from outside is background."""
        changed = transforms(image=image, segmentation=label)
        return changed["image"], changed["segmentation"].clamp(min=0)

    return transform


def _rand_bias_field() -> Transform:
    """MONAI's RandBiasField, which cites the same paper as the documented correction and adds a field."""
    import numpy as np
    from monai.transforms import RandBiasField
    from monai.utils import convert_to_tensor

    field = RandBiasField(prob=BIAS_FIELD_PROBABILITY)

    def transform(image: torch.Tensor, label: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Add a field to the image."""
        # MONAI keeps a state of its own; taking its seed from numpy's makes one seed govern both.
        field.set_random_state(seed=int(np.random.randint(2**31)))
        # MONAI's own kind of tensor would go on through network and loss.
        return convert_to_tensor(field(image), track_meta=False), label

    return transform
