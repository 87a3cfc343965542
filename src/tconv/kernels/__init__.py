"""Registry of the methods that a call can name, each with the module of its kernel.

A new method is one module that defines a `KERNEL`, and one line in `_MEMBERS`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tconv._fork import LOADING
from tconv.kernels.problem import Kernel

_MEMBERS = {
    "simd": "simd.direct",
    "winograd": "simd.winograd_f22",
    "polyphase": "polyphase",
    "taps": "tap_products",
}
"""Modules by method. Method "auto" compares estimates of time; of equal estimates the first in this order wins."""


def names() -> tuple[str, ...]:
    """Return the names of all methods."""
    return tuple(_MEMBERS)


@cache
def kernel(name: str) -> Kernel:
    """Return the kernel of this method. Its module is imported at the first call."""
    with LOADING:
        return _kernel(name)


def _kernel(name: str) -> Kernel:
    member: Kernel = import_module(f"tconv.kernels.{_MEMBERS[name]}").KERNEL
    return member
