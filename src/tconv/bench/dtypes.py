"""The dtypes and layouts of a run: their names, the spacing of their numbers, and the arrays that hold them.

A dtype is that of x, weight and y; "tf32" is float32 with products in TF32, on a GPU. A layout is that of x and y in
memory: "first" is [N, C, *L], "last" is [N, *L, C]. "any", in results from before layouts were a dimension, is the one
that suits each peer.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from tconv.errors import ArgumentError

if TYPE_CHECKING:  # at run time only public names of tconv: see `tconv.bench.revision`
    from tconv._arrays import Array

UNITS = {"float64": 2.0**-52, "float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7, "float16": 2.0**-10}
"""Spacing of the numbers around 1 in each dtype."""

BYTES = {"float64": 8, "float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
"""Size of an element of x, weight and y."""

DTYPES = {"cpu": ("float32", "bfloat16", "float16", "float64"), "cuda": ("float32", "tf32", "bfloat16")}
"""Dtypes that can be measured on each device."""

LAYOUTS = ("first", "last")
_LAYOUT_TITLES = {"first": "channels first", "last": "channels last", "any": ""}


def selected(option: str, text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in a list with commas, in the order of `known`. Raises ArgumentError for an unknown name.

    >>> selected("layout", "last,first", ("first", "last"))
    ('first', 'last')
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or not set(names) <= set(known):
        unknown = next((name for name in names if name not in known), text)
        raise ArgumentError(
            f"--{option} is {text!r}, and {unknown!r} is none of {', '.join(known)}; one or more of them with commas "
            f"between are needed. Write --{option} {','.join(known[:2])}"
        )
    return tuple(name for name in known if name in names)


def title(dtype: str, layout: str) -> str:
    """Return the name of a block of the table.

    >>> title("bfloat16", "last"), title("float32", "any")
    ('bfloat16, channels last', 'float32')
    """
    return ", ".join(filter(None, (dtype, _LAYOUT_TITLES[layout])))


def summed(dtype: str) -> str:
    """Return the dtype in which sums of a dtype are to be accumulated: float32 for the two of 2 bytes.

    >>> summed("float16"), summed("float64")
    ('float32', 'float64')
    """
    return "float64" if dtype == "float64" else "float32"


def rounded(array: Array, dtype: str) -> Array:
    """Return an array's values rounded to a dtype, stored in the dtype of its sums, which represents all of them."""
    return array.astype(numpy_dtype(dtype)).astype(summed(dtype), copy=False)


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """Return NumPy's dtype; that of bfloat16 comes from ml_dtypes."""
    if dtype == "bfloat16":
        found: np.dtype[Any] = np.dtype(import_module("ml_dtypes").bfloat16)
        return found
    return np.dtype("float32" if dtype == "tf32" else dtype)


def in_layout(array: Array, layout: str) -> Array:
    """Return an array [N, C, *L] as it is stored in a layout: [N, C, *L] or [N, *L, C], contiguous."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1) if layout == "last" else array)


def channels_first(array: Array, layout: str) -> Array:
    """Return an array that is stored in a layout as a view [N, C, *L]."""
    return np.moveaxis(array, -1, 1) if layout == "last" else array
