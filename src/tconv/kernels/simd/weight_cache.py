"""Packed weights, kept by what is in them.

Neither the identity of an array nor a version counter tells whether its numbers changed: optimisers, `.data` and NumPy
write without a trace. So every call takes a 64-bit fingerprint of all bytes (xxHash, 10 GB/s and more), and finds the
packed weight by that. `tconv.prepare` pays neither: it holds the packed weight itself.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import xxhash

from tconv._memory import TRIMMED, aligned, physical_memory
from tconv.kernels.problem import Array

_LARGE = 1 << 20
"""Bytes from which on a packed weight has huge pages of its own; a small one would waste most of them."""


def room(size: int) -> Array:
    """Bytes that begin at a cache line."""
    if size >= _LARGE:
        return aligned(size)
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + size]


class Store:
    """The packed weights that were used last, up to a number of bytes, and of weights."""

    def __init__(self, most: int, count: int = 4096) -> None:
        self.lock = threading.RLock()  # a finalizer or a signal may call from inside of any statement
        self._count = count
        self._kept: OrderedDict[Any, Array] = OrderedDict()
        self._bytes = 0
        self._most = most

    def find(self, key: Any) -> Array | None:
        """What was kept under this key."""
        with self.lock:
            found = self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = found  # as the last one used
            return found

    def keep(self, key: Any, made: Array) -> None:
        """Keep a packed weight, and forget those that were not used for longest."""
        if made.nbytes > self._most:
            return
        with self.lock:
            before = self._kept.pop(key, None)
            self._kept[key] = made
            self._bytes += made.nbytes - (0 if before is None else before.nbytes)
            while self._bytes > self._most or len(self._kept) > self._count:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes

    def trim(self) -> int:
        """Forget all of them; the bytes that they took."""
        with self.lock:
            held, self._bytes = self._bytes, 0
            self._kept.clear()
        return held


STORE = Store(min(1 << 30, (physical_memory() or 1 << 33) // 8))
TRIMMED.append(STORE.trim)

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=STORE.lock.acquire, after_in_parent=STORE.lock.release, after_in_child=STORE.lock.release
    )


def fingerprint(w: Array) -> int:
    """64 bits that stand for all bytes of an array, in the order of its elements."""
    whole = w if w.flags.c_contiguous else np.ascontiguousarray(w)
    return xxhash.xxh3_64_intdigest(whole.data if whole.size else b"")
