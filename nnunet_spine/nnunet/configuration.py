"""nnU-Net's view of our plans: managers that find our preprocessor and our reader in every process."""

from __future__ import annotations

from functools import partial
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_spine.nnunet.orientation import PREPROCESSOR_NAME, Orientation, of_our_plans, recorded


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


class SpinePlansManager(PlansManager):
    """nnU-Net's plans manager, except that images are turned to the orientation of the plans' data set.

    Worker processes find the reader as they find the preprocessor.
    """

    orientation = Orientation(None)

    @property
    def image_reader_writer_class(self) -> Any:
        """What makes a reader when it is called."""
        from nnunet_spine.nnunet.image_io import SpineImageIO

        return partial(SpineImageIO, self.orientation.axes)


def adopt(plans_manager: PlansManager, configuration_manager: ConfigurationManager) -> None:
    """Turn the managers of plans into ours, in place; those that are not for us stay as they are."""
    ours = configuration_manager.preprocessor_name == PREPROCESSOR_NAME
    if ours:
        configuration_manager.__class__ = SpineConfigurationManager
    known = of_our_plans(plans_manager.plans) if ours else recorded(plans_manager.plans)
    if known is not None and not isinstance(plans_manager, SpinePlansManager):
        adopt_orientation(plans_manager, known)


def adopt_orientation(plans_manager: PlansManager, orientation: Orientation) -> None:
    """Let the images of plans be read as `SpineImageIO` does."""
    plans_manager.__class__ = SpinePlansManager
    plans_manager.orientation = orientation
