"""How many threads the float32 kernel may use."""

from __future__ import annotations

import os
from functools import cache

from tconv.errors import ArgumentError
from tconv.geometry import int_of

_asked: int | None = None


def set_num_threads(count: int) -> None:
    """Let a call use at most this many threads, in the whole process, from the next call on.

    >>> import tconv
    >>> before = tconv.get_num_threads()
    >>> tconv.set_num_threads(1)
    >>> tconv.get_num_threads()
    1
    >>> tconv.set_num_threads(before)

    At first it is the number of cores that the process may run on, or the environment variable TCONV_NUM_THREADS.
    Results do not depend on it. The methods of NumPy use the threads of its BLAS library, which has words of its own.

    Raises GeometryError for anything but an integer from 1 on.
    """
    global _asked
    _asked = int_of(count, "count", least=1)


def get_num_threads() -> int:
    """How many threads a call may use."""
    return _asked or _first()


@cache
def _first() -> int:
    given = os.environ.get("TCONV_NUM_THREADS", "")
    if given:
        if not given.isdecimal() or int(given) < 1:
            raise ArgumentError(f"TCONV_NUM_THREADS is {given!r}; a number from 1 on is needed. Write 4, for example")
        return int(given)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1
