"""Locks: between real processes, and what the second one says."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from nnunet_spine.errors import NotWritable
from nnunet_spine.locks import LOCK_NAME, hold, sole_writer, sole_writer_in

HOLD = """
import sys
from pathlib import Path
from nnunet_spine.locks import sole_writer_in
with sole_writer_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with sole_writer(tmp_path / "new" / "data"):
        with pytest.raises(NotWritable, match="is being written by"), sole_writer(tmp_path / "new" / "data"):
            pass
        with sole_writer(tmp_path / "new" / "other"):
            pass
        (tmp_path / "new" / "data").mkdir()
    assert names(tmp_path / "new") == ["data"]
    with pytest.raises(KeyError), sole_writer(tmp_path / "newer" / "still" / "data"):
        raise KeyError
    assert names(tmp_path) == ["new"]
    with sole_writer(tmp_path / "newest" / "data"):  # nothing comes of it
        pass
    assert names(tmp_path) == ["new"]


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from nnunet_spine.locks import sole_writer\n"
        "with sole_writer(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "data")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".data.lock"]
    with sole_writer(tmp_path / "data"):
        pass
    assert names(tmp_path) == []


def test_the_second_process_says_who_holds_the_place(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(NotWritable) as refused, sole_writer_in(tmp_path / "out"):
            pass
        text = str(refused.value)
        assert f"{tmp_path / 'out'} is being written by process {holder.pid} on {socket.gethostname()}" in text
        holder.communicate("go\n")
    with sole_writer_in(tmp_path / "out"):
        assert names(tmp_path / "out") == [LOCK_NAME]
        (tmp_path / "out" / "result").touch()
    assert names(tmp_path / "out") == ["result"]
    with sole_writer_in(tmp_path / "none"):
        pass
    assert names(tmp_path) == ["out"]


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        holder.stdin.write("go\n")
        holder.stdin.flush()
        with hold(tmp_path / LOCK_NAME, what=tmp_path, wait_seconds=60):
            pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_without_a_name_is_another_process(tmp_path: Path, content: str) -> None:
    with hold(tmp_path / "a.lock", what=tmp_path):
        (tmp_path / "a.lock").write_text(content)
        with pytest.raises(NotWritable, match="another process"), hold(tmp_path / "a.lock", what=tmp_path):
            pass


def test_a_link_to_a_data_set_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "data").symlink_to(tmp_path / "disk" / "data")
    with sole_writer(tmp_path / "raw" / "data"):
        assert names(tmp_path / "disk") == [".data.lock", "data"]
    assert (tmp_path / "raw" / "data").is_symlink()
