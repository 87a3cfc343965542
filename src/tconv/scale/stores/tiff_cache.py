"""Cache of decoded tiles, bounded in bytes: neighbouring windows overlap, and a strip is as wide as its page."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from tconv._arrays import Array


class SegmentCache:
    """The most recently used arrays, of `limit` bytes in all, or one array if that is larger.

    >>> import numpy as np
    >>> cache = SegmentCache(10)
    >>> cache.get("a", lambda: np.zeros(8, np.uint8)).size, cache.get("b", lambda: np.ones(8, np.uint8)).size
    (8, 8)
    >>> cache.bytes                                         # the second has replaced the first
    8
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.bytes = limit, 0
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()

    def get(self, key: Hashable, decode: Callable[[], Array]) -> Array:
        """Return the array of a key, made by `decode` if it is not there. Threads may decode one twice."""
        with self._lock:
            if (found := self._arrays.get(key)) is not None:
                self._arrays.move_to_end(key)
                return found
        made = decode()
        with self._lock:
            if key not in self._arrays:
                self._arrays[key] = made
                self.bytes += made.nbytes
            while self.bytes > self.limit and len(self._arrays) > 1:
                self.bytes -= self._arrays.popitem(last=False)[1].nbytes
        return made

    def clear(self) -> None:
        """Remove all arrays."""
        with self._lock:
            self._arrays.clear()
            self.bytes = 0
