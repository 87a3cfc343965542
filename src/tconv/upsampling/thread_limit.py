"""Number of threads of one call, as an option."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tconv._arguments import int_of, shown
from tconv.errors import ArgumentError, GeometryError
from tconv.kernels.num_threads import get_num_threads, set_num_threads
from tconv.upsampling.option_names import PYTHON, Naming

_LARGEST = 1024


def read_threads(value: Any, naming: Naming = PYTHON) -> int | None:
    """Return the number of threads that an option states; None if it is not given. Raises ArgumentError."""
    if value is None:
        return None
    number: Any = value
    if isinstance(value, str) and naming.prefix and value.isdecimal():
        number = int(value[:9])
    try:
        threads = int_of(number, "threads", least=1)
    except (GeometryError, ArgumentError, TypeError):
        threads = 0
    if not 1 <= threads <= _LARGEST:
        text = (value or "empty") if isinstance(value, str) and naming.prefix else shown(value)
        raise ArgumentError(
            f"{naming.name('threads')} is {text}; a whole number from 1 to {_LARGEST} is needed. Write "
            f"{naming.example('threads', get_num_threads())}, or leave it out for all cores"
        )
    return threads


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let the calls of the block use at most this many threads; afterwards as many as before."""
    if threads is None:
        yield
        return
    before = get_num_threads()
    set_num_threads(threads)
    try:
        yield
    finally:
        set_num_threads(before)
