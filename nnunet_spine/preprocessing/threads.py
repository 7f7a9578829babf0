"""One thread for numpy's linear algebra: the same bits on every machine, and no contest between worker processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    """The libraries that are loaded at the first call, numpy's among them."""
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread for the block.

    How it shares a product among threads decides the last bits of its sums. The products here are small: sharing them
    makes them slower, the more so where each of several workers does it.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield
