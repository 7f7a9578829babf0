"""One GPU for one training where no scheduler hands them out."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_spine.errors import NotWritable
from nnunet_spine.files import make_folder, system_reason
from nnunet_spine.workflow.demands import gpus_here

VISIBLE = "CUDA_VISIBLE_DEVICES"
WAIT_SECONDS = 5.0


@contextmanager
def claim_gpus(count: int) -> Iterator[dict[str, str]]:
    """Hold some of this machine's GPUs for the block, waiting until they are free; gives the variable that names them.

    Under SLURM, and where none are asked for, it gives nothing: the allocation says what is visible. The locks end with
    the process.
    """
    if count < 1 or "SLURM_JOB_ID" in os.environ:
        yield {}
        return
    given = os.environ.get(VISIBLE)
    named = [device.strip() for device in given.split(",")] if given else map(str, range(gpus_here()))
    devices = [device for device in named if device]
    folder = make_folder(Path(tempfile.gettempdir()) / f"nnunet_spine_gpus_{os.getuid()}")
    held: dict[str, int] = {}
    try:
        while len(held) < min(count, len(devices)):
            for device in devices:
                if device not in held and len(held) < count:
                    descriptor = _try(folder / device.replace(os.sep, "_"))
                    if descriptor is not None:
                        held[device] = descriptor
            if len(held) < min(count, len(devices)):
                time.sleep(WAIT_SECONDS)
        yield {VISIBLE: ",".join(held)} if held else {}
    finally:
        for descriptor in held.values():
            os.close(descriptor)


def _try(path: Path) -> int | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise NotWritable(f"Cannot write {path}, the lock of a GPU: {system_reason(error)}. Remove it.") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
