"""Interface of a peer: start the library, and load a layer so that it can be called and timed.

Everything here runs in the peer's own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tconv.bench.layers import Layer

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


class UnableError(Exception):
    """A peer cannot run this layer, or cannot run on this machine; the message is the reason shown in the table."""


@dataclass(frozen=True)
class Task:
    """One layer for one peer: arrays x [N, C_in, *n] and w [C_in, C_out/g, *k], threads, device and precision.

    `name` is the peer's full name ("tconv:taps"); `device` is "cpu" or "cuda", `precision` "f32", "tf32" or
    "bf16".
    """

    name: str
    layer: Layer
    x: Array
    w: Array
    threads: int = 1
    device: str = "cpu"
    precision: str = "f32"


@dataclass(frozen=True)
class LoadedLayer:
    """A layer that is loaded into a library, as calls without arguments.

    `calls` maps a mode to a call that returns the library's output: "dropped" allocates a new output (it also serves
    the mode "kept"), "out" writes a preallocated one; "eager" and "graph" on a GPU. `read` converts such an output to
    NumPy [N, C_out, *L]. `poison` fills the preallocated output with NaN, `wait` returns when all calls are done,
    `note` names what the peer does in addition to its own operator.
    """

    calls: dict[str, Callable[[], Any]]
    read: Callable[[Any], Array]
    poison: Callable[[], None] = lambda: None
    wait: Callable[[], None] = lambda: None
    note: str = ""


class Peer(NamedTuple):
    """One implementation of the transposed convolution."""

    summary: str
    """A line about it."""
    packages: tuple[str, ...]
    """Distributions whose versions are recorded in the result; the first is the one to install."""
    start: Callable[[int, str], None]
    """Import and pin to this many threads on this device. Raises ImportError, or UnableError with the reason."""
    reasons_against: Callable[[Layer], list[str]]
    """Every reason why it cannot run this layer; empty if it can."""
    load: Callable[[Task], LoadedLayer]
    """Does all that a program does once: layouts, compilation. Raises UnableError if that fails for this layer."""
    devices: tuple[str, ...] = ("cpu",)
    """Devices that it runs on."""
