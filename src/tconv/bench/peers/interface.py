"""What a peer is asked, in a process of its own: start, and a layer made ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tconv.bench.layers import Layer

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


class UnableError(Exception):
    """A peer cannot run this layer, or cannot run here; the message is the reason that the table gives."""


@dataclass(frozen=True)
class Task:
    """One layer for one peer: canonical arrays x [N, C_in, *n] and w [C_in, C_out/g, *k], and how to run it.

    `name` is the peer as it was asked for ("tconv:taps"); `device` is "cpu" or "cuda", `precision` "f32", "tf32" or
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
class Ready:
    """A layer that can be called.

    `calls` maps a mode to a call without arguments that returns the peer's output: "dropped" makes a new output (it is
    also called for the mode "kept"), "out" writes one that was allocated before; "eager" and "graph" on a GPU. `read`
    gives such an output as NumPy [N, C_out, *L]. `poison` fills the preallocated output with NaN, `wait` returns when
    all calls are done, `note` says what the peer had to do beside its own operator.
    """

    calls: dict[str, Callable[[], Any]]
    read: Callable[[Any], Array]
    poison: Callable[[], None] = lambda: None
    wait: Callable[[], None] = lambda: None
    note: str = ""


class Peer(NamedTuple):
    """One way to run a transposed convolution."""

    summary: str
    """What it is, in a line."""
    packages: tuple[str, ...]
    """Distributions whose versions the result records; the first is the one to install."""
    start: Callable[[int, str], None]
    """Import and pin to this many threads on this device. Raises ImportError, or UnableError with the reason."""
    reasons_against: Callable[[Layer], list[str]]
    """Every reason why it cannot run this layer; empty if it can."""
    load: Callable[[Task], Ready]
    """Everything that a program does once: layouts, compilation. Raises UnableError where only that can tell."""
    devices: tuple[str, ...] = ("cpu",)
    """Where it runs."""
