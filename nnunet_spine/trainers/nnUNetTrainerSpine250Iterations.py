"""Where nnU-Net finds `nnUNetTrainerSpine250Iterations`."""

from nnunet_spine.training.variants import nnUNetTrainerSpine250Iterations

__all__ = ["nnUNetTrainerSpine250Iterations"]
