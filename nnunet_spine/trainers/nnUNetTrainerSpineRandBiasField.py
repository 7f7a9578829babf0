"""Where nnU-Net finds `nnUNetTrainerSpineRandBiasField`."""

from nnunet_spine.training.variants import nnUNetTrainerSpineRandBiasField

__all__ = ["nnUNetTrainerSpineRandBiasField"]
