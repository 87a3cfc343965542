"""One room per kernel. A new member is one file with a `KERNEL` in it, and one line in `_MEMBERS`, best first."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from tconv.kernels.problem import Kernel

_MEMBERS = ("simd", "winograd", "polyphase", "taps")


def names() -> tuple[str, ...]:
    """The names of all methods, in the order in which "auto" tries them."""
    return _MEMBERS


@cache
def kernel(name: str) -> Kernel:
    """The kernel of this name."""
    found: Kernel = import_module(f"tconv.kernels.{name}").KERNEL
    return found
