"""Memory in huge pages, and a pool of it for outputs.

A fresh array is paid for at its first touch, a page at a time: filling it can cost more than the arithmetic. Memory of
arrays that nobody holds any more is kept for the next one, up to a limit; `trim_pool` gives it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import TooLargeError

_PAGE = 2 << 20
_LEAST = 1 << 20
"""Smaller arrays are NumPy's own: they are in its cache, or cheap."""
_KEPT = 1 << 29
"""Bytes that the pool may hold, if that is not more than an eighth of the machine's memory."""


def mapped(size: int) -> mmap.mmap:
    """Private memory, zero, in huge pages where the system gives them. Raises MemoryError where there is none left."""
    # on Unix a mapping without a file is shared with forked children, unless one says otherwise
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
    try:
        made = mmap.mmap(-1, size, **private)
    except OSError as error:
        if trim_pool() == 0:
            raise MemoryError(f"{size} bytes are not there: {error}") from None
        return mapped(size)
    with contextlib.suppress(AttributeError, OSError):
        made.madvise(mmap.MADV_HUGEPAGE)
    return made


def aligned(size: int) -> Array:
    """Zeros, as bytes that begin at a huge page."""
    whole = np.frombuffer(mapped(size + _PAGE), np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]


class Pool:
    """Blocks of memory that come back when the last array over them dies."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run inside of any statement
        self._free: dict[int, list[mmap.mmap]] = {}  # by size, what came back last at the end
        self._most = min(_KEPT, (physical_memory() or 1 << 32) // 8)

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
        """An uninitialised array of this shape, dtype and number of bytes."""
        rounded = -(-size // _PAGE) * _PAGE
        with self._lock:
            blocks = self._free.get(rounded)
            block = blocks.pop() if blocks else None
        block = block or mapped(rounded + _PAGE)
        start = -ctypes.addressof(ctypes.c_char.from_buffer(block)) % _PAGE
        owner = (ctypes.c_char * size).from_buffer(block, start)
        # NumPy looks through arrays for the base of a view, and stops at this: it dies with the last of them
        weakref.finalize(owner, self._back, rounded, block).atexit = False
        made: Array = np.frombuffer(memoryview(owner), np.uint8).view(dtype).reshape(shape)
        return made

    def _back(self, size: int, block: mmap.mmap) -> None:
        with self._lock:
            if size > self._most:
                return
            while self._held() + size > self._most:  # a size that has not come back for long makes room
                longest, others = next(iter(self._free.items()))
                if others:
                    others.pop()
                else:
                    del self._free[longest]
            blocks = self._free.pop(size, [])
            blocks.append(block)
            self._free[size] = blocks

    def _held(self) -> int:
        return sum(size * len(blocks) for size, blocks in self._free.items())

    def trim(self) -> int:
        """Give all of it back to the system; the bytes that it held."""
        with self._lock:
            held = self._held()
            self._free = {}
        return held


def physical_memory() -> int | None:
    """Bytes of physical memory, or None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def si(value: float, unit: str) -> str:
    """A number with an SI prefix: 12345678 with "B" as "12.3 MB"."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.4g} E{unit}"


def refuse_too_large(needed: int, output: int, shape: tuple[int, ...]) -> None:
    """Before anything is allocated: predicted bytes over physical memory are refused."""
    there = physical_memory()
    if there is not None and needed > there:
        raise TooLargeError(
            f"the call needs {si(needed, 'B')} ({si(output, 'B')} of them output {shape}); this machine has "
            f"{si(there, 'B')}. Write it in pieces: Geometry.input_window tells which input a part of the output needs"
        )


_pool = Pool()
TRIMMED: list[Callable[[], int]] = [_pool.trim]
"""What `trim_pool` calls: each gives back what it keeps, and says how many bytes that were."""


if hasattr(os, "register_at_fork"):
    # no other thread is half-way through a change when the child's copy is made
    os.register_at_fork(
        before=_pool._lock.acquire, after_in_parent=_pool._lock.release, after_in_child=_pool._lock.release
    )


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An uninitialised array for an output: a large one from the pool, at an address that suits the vector units."""
    size = math.prod(shape) * dtype.itemsize
    return _pool.empty(shape, dtype, size) if size >= _LEAST else np.empty(shape, dtype)


def trim_pool() -> int:
    """Give the memory of past outputs and packed weights back to the system; returns how many bytes that were.

    >>> import tconv
    >>> bytes_given_back = tconv.trim_pool()

    Large outputs (from 1 MiB) come from memory that is kept when the last array over it dies, because fresh memory is
    slow at its first touch. At most 512 MiB, or an eighth of the machine's memory, are kept. Weights are kept as the
    kernel reads them, up to 1 GiB or an eighth; what a layer of `tconv.prepare` holds stays with it.
    """
    return sum(trim() for trim in TRIMMED)
