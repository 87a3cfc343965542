"""Interface of a peer: start the library, and load a layer so that it can be called and timed.

Everything here runs in the peer's own process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tconv.bench import dtypes
from tconv.bench.layers import Layer

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array


ISAS = ("avx2", "sse4")
"""Instruction sets, below the chip's own, to which libraries are restricted: AVX2 with FMA, and SSE 4.2."""


class UnableError(Exception):
    """A peer cannot run this layer, or cannot run on this machine; the message is the reason shown in the table."""


@dataclass(frozen=True)
class Task:
    """One layer for one peer: arrays x [N, C_in, *n] and w [C_in, C_out/g, *k], threads, device, dtype, layout.

    `name` is the peer's full name ("tconv:taps"); `device` is "cpu" or "cuda". x and w have the values of `dtype` and
    are stored in float32, or float64 for that dtype; `layout` is that of x and y in the library's memory.
    """

    name: str
    layer: Layer
    x: Array
    w: Array
    threads: int = 1
    device: str = "cpu"
    dtype: str = "float32"
    layout: str = "first"
    activation: str = ""
    """Activation that follows: "relu", or "" for none."""

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """NumPy's dtype of x, weight and y."""
        return dtypes.numpy_dtype(self.dtype)

    def native_x(self) -> Array:
        """Return x in its dtype and layout: [N, C_in, *n], or [N, *n, C_in] with channels last."""
        return dtypes.in_layout(self.x.astype(self.numpy_dtype), self.layout)

    def native_w(self) -> Array:
        """Return w [C_in, C_out/g, *k] in its dtype."""
        return self.w.astype(self.numpy_dtype)

    def native_output(self) -> Array:
        """Return a new array for y in its dtype and layout."""
        n, c, *sizes = self.layer.output_shape
        shape = (n, *sizes, c) if self.layout == "last" else (n, c, *sizes)
        return np.empty(shape, self.numpy_dtype)

    def read(self, output: Any) -> Array:
        """Return an output in the task's layout as an array [N, C_out, *L]; float32 represents both 2-byte dtypes."""
        y = np.asarray(output)
        return dtypes.channels_first(y.astype(np.float32) if y.dtype.itemsize == 2 else y, self.layout)


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
    dtypes: tuple[str, ...] = ("float32",)
    """Dtypes in which it computes: sums of 2-byte dtypes may have any dtype, the others must not be shortened."""
    layouts: tuple[str, ...] = ("first",)
    """Layouts of x and y that it has without a transposition of its own."""
    isas: tuple[str, ...] = ()
    """Instruction sets below the chip's own to which `child_process.environment` can restrict it."""
    elsewhere: tuple[str, ...] = ()
    """Layouts in which it is compared with channels first, besides that one, if they are not measured anyway."""
