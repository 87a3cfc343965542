"""Numbers in the types that NumPy does not have, or that stand for others: bfloat16, and quantized integers."""

from __future__ import annotations

import numpy as np

from tconv._arrays import Array
from tconv.errors import FileError


def from_bfloat16(bits: Array) -> Array:
    """Return bfloat16 numbers, given as 16-bit integers, in float32.

    >>> from_bfloat16(np.uint16([0x3F80, 0xC040])).tolist()
    [1.0, -3.0]
    """
    values: Array = (np.asarray(bits, np.uint32) << 16).view(np.float32)
    return values


def to_bfloat16(values: Array) -> Array:
    """Return numbers rounded to bfloat16, to even at ties, in float32; NaN stays.

    >>> to_bfloat16(np.float32([1, 1.003, 1.005])).tolist()
    [1.0, 1.0, 1.0078125]
    """
    given = np.asarray(values, np.float32)
    bits = given.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)).view(np.float32)
    result: Array = np.where(np.isnan(given), given, rounded).astype(np.float32)
    return result


def dequantized(stored: Array, scales: Array, zero_points: Array, axis: int | None) -> Array:
    """Return the float32 numbers that integers stand for: (stored - zero point) * scale.

    `scales` and `zero_points` have one entry, or one per entry of `axis`. Raises FileError if they do not fit.

    >>> dequantized(np.int8([[1, 2], [3, 4]]), np.float32([0.5, 2]), np.int64([0, 1]), axis=1).tolist()
    [[0.5, 2.0], [1.5, 6.0]]
    """
    factors, zeros = np.asarray(scales, np.float32).ravel(), np.asarray(zero_points).ravel()
    needed = 1 if axis is None else stored.shape[axis] if -stored.ndim <= axis < stored.ndim else -1
    if factors.size != needed or zeros.size not in (1, needed):
        where = "" if axis is None else f" along axis {axis}"
        raise FileError(
            f"{factors.size} scales and {zeros.size} zero points{where} do not fit a tensor of shape {stored.shape}. "
            "Write the file again"
        )
    column = [1] * stored.ndim
    if axis is not None:
        column[axis] = -1
    factors = factors.reshape(column)
    zeros = zeros.reshape(column if zeros.size > 1 or axis is None else [1] * stored.ndim)
    exact = np.float64 if stored.dtype.itemsize > 2 else np.float32  # has all differences of the integers
    values: Array = ((stored.astype(exact) - zeros.astype(exact)) * factors).astype(np.float32)
    return values
