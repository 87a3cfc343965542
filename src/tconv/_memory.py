"""Memory in huge pages, a pool of it for outputs, and the check that a call fits into the machine's memory.

The system provides the pages of a new array at its first access, which can take longer than the arithmetic. The memory
of arrays that are no longer referenced is therefore reused, up to a limit; `trim_pool` releases it.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import mmap
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv._fork import own_in_forks
from tconv.errors import TooLargeError

_PAGE = 2 << 20
_POOL_MINIMUM = 1 << 20
"""Bytes below which arrays are allocated by NumPy: its cache has them, or they are cheap."""
_POOL_LIMIT = 1 << 29
"""Most bytes that the pool retains, unless an eighth of the machine's memory is less."""


def mapped(size: int) -> mmap.mmap:
    """Return zeroed private memory, in huge pages if the system has them. Raises MemoryError if none is left."""
    # on Unix a mapping without a file is shared with forked children by default
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if os.name == "posix" else {}
    try:
        block = mmap.mmap(-1, size, **private)
    except OSError as error:
        if trim_pool() == 0:
            raise MemoryError(f"{size} bytes cannot be allocated: {error}") from None
        return mapped(size)
    with contextlib.suppress(AttributeError, OSError):
        block.madvise(mmap.MADV_HUGEPAGE)
    return block


def aligned(size: int) -> Array:
    """Return zeros, as bytes that begin at a huge page."""
    whole = np.frombuffer(mapped(size + _PAGE), np.uint8)
    start = -whole.ctypes.data % _PAGE
    return whole[start : start + size]


class Pool:
    """Pool of memory blocks, to which a block returns when the last array over it is deleted."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a finalizer may run inside of any statement
        self._free: dict[int, list[mmap.mmap]] = {}  # by size, the most recently returned last
        self._limit = min(_POOL_LIMIT, (physical_memory() or 1 << 32) // 8)
        self._used = 0  # bytes of the blocks that arrays have
        self._bounds: list[int] = []  # of the jobs that run: bytes of all blocks from which on free ones are released

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> Array:
        """Return an uninitialised array of this shape, dtype and number of bytes."""
        rounded = -(-size // _PAGE) * _PAGE
        with self._lock:
            blocks = self._free.get(rounded)
            block = blocks.pop() if blocks else None
            self._used += rounded
            if self._bounds:
                self._release(min(self._bounds) - self._used)
        try:
            block = block or mapped(rounded + _PAGE)
        except BaseException:
            with self._lock:
                self._used -= rounded
            raise
        start = -ctypes.addressof(ctypes.c_char.from_buffer(block)) % _PAGE
        owner = (ctypes.c_char * size).from_buffer(block, start)
        # the base of every view is this object and not an array, so that it is deleted with the last of them
        weakref.finalize(owner, self._return, rounded, block).atexit = False
        array: Array = np.frombuffer(memoryview(owner), np.uint8).view(dtype).reshape(shape)
        return array

    def _return(self, size: int, block: mmap.mmap) -> None:
        with self._lock:
            self._used -= size
            limit = min([self._limit, *(bound - self._used for bound in self._bounds)])
            if size > limit:
                return
            self._release(limit - size)
            blocks = self._free.pop(size, [])
            blocks.append(block)
            self._free[size] = blocks

    def _release(self, limit: int) -> None:
        """Release free blocks, the size that was not used for longest first, until this many bytes are left."""
        while self._free and self._free_bytes() > limit:
            oldest, others = next(iter(self._free.items()))
            if others:
                others.pop()
            else:
                del self._free[oldest]

    def _free_bytes(self) -> int:
        return sum(size * len(blocks) for size, blocks in self._free.items())

    @contextlib.contextmanager
    def bounded(self, most: int) -> Iterator[None]:
        """Keep all blocks together below this many bytes within the block, as far as they are free."""
        with self._lock:
            self._bounds.append(most)
        try:
            yield
        finally:
            with self._lock:
                self._bounds.remove(most)

    def trim(self) -> int:
        """Release all free blocks to the system, and return their bytes."""
        with self._lock:
            released = self._free_bytes()
            self._free = {}
        return released


def physical_memory() -> int | None:
    """Return the bytes of physical memory, or None if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def si(value: float, unit: str) -> str:
    """Return a number with an SI prefix: 12345678 with "B" as "12.3 MB"."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if value < 999.5:
            return f"{value:.3g} {prefix}{unit}"
        value /= 1000
    return f"{value:.4g} E{unit}"


def refuse_too_large(needed: int, output: int, shape: tuple[int, ...]) -> None:
    """Raise TooLargeError if the predicted bytes of a call exceed physical memory, before anything is allocated."""
    memory = physical_memory()
    if memory is not None and needed > memory:
        raise TooLargeError(
            f"the call needs {si(needed, 'B')} ({si(output, 'B')} of them output {shape}); this machine has "
            f"{si(memory, 'B')}. Use several smaller calls: Geometry.input_window returns the input that a part of the "
            "output needs"
        )


_pool = Pool()
TRIMMED: list[Callable[[], int]] = [_pool.trim]
"""Functions that `trim_pool` calls: each releases the memory of a cache, and returns the number of its bytes."""


own_in_forks(_pool._lock)


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array for an output: a large one from the pool, aligned for the vector units."""
    size = math.prod(shape) * dtype.itemsize
    return _pool.empty(shape, dtype, size) if size >= _POOL_MINIMUM else np.empty(shape, dtype)


def trim_outputs() -> int:
    """Release the memory of past outputs to the system, not that of packed weights, and return the number of bytes."""
    return _pool.trim()


def pool_bounded(most: int) -> contextlib.AbstractContextManager[None]:
    """Release memory of past outputs, within the block, as soon as the pool's memory exceeds this many bytes.

    Arrays in use are allocated, however many; only what is retained beside them is bounded. Of several bounds, of jobs
    in threads for example, the smallest holds.
    """
    return _pool.bounded(most)


def trim_pool() -> int:
    """Release the memory of past outputs and packed weights to the system, and return the number of bytes.

    >>> import tconv
    >>> released_bytes = tconv.trim_pool()

    Large outputs (from 1 MiB) use memory that is retained when the last array over it is deleted, because new memory is
    slow at its first access. At most 512 MiB, or an eighth of the machine's memory, are retained. Packed weights are
    cached, up to 1 GiB or an eighth; those of a layer of `tconv.prepare` belong to it and are not released.
    """
    return sum(trim() for trim in TRIMMED)
