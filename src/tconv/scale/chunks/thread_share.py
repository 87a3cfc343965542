"""Threads of the kernel inside of a task: one team per process, as large as the process's share of the machine."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tconv.kernels.num_threads import get_num_threads, set_num_threads

_lock = threading.RLock()


@contextmanager
def thread_team() -> Iterator[None]:
    """Let the block have all threads of this worker. Other blocks of the process wait for its end, or its error.

    Threads of Dask that run at a time would each start a call; one call on all threads after the other is faster, and
    needs the scratch memory of one.
    """
    with _lock:
        before, threads = get_num_threads(), worker_threads()
        if threads is not None and threads != before:
            set_num_threads(threads)
        try:
            yield
        finally:
            if threads is not None and threads != before:
                set_num_threads(before)


def worker_threads() -> int | None:
    """Return the number of threads of the worker that runs this task; None to leave it as it is.

    A worker of `dask.distributed` has as many as it was given. A process of Dask's "processes" has one, because there
    are as many of them as cores. In the caller's own process the number is that of `tconv.set_num_threads`.
    """
    distributed = sys.modules.get("distributed.worker")
    if distributed is not None:
        try:
            return int(distributed.get_worker().state.nthreads)
        except ValueError:  # no worker runs this thread
            pass
    return 1 if multiprocessing.parent_process() is not None else None


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
