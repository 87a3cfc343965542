"""Arithmetic of pixels at the same place, and copies of them: passes over planes of float32, on all threads.

Between layers of a network such passes wait for memory: much of it is in the cache of the core that computed it. Sums
and products are rounded as NumPy rounds them. Every function returns False, and does nothing, where machine code does
not pay or cannot read the arrays: the caller has NumPy then.
"""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.kernels.simd.availability import reason_unavailable

_LEAST = 1 << 15
"""Numbers below which NumPy is as fast."""
_SIZE = 4


def add(x: Array, z: Array, scales: tuple[float, float], out: Array) -> bool:
    """Write scales[0] * x + scales[1] * z into out; all are [C, h, w]."""
    return _runs("sum", (x, z), out, scales)


def multiply(x: Array, z: Array, out: Array) -> bool:
    """Write x * z into out [C, h, w]; x or z may have one number for all columns, rows or channels."""
    if x.shape[-1:] == (1,) != out.shape[-1:]:
        x, z = z, x
    return _runs("scaled" if z.shape[-1:] == (1,) != out.shape[-1:] else "product", (x, z), out)


def copy(x: Array, out: Array) -> bool:
    """Write x into out, both [C, h, w]."""
    return _runs("copy", (x,), out)


def split_blocks(x: Array, out: Array) -> bool:
    """Write pixel [r * i + p, 2 * j + q] of x [C, r * h, 2 * w] to [i, j] of out[:, p, q], for out [C, r, 2, h, w]."""
    wanted = out.shape[0], out.shape[1] * out.shape[3], 2 * out.shape[4]
    return x.shape == wanted and _runs("blocks", (x,), out[:, 0, 0], blocks=out)


def _runs(
    kind: str,
    inputs: tuple[Array, ...],
    out: Array,
    scales: tuple[float, float] = (1.0, 1.0),
    blocks: Array | None = None,
) -> bool:
    if out.ndim != 3 or (out if blocks is None else blocks).size < _LEAST or reason_unavailable() is not None:
        return False
    arrays = [*inputs, out]
    for number, array in enumerate(inputs):
        splat = kind == "scaled" and number == 1
        shape = array.shape if kind == "blocks" else (*out.shape[:2], 1 if splat else out.shape[2])
        if array.shape != shape:
            try:
                arrays[number] = np.broadcast_to(array, shape)
            except ValueError:
                return False
        # of the broadcast array: one number for all columns has a stride of 0 there, and is not read by vectors
        if not splat and arrays[number].strides[-1] != _SIZE:
            return False
    if out.strides[2] != _SIZE or any(array.dtype != np.float32 for array in arrays):
        return False
    from tconv.kernels.simd.planes import plane_pass

    plane_pass.run(kind, arrays, blocks, scales)
    return True
