"""Functions of single numbers in machine code: passes over rows of float32 that follow each other in memory.

Between the layers of a stream they take a few microseconds each, where NumPy needs several passes and as many calls.
A result depends on its own inputs only, so that no cut of an array changes a bit. `functions` has the arithmetic,
`element_pass` the loops.
"""

from __future__ import annotations

from tconv._arrays import Array
from tconv.kernels.simd.availability import reason_unavailable


def fill(name: str, inputs: tuple[Array, ...], numbers: tuple[float, ...], out: Array) -> bool:
    """Fill out, float32 in C order, from inputs of its shape. Returns False, and does nothing, without machine code.

    The names are those of `element_pass.PASSES`.
    """
    if reason_unavailable() is not None or not all(_is_read(array, out.shape) for array in (*inputs, out)):
        return False
    from tconv.kernels.simd.elementwise import element_pass

    if out.size:
        element_pass.run(name, inputs, numbers, out)
    return True


def _is_read(array: Array, shape: tuple[int, ...]) -> bool:
    return array.dtype.str == "<f4" and array.flags.c_contiguous and array.shape == shape


def lstm(inputs: Array, sums: Array, cell: Array, out: Array) -> bool:
    """Advance cells [rows, H] of an LSTM, and fill their outputs; False, and nothing is done, without machine code.

    `inputs` and `sums` are products [rows, 4 H] with the input and with the state: the gates input, forget and output
    with the other sign, then the new values of the cell. All are float32, with the numbers of a row next to each other.
    """
    arrays = inputs, sums, cell, out
    if reason_unavailable() is not None or any(a.dtype.str != "<f4" or a.strides[1] != 4 for a in arrays):
        return False
    from tconv.kernels.simd.elementwise import lstm_pass

    lstm_pass.run(inputs, sums, cell, out)
    return True
