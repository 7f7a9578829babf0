"""Worker processes: forked from one process that imported everything, and gone when the work is done."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context, parent_process
from typing import Any, TypeVar

import SimpleITK as sitk

from nnunet_spine.environment_variables import variables_set

Item = TypeVar("Item")
Result = TypeVar("Result")

KEPT_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_TOP_PAD_": str(2**28),
}
"""For glibc: keep freed memory. What a convolution or a resampling frees and asks for again, 50 MiB and more at a time,
is then not handed back to the system, which fills it with zeros each time. Elsewhere these variables are ignored."""


def prepare_processes(*modules: str, keep_memory: bool = False) -> None:
    """Start the process that worker processes are forked from; it imports while the caller goes on.

    All of them share what it has imported, in time and in memory. Its environment is that of now. Where it runs
    already, nothing changes.

    Parameters
    ----------
    modules
        What it imports, by full names.
    keep_memory
        Whether worker processes keep what they free; what the user set of `KEPT_MEMORY` stays.
    """
    get_context("forkserver").set_forkserver_preload(list(modules))
    unset = {name: value for name, value in KEPT_MEMORY.items() if keep_memory and name not in os.environ}
    with variables_set(unset):  # for these processes alone
        forkserver.ensure_running()


@contextmanager
def mapping(processes: int) -> Iterator[Any]:
    """`map`, or that of a pool of processes which stops at once where the block raises."""
    if processes < 2:
        yield map
        return
    with worker_pool(processes) as pool:
        yield pool.map


def map_with_help(
    function: Callable[[Item], Result], items: Sequence[Item], *, helpers: int, chunk: int
) -> Iterator[Result]:
    """Results in the order of `items`, worked out by this process from the front and by others from the back.

    This process begins at once, while the others get ready; so they pay even where the work takes a few seconds.

    Parameters
    ----------
    function
        Of a module, since it is sent to other processes; so are items and results.
    items
        What to work on.
    helpers
        Other processes; 0 for none.
    chunk
        Items that are taken at once. Fewer than two chunks are not worth a process.
    """
    chunks = [items[start : start + chunk] for start in range(0, len(items), chunk)]
    if helpers < 1 or len(chunks) < 2:
        yield from map(function, items)
        return
    left, results = deque(range(len(chunks))), [Future[list[Result]]() for _ in chunks]

    def help_from_the_back(pool: ProcessPoolExecutor) -> None:
        """Hand over the last chunk that is left, until none is."""
        with suppress(IndexError):
            while True:
                number = left.pop()
                try:
                    results[number].set_result(pool.submit(_work, function, chunks[number]).result())
                except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
                    results[number].set_exception(error)

    with worker_pool(helpers) as pool:
        # Starting a process waits for the one that it is forked from, hence threads.
        threads = [threading.Thread(target=help_from_the_back, args=(pool,), daemon=True) for _ in range(helpers)]
        for thread in threads:
            thread.start()
        try:
            for result in results:
                try:
                    number = left.popleft()
                except IndexError:
                    yield from result.result()
                else:
                    yield from map(function, chunks[number])
        finally:
            left.clear()
            for thread in threads:
                thread.join()


def _work(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


@contextmanager
def worker_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """A pool of processes of one thread each, which begins nothing more where the block raises."""
    pool = ProcessPoolExecutor(processes, mp_context=get_context("forkserver"), initializer=_prepare_worker)
    try:
        yield pool
    finally:
        with _uninterrupted():
            pool.shutdown(cancel_futures=True)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM in the block: a pool that is left in its shutdown keeps the process from ending.

    A second Ctrl-C changes nothing then: the first one ends the command as soon as workers have done what they were
    handed. In other threads, which get no signals, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _prepare_worker() -> None:
    """One thread a process; an interruption is the parent's to handle, and a worker ends with a killed parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # the queues' threads would wait for ever
