"""Where nnU-Net finds `nnUNetTrainerSpine`."""

from nnunet_spine.training.variants import nnUNetTrainerSpine

__all__ = ["nnUNetTrainerSpine"]
