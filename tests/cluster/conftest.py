"""One real cluster and one undisturbed local run for all tests of this folder."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from slurm_cluster import Slurm, missing
from small_study import FOLDER, Study, write_source

LOCK = Path(tempfile.gettempdir()) / f"nnunet_spine_test_cluster_{os.getuid()}.lock"


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "cases")


@pytest.fixture(scope="session")
def local(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study, run on this machine without any disturbance."""
    study = Study.write(tmp_path_factory.mktemp("local") / FOLDER, source)
    done = study.run()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{study.complaint()}"
    return study


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    """A cluster of this one machine; other test processes wait for it."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reason = missing()
        if reason is not None:
            assert not os.environ.get("CI"), reason
            pytest.skip(reason)
        # munged refuses folders below one that others may write to.
        root = Path(tempfile.mkdtemp(prefix="slurm.", dir="/run"))
        root.chmod(0o755)  # munged is another user's
        cluster = Slurm(root)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(root, ignore_errors=True)
