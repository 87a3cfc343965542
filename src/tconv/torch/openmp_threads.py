"""Access to PyTorch's OpenMP threads, so that the kernel can run on them.

Between two operators PyTorch's OpenMP threads spin for a while, on all cores. The kernel's own threads would share the
cores with them: a network with few and short operators between its layers took half as long again
(`benchmarks/openmp_threads.py`). So the kernel asks the same runtime for the same threads.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch


@cache
def _runtime() -> tuple[int, int] | None:
    """Return the addresses of `GOMP_parallel` and `omp_get_thread_num` in PyTorch's OpenMP runtime, or None.

    GNU's runtime defines these names, and those of LLVM and Intel have them, too.
    """
    if sys.platform != "linux" or not torch.backends.openmp.is_available():
        return None
    try:
        # a symbol is looked up in a library, and then in those that it is linked with
        library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"))
        parallel, number = (
            ctypes.cast(getattr(library, name), ctypes.c_void_p).value
            for name in ("GOMP_parallel", "omp_get_thread_num")
        )
    except (OSError, AttributeError):
        return None
    return (parallel, number) if parallel and number else None


_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def pytorch_threads(threads: int) -> Any:
    """Return this many of PyTorch's threads, as `OpenMPThreads`; None in a forked child, where it has none."""
    addresses = None if _forked else _runtime()
    if addresses is None:
        return None
    return _threads(*addresses, threads)


@cache
def _threads(parallel: int, number: int, threads: int) -> Any:
    from tconv.kernels.simd.openmp_threads import OpenMPThreads

    return OpenMPThreads(parallel, number, threads)
