"""Where nnU-Net finds `nnUNetTrainerDurable`."""

from nnunet_spine.training.variants import nnUNetTrainerDurable

__all__ = ["nnUNetTrainerDurable"]
