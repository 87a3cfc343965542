"""Locks that no other thread owns while the process forks: a child could never get them."""

from __future__ import annotations

import os
import threading

LOADING = threading.RLock()
"""Owned while a call imports modules: a child must not inherit a module that is half imported."""
_locks: list[threading.RLock] = []
_owned: list[list[threading.RLock]] = []


def own_in_forks(lock: threading.RLock) -> None:
    """Let every fork wait for this lock, and release it on both sides."""
    _locks.append(lock)


def _before() -> None:
    LOADING.acquire()  # first: an import may add locks
    locks = [*_locks]
    for lock in locks:
        lock.acquire()
    _owned.append(locks)


def _after() -> None:
    for lock in _owned.pop():
        lock.release()
    LOADING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after)
