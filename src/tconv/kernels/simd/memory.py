"""Memory in huge pages, and a pool of it for outputs.

A fresh array is paid for at its first touch, a page at a time: filling it can cost more than the arithmetic. Memory of
arrays that nobody holds any more is kept for the next one, up to a bound; `trim_pool` gives it back.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
import weakref
from typing import Any

import numpy as np

_PAGE = 2 << 20
_LEAST = 1 << 20
"""Smaller arrays are NumPy's own: they are in its cache, or cheap."""
_KEPT = 1 << 29
"""Bytes that the pool may hold, if that is not more than an eighth of the machine's memory."""


def mapped(size: int) -> mmap.mmap:
    """Private memory, zero, in huge pages where the system gives them."""
    made = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if os.name == "posix" else mmap.mmap(-1, size)
    with contextlib.suppress(AttributeError, OSError):
        made.madvise(mmap.MADV_HUGEPAGE)
    return made


def aligned(size: int) -> np.ndarray[Any, Any]:
    """Zeros, as bytes that begin at a huge page."""
    whole = np.frombuffer(mapped(size + _PAGE), np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]


class Pool:
    """Blocks of memory that come back when the last array over them dies."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run inside of any statement
        self._free: dict[int, list[mmap.mmap]] = {}
        self._held = 0
        self._most = min(_KEPT, _physical() // 8)

    def empty(self, shape: tuple[int, ...], size: int) -> np.ndarray[Any, Any]:
        """An uninitialised float32 array of this shape, and this many bytes."""
        rounded = -(-size // _PAGE) * _PAGE
        with self._lock:
            blocks = self._free.get(rounded)
            block = blocks.pop() if blocks else None
            if block is not None:
                self._held -= rounded
        block = block or mapped(rounded + _PAGE)
        start = -ctypes.addressof(ctypes.c_char.from_buffer(block)) % _PAGE
        owner = (ctypes.c_char * size).from_buffer(block, start)
        # NumPy looks through arrays for the base of a view, and stops at this: it dies with the last of them
        weakref.finalize(owner, self._back, rounded, block).atexit = False
        return np.frombuffer(owner, np.float32).reshape(shape)

    def _back(self, size: int, block: mmap.mmap) -> None:
        with self._lock:
            if self._held + size <= self._most:
                self._free.setdefault(size, []).append(block)
                self._held += size

    def trim(self) -> int:
        """Give all of it back to the system; the bytes that it held."""
        with self._lock:
            held, self._held = self._held, 0
            self._free.clear()
        return held


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 1 << 32


OUTPUTS = Pool()


def empty(shape: tuple[int, ...], size: int) -> np.ndarray[Any, Any]:
    """An uninitialised float32 array, large ones from the pool."""
    return OUTPUTS.empty(shape, size) if size >= _LEAST else np.empty(shape, np.float32)
