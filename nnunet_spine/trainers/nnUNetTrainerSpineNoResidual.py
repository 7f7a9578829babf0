"""Where nnU-Net finds `nnUNetTrainerSpineNoResidual`."""

from nnunet_spine.training.variants import nnUNetTrainerSpineNoResidual

__all__ = ["nnUNetTrainerSpineNoResidual"]
