"""Memory of this process: sizes as users write them, the bound, the resident bytes now and at the peak, and release."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tconv._memory import si, trim_outputs, trim_pool
from tconv.errors import ArgumentError

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
_USUAL, _ROOM = 10**9, 512 * 10**6
"""Bytes that a process may have if none are given, and those it may have beside what it has, if that is more."""
_SIZE = re.compile(r"\s*((?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][0-9]{1,2})?)\s*([A-Za-z]*)\s*")


def bytes_of(size: int | str, name: str = "max_memory") -> int:
    """Return the number of bytes of a size: a whole number, or a number and a unit.

    >>> bytes_of("1GB"), bytes_of("1.5 GiB"), bytes_of("512mb"), bytes_of(4096), bytes_of("2e9")
    (1000000000, 1610612736, 512000000, 4096, 2000000000)

    kB, MB, GB and TB are powers of 1000; KiB, MiB, GiB and TiB of 1024. Raises ArgumentError for anything else, and for
    sizes below 1; `name` is the argument that the message names.
    """
    found = _SIZE.fullmatch(size) if isinstance(size, str) else None
    unit = _UNITS.get(found[2].upper()) if found else None
    if found and unit:
        count = int(found[1]) * unit if found[1].isdigit() else int(float(found[1]) * unit)
    elif isinstance(size, (int, np.integer)) and not isinstance(size, bool):
        count = int(size)
    else:
        count = 0
    if count < 1:
        raise ArgumentError(
            f'{name} is {size!r}; a number of bytes from 1, or text such as "512MB" or "1GiB", is needed. Write '
            f'{name}="1GB"'
        )
    return count


class MemoryBound(NamedTuple):
    """Most resident bytes of a process."""

    size: int
    origin: str = ""
    """where a number that was not given comes from, in words"""


def bound_of(given: int | None, base: int) -> MemoryBound:
    """Return the bound of a process that has `base` bytes before a job: the given one, or else the default.

    >>> bound_of(3 * 10**8, base=10**9).size, bound_of(None, base=10**8).size
    (300000000, 1000000000)
    >>> bound_of(None, base=13 * 10**8)
    MemoryBound(size=1812000000, origin='the default: 512 MB above what the process has')

    A notebook may have more than any fixed number before its first job, and its user wrote none: the default leaves
    room for tiles there, too.
    """
    if given is not None:
        return MemoryBound(given)
    if base + _ROOM <= _USUAL:
        return MemoryBound(_USUAL, "the default")
    return MemoryBound(base + _ROOM, f"the default: {si(_ROOM, 'B')} above what the process has")


def bound_text(size: int, origin: str) -> str:
    """Return a bound as messages show it.

    >>> bound_text(10**9, ""), bound_text(10**9, "the default")
    ('1 GB', '1 GB (the default)')
    """
    return f"{si(size, 'B')} ({origin})" if origin else si(size, "B")


def size_text(size: int) -> str:
    """Return a size as `bytes_of` reads it, rounded up to three digits: what a message advises.

    >>> size_text(1234567890)
    '1.24GB'
    """
    power = max((unit for unit in ("B", "KB", "MB", "GB", "TB") if _UNITS[unit] <= max(size, 1)), key=_UNITS.get)  # type: ignore[arg-type]
    step = max(1, 10 ** (len(str(size)) - 3))
    rounded = -(-size // step) * step / _UNITS[power]
    return f"{rounded:.4g}{power.replace('K', 'k')}"


def resident_bytes() -> int:
    """Return the bytes of physical memory that this process has now; on systems that do not say it, the most so far."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _page_size()
    except (OSError, IndexError, ValueError):
        return peak_bytes()


def peak_bytes() -> int:
    """Return the most bytes of physical memory that this process has had; 0 on systems that do not say it."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    with suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return 0


@cache
def _page_size() -> int:
    import mmap

    return mmap.PAGESIZE


def release_memory(enough: int = 0) -> None:
    """Give back to the system what is free: past outputs, free pages of the C library, and garbage.

    Garbage is looked for, which takes some time, if the process has more than `enough` bytes otherwise.
    """
    trim_pool()
    release_heap()
    if resident_bytes() > enough:
        gc.collect()
        trim_pool()
        release_heap()


def make_room(size: int, bound: int | None) -> None:
    """Give free memory back to the system, if the process would pass a bound with so many bytes more.

    The C library keeps what is freed, in pieces that larger arrays do not fit into.
    """
    if bound is None or resident_bytes() + size <= bound:
        return
    release_heap()
    if resident_bytes() + size > bound:
        trim_outputs()


def release_heap() -> None:
    """Give the free pages of the C library's heaps back to the system; elsewhere than with glibc, do nothing."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], Any] | None:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None


class MemoryWatch:
    """Watch over the resident memory of a job: its peak, and the release of free memory near the bound.

    `bound` are the bytes that the process may have; None without a bound.
    """

    def __init__(self, bound: int | None) -> None:
        self.bound = bound
        self._before = peak_bytes()
        self._seen = resident_bytes()

    def look(self) -> int:
        """Return the resident bytes now. Above nine tenths of the bound, the free memory of the heap is given back."""
        now = resident_bytes()
        self._seen = max(self._seen, now)
        if self.bound is not None and now > 0.9 * self.bound:
            release_heap()
        return now

    @property
    def peak(self) -> int:
        """Most resident bytes since the start of the watch; where the process had more before it, the most seen."""
        most = peak_bytes()
        return most if most > self._before else max(self._seen, resident_bytes())
