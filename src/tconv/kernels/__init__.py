"""The kernels: one module each, and the registry of methods that a call can name.

A new member is one module with a `KERNEL` in it, and one line in `_MEMBERS`.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tconv.kernels.problem import Kernel

_MEMBERS = {
    "simd": "simd.direct",
    "winograd": "simd.winograd_f22",
    "polyphase": "polyphase",
    "taps": "taps",
}
"""Methods and their modules. "auto" compares estimates; the order here breaks ties."""


def names() -> tuple[str, ...]:
    """The names of all methods."""
    return tuple(_MEMBERS)


@cache
def kernel(name: str) -> Kernel:
    """The kernel of this name."""
    found: Kernel = import_module(f"tconv.kernels.{_MEMBERS[name]}").KERNEL
    return found
