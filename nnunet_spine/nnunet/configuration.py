"""nnU-Net's view of our plans: a configuration that finds our preprocessor in every process."""

from __future__ import annotations

from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

PREPROCESSOR_NAME = "SpinePreprocessor"


class SpineConfigurationManager(ConfigurationManager):
    """nnU-Net's configuration manager, except that it knows where our preprocessor is.

    nnU-Net looks a preprocessor up by name inside its own package. Its
    prediction workers are new processes in which nothing of ours is registered;
    they unpickle the configuration manager by reference, which imports this
    module, and so find the class.
    """

    @property
    def preprocessor_class(self) -> Any:
        """The preprocessor class that the plans name."""
        from nnunet_spine.nnunet.preprocessor import SpinePreprocessor

        return SpinePreprocessor


def adopt(configuration_manager: ConfigurationManager) -> None:
    """Turn a configuration manager of our plans into a `SpineConfigurationManager`, in place."""
    if configuration_manager.preprocessor_name == PREPROCESSOR_NAME:
        configuration_manager.__class__ = SpineConfigurationManager
