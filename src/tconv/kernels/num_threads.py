"""How many threads the float32 kernel may use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

from tconv._arguments import int_of
from tconv.errors import ArgumentError, GeometryError

_LARGEST = 1024  # what is more is a mistake
PLACES = 256
"""Threads that the float32 kernel's pool has room for."""
_asked: int | None = None


def set_num_threads(count: int) -> None:
    """Let a call use at most this many threads, in the whole process, from the next call on.

    >>> import tconv
    >>> before = tconv.get_num_threads()
    >>> tconv.set_num_threads(1)
    >>> tconv.get_num_threads()
    1
    >>> tconv.set_num_threads(before)

    At first it is the number of cores that the process may run on, no more than its share of time (the CPU quota of a
    container) fills, or the environment variable TCONV_NUM_THREADS. More than four for each core (8, where that is less
    than 8) are never used, whatever is asked for; `tconv.get_num_threads` says how many are.
    Results do not depend on it. The methods of NumPy use the threads of its BLAS library, which has words of its own.

    Raises ArgumentError for anything but an integer from 1 to 1024.
    """
    global _asked
    try:
        asked = int_of(count, "count", least=1)
    except GeometryError as error:
        raise ArgumentError(str(error)) from None
    if asked > _LARGEST:
        raise ArgumentError(f"count is {asked}; at most {_LARGEST} threads can be asked for. Write {_cores()}")
    _asked = min(asked, most_threads())


def most_threads() -> int:
    """How many threads a call uses at most, whatever was asked for: more would only wait for a core."""
    return min(PLACES, max(8, 4 * _cores()))


def get_num_threads() -> int:
    """How many threads a call may use."""
    return _asked or _first()


@cache
def _first() -> int:
    given = os.environ.get("TCONV_NUM_THREADS", "")
    if given:
        if not given.isdecimal() or not 1 <= int(given) <= _LARGEST:
            raise ArgumentError(
                f"TCONV_NUM_THREADS is {given!r}; a number from 1 to {_LARGEST} is needed. Write 4, for example"
            )
        return min(int(given), most_threads())
    cores, quota = _cores(), _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _cores() -> int:
    """How many cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """How many cores' time a container may use, or None: more threads would only be stopped in turn (Linux cgroups)."""
    try:
        if (root / "cpu.max").exists():  # version 2: "200000 100000", or "max 100000"
            share, period = (root / "cpu.max").read_text().split()
        else:
            share, period = ((root / "cpu" / f"cpu.cfs_{word}_us").read_text() for word in ("quota", "period"))
        return float(share) / float(period) if float(share) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
