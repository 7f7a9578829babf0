"""Where nnU-Net finds `nnUNetTrainerSpineAugmented`."""

from nnunet_spine.training.variants import nnUNetTrainerSpineAugmented

__all__ = ["nnUNetTrainerSpineAugmented"]
