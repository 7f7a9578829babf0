"""The command `train` in a process of its own, and what tests of its endings look at."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

COMMAND = [str(Path(sys.executable).with_name("nnunet-spine"))]
LIMIT_SECONDS = 300


def environment(tiny, results: Path, **more: str) -> dict[str, str]:
    """nnU-Net's folders, those of `tiny` with results elsewhere; one thread."""
    own = {k: v for k, v in os.environ.items() if not k.lower().startswith("nnunet")}
    folders = {"nnUNet_raw": tiny.workspace.raw, "nnUNet_preprocessed": tiny.workspace.preprocessed}
    counts = {"nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "1", "OMP_NUM_THREADS": "1"}
    return {**own, **{k: str(v) for k, v in folders.items()}, "nnUNet_results": str(results), **counts, **more}


def train_arguments(epochs: int, *more: str) -> list[str]:
    return [*COMMAND, "train", "58", "0", "--epochs", str(epochs), "--device", "cpu", "--threads", "1", *more]


def fold_folder(results: Path, trainer: str = "nnUNetTrainerSpine", plans: str = "nnUNetSpinePlans") -> Path:
    return results / "Dataset058_Tiny" / f"{trainer}__{plans}__3d_fullres" / "fold_0"


def run(arguments: list[str], **environment_of: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, env=environment_of, capture_output=True, text=True, check=False, timeout=LIMIT_SECONDS
    )


@contextmanager
def started(arguments: list[str], environment_of: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A process in a session of its own, gone with all its children after the block."""
    process = subprocess.Popen(
        arguments,
        env=environment_of,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_until(condition: Callable[[], object], process: subprocess.Popen[str], pause: float = 0.002) -> None:
    """Wait for a condition while the process lives."""
    end = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(pause)


def weights(folder: Path, name: str = "checkpoint_final.pth") -> dict[str, torch.Tensor]:
    return torch.load(folder / name, weights_only=False)["network_weights"]


def assert_same_result(one: Path, other: Path) -> None:
    """Equal weight tensors and predictions of two trained folds."""
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    predictions = sorted(path.name for path in (one / "validation").glob("*.nii.gz"))
    assert predictions == sorted(path.name for path in (other / "validation").glob("*.nii.gz"))
    assert predictions
    for name in predictions:
        assert (one / "validation" / name).read_bytes() == (other / "validation" / name).read_bytes()
