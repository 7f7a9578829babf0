"""Where nnU-Net finds `nnUNetTrainerSpineNoBackground`."""

from nnunet_spine.training.variants import nnUNetTrainerSpineNoBackground

__all__ = ["nnUNetTrainerSpineNoBackground"]
