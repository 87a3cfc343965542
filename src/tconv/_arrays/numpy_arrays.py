"""NumPy's arrays, numbers and nested lists of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from tconv._arrays.library import Array, Library, loaded_kinds
from tconv.errors import ArrayError


def is_plain_list(entry: Any) -> bool:
    """Return True for a list of numbers and lists of numbers only: arrays in it would lose masks and gradients."""
    if isinstance(entry, (list, tuple)):
        return all(map(is_plain_list, entry))
    return isinstance(entry, (int, float, complex, np.generic))


def _take(array: Any, name: str) -> Array:
    if isinstance(array, loaded_kinds("numpy.ma", "MaskedArray")):
        raise ArrayError(f"{name} is a masked array, and a convolution has no rule for masks. Write {name}.filled(0)")
    return np.asarray(array)  # also drops np.matrix and np.memmap subclasses, whose operators differ


LIBRARY = Library(
    lambda: (np.ndarray, np.generic, list, tuple, int, float, complex),
    _take,
    lambda array: array,
    lambda array, name: np.asarray(array),
    "np",
    "{name}.astype({dtype})",
    "numpy.asarray({name})",
    "np.transpose({name}, {axes})",
)
