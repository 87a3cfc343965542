"""An object that each process has once, however often tasks bring it: known by its fingerprint."""

from __future__ import annotations

import pickle
import threading
import weakref
from typing import Any

_lock = threading.Lock()
_known: weakref.WeakValueDictionary[str, Shared] = weakref.WeakValueDictionary()
_recent: list[Shared] = []
"""Those that came last from other processes. Tasks of a pool of processes hold none of them between two tasks."""
_MOST = 8


class Shared:
    """Object of any kind under a fingerprint: an operator with its weights.

    Between processes it travels as bytes, and is made from them at its first use: a scheduler that only passes it on
    never loads it, and a process that has one of the same fingerprint drops the bytes. Without `outlives_tasks` it ends
    in another process with the last task or result that has it.
    """

    def __init__(
        self, fingerprint: str, value: Any = None, content: bytes | None = None, *, outlives_tasks: bool = True
    ) -> None:
        self.fingerprint, self.outlives_tasks = fingerprint, outlives_tasks
        self._value, self._content = value, content
        self._loading = threading.Lock()

    @property
    def value(self) -> Any:
        """Return the object."""
        if self._content is not None:
            with self._loading:
                if self._content is not None:
                    self._value = pickle.loads(self._content)
                    self._content = None
        return self._value

    def __reduce__(self) -> tuple[Any, ...]:
        content = self._content
        content = content if content is not None else pickle.dumps(self._value, 5)
        return received, (self.fingerprint, content, self.outlives_tasks)

    def __dask_tokenize__(self) -> tuple[str, str]:
        """Return what Dask names tasks by."""
        return "tconv", self.fingerprint

    def __sizeof__(self) -> int:
        content = self._content
        return 1000 if content is None else 1000 + len(content)


def received(fingerprint: str, content: bytes, outlives_tasks: bool) -> Shared:
    """Return the object of this process that has the fingerprint, else one of these bytes."""
    with _lock:
        shared = _known.get(fingerprint)
        if shared is None:
            shared = _known[fingerprint] = Shared(fingerprint, content=content, outlives_tasks=outlives_tasks)
        if not outlives_tasks:
            return shared
        if shared in _recent:
            _recent.remove(shared)
        _recent.append(shared)
        del _recent[:-_MOST]
        return shared
