"""Where nnU-Net finds `nnUNetTrainerSpineDemoBaseline`."""

from nnunet_spine.training.variants import nnUNetTrainerSpineDemoBaseline

__all__ = ["nnUNetTrainerSpineDemoBaseline"]
