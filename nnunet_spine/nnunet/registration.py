"""Making nnU-Net's look-ups by name find our classes in this process."""

from __future__ import annotations


def register() -> None:
    """Set our planner and preprocessor as attributes of nnU-Net's modules, where its look-ups search.

    nnU-Net finds planners and preprocessors by walking its own modules and
    asking each for an attribute of the name. It has a hook for external
    trainers only.
    """
    from nnunetv2.experiment_planning.experiment_planners import default_experiment_planner
    from nnunetv2.preprocessing.preprocessors import default_preprocessor

    from nnunet_spine.nnunet.planner import SpinePlanner
    from nnunet_spine.nnunet.preprocessor import SpinePreprocessor

    default_experiment_planner.SpinePlanner = SpinePlanner
    default_preprocessor.SpinePreprocessor = SpinePreprocessor
