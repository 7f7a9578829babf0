"""GPUs of one machine, each for one training."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from nnunet_spine.errors import NotWritable
from nnunet_spine.workflow.gpus import VISIBLE, claim_gpus


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def test_parts_of_a_gpu_have_slashes_in_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "MIG-GPU-5c89/1/0, MIG-GPU-5c89/2/0,")
    with claim_gpus(1) as first, claim_gpus(1) as second:
        assert (first, second) == ({VISIBLE: "MIG-GPU-5c89/1/0"}, {VISIBLE: "MIG-GPU-5c89/2/0"})


def test_a_link_in_the_place_of_a_lock_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "0")
    with claim_gpus(1):
        pass
    (lock,) = tmp_path.glob("nnunet_spine_gpus_*/0")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotWritable, match="the lock of a GPU"), claim_gpus(1):
        pass
    assert not (tmp_path / "elsewhere").exists()
