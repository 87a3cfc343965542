"""Machine code of passes over rows of numbers: one or two inputs, one output, and some numbers for all.

A tile is a piece of a row. The rows of each array are a pitch apart, and each has its own pitch: rows are sessions, or
channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tconv._arrays import Array
from tconv.kernels.num_threads import get_num_threads
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.elementwise import functions
from tconv.kernels.simd.epilogue_lines import apply_activation
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.vector_ir import Function, Value

PIECE = 1 << 12
"""Numbers of a tile."""
_ALONE = 1 << 14
"""Numbers below which waking another thread costs more than it saves."""

Compute = Callable[[Function, list[Value], list[Value]], Value]


class ElementPass(NamedTuple):
    """Inputs and numbers of a pass, and its vector of results."""

    inputs: int
    numbers: int
    compute: Compute


PASSES: dict[str, ElementPass] = {
    "sum": ElementPass(2, 2, lambda f, x, n: x[0] * n[0] + x[1] * n[1]),
    "product": ElementPass(2, 0, lambda f, x, n: x[0] * x[1]),
    "copy": ElementPass(1, 0, lambda f, x, n: x[0]),
    "affine": ElementPass(1, 2, lambda f, x, n: x[0] * n[0] + n[1]),
    "activation": ElementPass(1, 3, lambda f, x, n: apply_activation(f, x[0], n[0], n[1], n[2])),
    "elu": ElementPass(1, 1, lambda f, x, n: functions.elu(f, x[0], n[0])),
    "tanh": ElementPass(1, 0, lambda f, x, n: functions.tanh(f, x[0])),
    "sigmoid": ElementPass(1, 0, lambda f, x, n: functions.sigmoid(f, x[0])),
    "silu": ElementPass(1, 0, lambda f, x, n: functions.silu(f, x[0])),
}
"""Passes by name. "sum" has the factors of both inputs, "affine" a factor and what is added to the product,
"activation" slope, lowest and highest output."""

_NAMES = "x x_pitch z z_pitch out out_pitch length pieces first second third"
_PLACES = {name: place for place, name in enumerate(_NAMES.split())}


def frame_of(inputs: tuple[Array, ...], numbers: tuple[float, ...], out: Array) -> tuple[Array, int, int]:
    """Return the frame of a pass, its number of tiles, and the threads that it may use.

    All arrays are [rows, ...] of one shape, with the numbers of a row next to each other.
    """
    rows, length = len(out), out[0].size
    pieces = -(-length // PIECE)
    threads = get_num_threads() if rows * length >= _ALONE else 1
    z = inputs[-1]
    places = [place for array in (inputs[0], z, out) for place in (array.ctypes.data, array.strides[0])]
    bits = [int(np.float32(number).view(np.uint32)) for number in numbers]
    frame = np.array([*places, length, pieces, *bits, *[0] * (3 - len(bits))], np.int64)
    return frame, rows * pieces, min(threads, rows * pieces)


def run(name: str, inputs: tuple[Array, ...], numbers: tuple[float, ...], out: Array) -> None:
    """Run a pass over arrays in C order."""
    frame, tiles, threads = frame_of(tuple(x.reshape(1, -1) for x in inputs), numbers, out.reshape(1, -1))
    pool().run(address(name), frame.ctypes.data, 0, 0, tiles, threads)


def address(name: str) -> int:
    """Return the address of the function `(frame, scratch, number of the tile)`."""
    return OBJECT_CACHE.address(f"elements_{name}", lambda: _write(name))


def _write(name: str) -> str:
    f = Function(f"elements_{name}", 3, FLOAT32)
    base, _, tile = f.arguments
    frame, kind = Fields(f, base, _PLACES), PASSES[name]
    row, first = tile // frame.pieces, tile % frame.pieces * PIECE
    last = f.least(first + PIECE, frame.length)
    starts = [frame.x + row * frame.x_pitch, frame.z + row * frame.z_pitch][: kind.inputs]
    out = frame.out + row * frame.out_pitch
    numbers = [f.splat(f.load(base, 2 * _PLACES[place])) for place in ("first", "second", "third")[: kind.numbers]]
    inside = first + (last - first) // f.lanes * f.lanes
    with f.loop(first, inside, f.lanes) as at:
        f.store(kind.compute(f, [f.load(start, at, f.vector) for start in starts], numbers), out, at, f.vector)
    with f.when(inside < last):
        mask = f.mask(0, last - inside)
        values = [f.masked_load(start, inside, mask) for start in starts]
        f.masked_store(kind.compute(f, values, numbers), out, inside, mask)
    return f.finish()


def warm_up() -> None:
    """Build all machine code of passes."""
    for name in PASSES:
        address(name)
