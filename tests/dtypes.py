"""Dtypes of the machine code, and exact results rounded to them once."""

from __future__ import annotations

import ml_dtypes
import numpy as np

KERNEL_DTYPES = ("float32", "float64", "float16", "bfloat16")


def dtype_of(name):
    """Return NumPy's dtype of this name."""
    return np.dtype(getattr(ml_dtypes, name, None) or name)


def rounded(array, dtype):
    """Return an array of exact numbers in this dtype: 2-byte floats are rounded from float32, as sums are."""
    dtype = dtype_of(dtype) if isinstance(dtype, str) else dtype
    with np.errstate(over="ignore"):
        return array.astype(np.float32).astype(dtype) if dtype.itemsize == 2 else array.astype(dtype)


def bits(array):
    """Return the bits of the elements as integers."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def same_bits(a, b):
    """Assert that two arrays have the same bits."""
    np.testing.assert_array_equal(bits(a), bits(b))
