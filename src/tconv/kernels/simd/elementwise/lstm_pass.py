"""Machine code of the cell of an LSTM: from the sums of its gates to its next state, for rows of sessions.

The gates lie behind each other: input, forget and output, with the other sign, then the new values of the cell. Each
gate is the sum of its products with the input and with the state.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.call_frame import Fields
from tconv.kernels.simd.elements import FLOAT32
from tconv.kernels.simd.elementwise import functions
from tconv.kernels.simd.object_cache import OBJECT_CACHE
from tconv.kernels.simd.thread_pool import pool
from tconv.kernels.simd.vector_ir import Function, Value

_NAMES = "inputs inputs_pitch sums sums_pitch cell cell_pitch out out_pitch units"
_PLACES = {name: place for place, name in enumerate(_NAMES.split())}


def frame_of(inputs: Array, sums: Array, cell: Array, out: Array) -> Array:
    """Return the frame of a pass whose tiles are rows: inputs and sums [rows, 4 H], cell and out [rows, H].

    The numbers of a row are next to each other. The cell is advanced in place.
    """
    places = [place for array in (inputs, sums, cell, out) for place in (array.ctypes.data, array.strides[0])]
    return np.array([*places, cell.shape[1]], np.int64)


def run(inputs: Array, sums: Array, cell: Array, out: Array) -> None:
    """Run the pass."""
    frame = frame_of(inputs, sums, cell, out)
    pool().run(address(), frame.ctypes.data, 0, 0, len(out), 1)


def address() -> int:
    """Return the address of the function `(frame, scratch, number of the row)`."""
    return OBJECT_CACHE.address("elements_lstm", _write)


def _write() -> str:
    f = Function("elements_lstm", 3, FLOAT32)
    base, _, row = f.arguments
    frame = Fields(f, base, _PLACES)
    units = frame.units
    inputs, sums, cell, out = (
        start + row * pitch
        for start, pitch in (
            (frame.inputs, frame.inputs_pitch),
            (frame.sums, frame.sums_pitch),
            (frame.cell, frame.cell_pitch),
            (frame.out, frame.out_pitch),
        )
    )

    def step(at: Value, mask: Value | None) -> None:
        def loaded(start: Value, place: Value) -> Value:
            return f.load(start, place, f.vector) if mask is None else f.masked_load(start, place, mask)

        def stored(value: Value, start: Value) -> None:
            if mask is None:
                f.store(value, start, at, f.vector)
            else:
                f.masked_store(value, start, at, mask)

        gates = [loaded(sums, at + units * gate) + loaded(inputs, at + units * gate) for gate in range(4)]
        into, forget, output = (functions.sigmoid(f, gate * functions.splat(f, -1.0)) for gate in gates[:3])
        following = loaded(cell, at) * forget + functions.tanh(f, gates[3]) * into
        stored(following, cell)
        stored(functions.tanh(f, following) * output, out)

    inside = units // f.lanes * f.lanes
    with f.loop(0, inside, f.lanes) as at:
        step(at, None)
    with f.when(inside < units):
        step(inside, f.mask(0, units - inside))
    return f.finish()
