"""The error family.

Every error that a user can cause derives from `NnunetSpineError` and from the
built-in kind that it is. Its message is one paragraph: what was found, where,
what was expected, and what to do next. It never carries patient data.
"""


class NnunetSpineError(Exception):
    """Root of all errors that this package raises on purpose.

    `exit_code` is what the command line returns: 1 where the work failed, 2
    where the usage or the input was bad.
    """

    exit_code = 1


class BadInput(NnunetSpineError, ValueError):
    """A file, a value or an option that cannot be used as given."""

    exit_code = 2


class NotFound(NnunetSpineError, FileNotFoundError):
    """A file, folder, data set, fold or case that should exist and does not."""

    exit_code = 2


class NotWritable(NnunetSpineError, OSError):
    """An output place that cannot be written, or is in the way."""

    exit_code = 2


class GeometryMismatch(NnunetSpineError, ValueError):
    """Two volumes that should lie on one grid and do not."""

    exit_code = 2


class WorkFailed(NnunetSpineError, RuntimeError):
    """Sound input, but the work could not be completed."""


class MissingDependency(NnunetSpineError, ImportError):
    """A library that is needed here is absent or broken."""
