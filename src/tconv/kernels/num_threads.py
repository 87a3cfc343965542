"""Number of threads that the CPU kernel may use: `set_num_threads`, TCONV_NUM_THREADS, or the cores there are.

Every call of the kernel reads it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tconv._arguments import int_of
from tconv.errors import ArgumentError, GeometryError

_LARGEST = 1024
"""Largest number of threads that can be requested; a larger one is certainly a mistake."""
POOL_CAPACITY = 256
"""Threads that the CPU kernel's pool can have."""
_requested: int | None = None
TOLD: list[Callable[[], None]] = []
"""Functions that `set_num_threads` calls when the number has changed."""


def set_num_threads(count: int) -> None:
    """Let a call use at most this many threads, in the whole process, from the next call on.

    >>> import tconv
    >>> before = tconv.get_num_threads()
    >>> tconv.set_num_threads(1)
    >>> tconv.get_num_threads()
    1
    >>> tconv.set_num_threads(before)

    The default is the environment variable TCONV_NUM_THREADS; without it, the number of cores that the process may run
    on, limited by the CPU quota of a container. A call never uses more than four threads per core, or 8 where that is
    more; `tconv.get_num_threads` returns the number in use. Results do not depend on it. The methods of NumPy use the
    threads of its BLAS library, which has settings of its own.

    Raises ArgumentError for anything but an integer from 1 to 1024.
    """
    global _requested
    try:
        requested = int_of(count, "count", least=1)
    except GeometryError as error:
        raise ArgumentError(str(error)) from None
    if requested > _LARGEST:
        raise ArgumentError(
            f"count is {requested}; at most {_LARGEST} threads can be requested. Write set_num_threads({_cores()})"
        )
    _requested = min(requested, most_threads())
    for tell in TOLD:
        tell()


def most_threads() -> int:
    """Return the largest number of threads that a call uses: more would only wait for a core."""
    return min(POOL_CAPACITY, max(8, 4 * _cores()))


def get_num_threads() -> int:
    """Return the number of threads that a call may use.

    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    return _requested or _default()


@cache
def _default() -> int:
    """Return TCONV_NUM_THREADS, or the number of cores that the process may run on, limited by its CPU quota."""
    given = os.environ.get("TCONV_NUM_THREADS", "")
    if given:
        if not given.isdecimal() or not 1 <= int(given) <= _LARGEST:
            raise ArgumentError(
                f"TCONV_NUM_THREADS is {given!r}; a number from 1 to {_LARGEST} is needed. "
                "Write TCONV_NUM_THREADS=4, for example"
            )
        return min(int(given), most_threads())
    cores, quota = _cores(), _cpu_quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _cores() -> int:
    """Return the number of cores that this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the CPU quota of the container in cores, or None. More threads would only be stopped in turn (cgroups)."""
    try:
        if (root / "cpu.max").exists():  # version 2: "200000 100000", or "max 100000"
            share, period = (root / "cpu.max").read_text().split()
        else:
            share, period = ((root / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(share) / float(period) if float(share) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
