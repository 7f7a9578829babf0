"""Work that other processes help with: the same results in the same order, errors and killed helpers included."""

import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from math import sqrt
from pathlib import Path

import pytest

from nnunet_spine.dataset_conversion.dicom_grouping import FILES_PER_HELPER, read_export
from nnunet_spine.phantoms.cohort import write_cohort
from nnunet_spine.worker_processes import map_with_help


def slow_square(number: int) -> tuple[int, int]:
    time.sleep(0.002)
    return number * number, os.getpid()


def end_helpers(parent: int) -> None:
    if os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)


@pytest.mark.parametrize("helpers", [0, 1, 2])
def test_results_come_in_order_and_others_help(helpers):
    numbers = list(range(4000 if helpers else 50))
    results = list(map_with_help(slow_square, numbers, helpers=helpers, chunk=10))
    assert [square for square, _ in results] == [number**2 for number in numbers]
    processes = {process for _, process in results}
    assert os.getpid() in processes
    assert len(processes) == 1 + helpers


def test_little_work_is_done_here():
    assert list(map_with_help(sqrt, [4.0, 9.0], helpers=2, chunk=2)) == [2.0, 3.0]


def test_an_error_comes_through():
    with pytest.raises(ValueError, match="math domain"):
        list(map_with_help(sqrt, [1.0] * 50 + [-1.0], helpers=1, chunk=5))


def test_a_killed_helper_is_no_missing_result():
    with pytest.raises(BrokenProcessPool):
        list(map_with_help(end_helpers, [os.getpid()] * 4000, helpers=1, chunk=10))


def test_headers_are_the_same_whoever_reads_them(tmp_path):
    write_cohort(tmp_path / "first", cases=2)
    files = len([path for path in (tmp_path / "first").rglob("*") if path.is_file()])
    for number in range(FILES_PER_HELPER // files):
        shutil.copytree(tmp_path / "first", tmp_path / f"more_{number}")
    alone, helped = (read_export(tmp_path, processes=processes) for processes in (1, 2))
    assert len(alone.copies) + files > FILES_PER_HELPER
    assert helped.copies == alone.copies
    assert [(s.uid, s.files) for s in helped.series] == [(s.uid, s.files) for s in alone.series]
    for one, other in zip(alone.series, helped.series, strict=True):
        assert [plane.header for plane in other.slices] == [plane.header for plane in one.slices]


FREES = """
import os
import sys

from nnunet_spine.worker_processes import prepare_processes, worker_pool


def resident_mib():
    import numpy as np

    np.ones(2**23)  # 64 MiB, written and freed
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    prepare_processes("numpy", keep_memory=sys.argv[1] == "kept")
    assert os.environ.get("MALLOC_TRIM_THRESHOLD_") is None  # not for other processes of the caller
    with worker_pool(1) as pool:
        print(pool.submit(resident_mib).result())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have another malloc")
def test_workers_keep_freed_memory_where_they_are_told_to_unless_the_user_says_else(tmp_path: Path) -> None:
    script = tmp_path / "frees.py"
    script.write_text(FREES, encoding="utf-8")

    def resident_mib(how: str, **environment: str) -> float:
        told = {**{k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}, **environment}
        run = subprocess.run([sys.executable, script, how], capture_output=True, text=True, check=True, env=told)
        return float(run.stdout)

    given_back = resident_mib("freed")
    assert resident_mib("kept") > given_back + 60
    assert resident_mib("kept", MALLOC_MMAP_THRESHOLD_="65536", MALLOC_TOP_PAD_="0") < given_back + 20


INTERRUPTED_TWICE = """
import os, signal, sys, threading, time
from nnunet_spine.worker_processes import worker_pool

def work(seconds):
    time.sleep(seconds)

def interrupt_twice(number):
    time.sleep(0.3)
    for _ in range(2):
        os.kill(os.getpid(), number)
        time.sleep(0.3)

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with worker_pool(1) as pool:
            pool.submit(work, 0).result()
            jobs = [pool.submit(work, seconds) for seconds in (1, 1, 1, 60, 60)]  # three are handed over at once
            threading.Thread(target=interrupt_twice, args=(getattr(signal, sys.argv[1]),)).start()
            jobs[0].result()
    except KeyboardInterrupt:
        print("interrupted", signal.getsignal(signal.SIGTERM) is signal.default_int_handler, flush=True)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_interruption_does_not_keep_a_process_from_ending(tmp_path: Path, name: str) -> None:
    (tmp_path / "twice.py").write_text(INTERRUPTED_TWICE)
    command = [sys.executable, str(tmp_path / "twice.py"), name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted True\n"), done.stderr
