"""Cache of packed weights, by a fingerprint of their bytes.

Neither the identity of an array nor a version counter shows that its numbers changed: optimisers, `.data` and NumPy
write without a trace. So every call computes a 64-bit fingerprint of all bytes (xxHash, 10 GB/s and more), and looks
up the packed weight by it. A prepared layer does not: it has the packed weight itself.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any

import numpy as np
import xxhash

from tconv._arrays import Array
from tconv._fork import own_in_forks
from tconv._memory import TRIMMED, aligned, physical_memory

_LARGE = 1 << 20
"""Bytes from which on a packed weight has its own huge pages; a smaller one would waste most of them."""


def cache_line_aligned(size: int) -> Array:
    """Return this many bytes, zero, that begin at a cache line."""
    if size >= _LARGE:
        return aligned(size)
    whole = np.zeros(size + 64, np.uint8)
    start = -whole.ctypes.data % 64
    return whole[start : start + size]


class WeightCache:
    """Cache of the packed weights that were used last, limited in bytes and in number."""

    def __init__(self, most_bytes: int, most_weights: int = 4096) -> None:
        self.lock = threading.RLock()  # a finalizer or a signal may call from inside of any statement
        self._weights: OrderedDict[Any, Array] = OrderedDict()  # the last one used at the end
        self._bytes = 0
        self._most_bytes, self._most_weights = most_bytes, most_weights

    def get(self, key: Any) -> Array | None:
        """Return the packed weight with this key, or None."""
        with self.lock:
            weight = self._weights.pop(key, None)
            if weight is not None:
                self._weights[key] = weight  # at the end
            return weight

    def put(self, key: Any, weight: Array) -> None:
        """Add a packed weight, and remove those that were not used for longest while there are too many."""
        if weight.nbytes > self._most_bytes:
            return
        with self.lock:
            before = self._weights.pop(key, None)
            self._weights[key] = weight
            self._bytes += weight.nbytes - (0 if before is None else before.nbytes)
            while self._bytes > self._most_bytes or len(self._weights) > self._most_weights:
                _, oldest = self._weights.popitem(last=False)
                self._bytes -= oldest.nbytes

    def trim(self) -> int:
        """Remove all packed weights, and return their bytes."""
        with self.lock:
            freed, self._bytes = self._bytes, 0
            self._weights.clear()
        return freed


WEIGHT_CACHE = WeightCache(min(1 << 30, (physical_memory() or 1 << 33) // 8))
"""Cache of this process, for calls whose weight is not prepared."""
TRIMMED.append(WEIGHT_CACHE.trim)

own_in_forks(WEIGHT_CACHE.lock)


def fingerprint(w: Array) -> int:
    """Return a 64-bit hash of all bytes of an array, in the order of its elements."""
    contiguous = w if w.flags.c_contiguous else np.ascontiguousarray(w)
    if contiguous.dtype.kind == "V":  # bfloat16, which Python's buffers do not have
        contiguous = contiguous.view(np.uint16)
    return xxhash.xxh3_64_intdigest(contiguous.data if contiguous.size else b"")
