"""Arithmetic of pixels at the same place, and copies of them: passes over planes of float32, on all threads.

Between layers of a network such passes wait for memory: much of it is in the cache of the core that computed it. Sums
and products are rounded as NumPy rounds them. Every function returns False, and does nothing, where machine code does
not pay or cannot read the arrays: the caller has NumPy then.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.availability import reason_unavailable

_LEAST = 1 << 14
"""Numbers below which NumPy is as fast."""
_SIZE = 4


def add(x: Array, z: Array, scales: tuple[float, float], out: Array) -> bool:
    """Write scales[0] * x + scales[1] * z into out; all are [C, h, w]."""
    return _runs("sum", (x, z), out, scales)


def multiply(x: Array, z: Array, out: Array) -> bool:
    """Write x * z into out [C, h, w]. Either has that shape, or one number for all columns, all rows or all channels."""
    if x.shape[-1:] == (1,) != out.shape[-1:]:
        x, z = z, x
    return _runs("scaled" if z.shape[-1:] == (1,) != out.shape[-1:] else "product", (x, z), out)


def copy(x: Array, out: Array) -> bool:
    """Write x into out, both [C, h, w]."""
    return _runs("copy", (x,), out)


def split_columns(x: Array, out: Array) -> bool:
    """Write column 2 * i + j of x [C, h, 2 * w] to column i of out[:, j], for out [C, 2, h, w]."""
    return x.shape[-1] == 2 * out.shape[-1] and _runs("halves", (x,), out[:, 0], second=out[:, 1])


def _runs(
    kind: str, inputs: tuple[Array, ...], out: Array, scales: tuple[float, float] = (1.0, 1.0), second: Array | None = None
) -> bool:
    if out.ndim != 3 or out.size < _LEAST or reason_unavailable() is not None:
        return False
    arrays = [*inputs, out]
    for number, array in enumerate(inputs):
        splat = kind == "scaled" and number == 1
        shape = (*out.shape[:2], 1 if splat else array.shape[-1] if kind == "halves" else out.shape[2])
        if array.shape != shape:
            try:
                arrays[number] = np.broadcast_to(array, shape)
            except ValueError:
                return False
        if not splat and array.strides[-1] != _SIZE:
            return False
    if out.strides[2] != _SIZE or any(array.dtype != np.float32 for array in arrays):
        return False
    from tconv.kernels.simd.planes import plane_pass

    plane_pass.run(kind, arrays, second, scales)
    return True
