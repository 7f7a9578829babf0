"""A system without what only Linux has: put its folder first into PYTHONPATH, and each process starts like this.

Taken away from this package: the CPUs that a process may use, the kernel's figures, prctl, renameat2, /proc, and
forking as the usual way to make processes. psutil keeps /proc, since on Linux it works by it.
"""

import builtins
import ctypes
import io
import multiprocessing
import os
import sys

LINUX_ONLY = ("prctl", "renameat2")


class Library(ctypes.CDLL):
    """The C library as another system has it."""

    def __getattr__(self, name: str):
        if name in LINUX_ONLY:
            raise AttributeError(name)
        return super().__getattr__(name)


def from_us() -> bool:
    """Whether this package asks, not a library that it calls."""
    frame = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename.endswith(("pathlib.py", "genericpath.py", "posixpath.py")):
        frame = frame.f_back
    return frame is not None and f"{os.sep}nnunet_spine{os.sep}" in frame.f_code.co_filename


def without_proc(function):
    """The function for a system without /proc."""

    def asked(path, *arguments, **options):
        if not isinstance(path, int) and str(os.fspath(path)).startswith("/proc") and from_us():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return function(path, *arguments, **options)

    return asked


def no_figure(name):
    if from_us():
        raise ValueError(f"unrecognized configuration name {name}")
    return figure(name)


figure, os.sysconf = os.sysconf, no_figure
del os.sched_getaffinity, os.sched_setaffinity
ctypes.CDLL = Library
for module, name in ((builtins, "open"), (io, "open"), (os, "open"), (os, "readlink"), (os, "stat"), (os, "lstat")):
    setattr(module, name, without_proc(getattr(module, name)))
multiprocessing.set_start_method("spawn")
