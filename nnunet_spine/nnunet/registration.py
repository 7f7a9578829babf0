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

    list_with_threads()

    default_experiment_planner.SpinePlanner = SpinePlanner
    default_preprocessor.SpinePreprocessor = SpinePreprocessor


def list_with_threads() -> None:
    """Let nnU-Net list a data set's files with threads instead of forked processes.

    It forks 12 processes to match file names. A process that already runs threads, as after a training, can hang in
    that for ever: a fork copies locks that nobody will release.
    """
    from multiprocessing.pool import ThreadPool

    from nnunetv2.utilities import utils

    utils.Pool = ThreadPool
