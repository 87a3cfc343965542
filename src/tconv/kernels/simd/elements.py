"""Elements of a call: the dtype of x and of the output in memory, and the dtype in which sums are computed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from tconv.kernels.problem import accumulator
from tconv.kernels.simd.cpu_target import target

_SIZES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


class Elements(NamedTuple):
    """Dtypes of a function of machine code, by their NumPy names."""

    stored: str
    """of x and the output: float32, float64, float16 or bfloat16"""
    summed: str
    """of panel, weights, bias, slopes and sums: float32 or float64"""
    dot: bool = False
    """True if panel and weights have pairs of stored numbers instead, for dot products (`bfloat16_dot`)"""

    @property
    def stored_size(self) -> int:
        """Bytes of a number of x and of the output."""
        return _SIZES[self.stored]

    @property
    def summed_size(self) -> int:
        """Bytes of a number of the panel, the weights and the sums."""
        return _SIZES[self.summed]

    @property
    def lanes(self) -> int:
        """Summed numbers in a vector register."""
        return target().lanes * 4 // self.summed_size

    @property
    def suffix(self) -> str:
        """Text that ends the name of every cached function of these elements; empty for float32."""
        return f"{'' if self.stored == 'float32' else f'_{self.stored}'}{'_dot' if self.dot else ''}"

    @property
    def sums(self) -> Elements:
        """Elements of a function that has neither x nor the output: those of the sums alone."""
        return Elements(self.summed, self.summed, self.dot)


FLOAT32 = Elements("float32", "float32")


@lru_cache(maxsize=64)
def elements_of(dtype: np.dtype[Any]) -> Elements:
    """Return the elements of a problem with this dtype. Raises KeyError for a dtype that the kernel does not compute.

    >>> elements_of(np.dtype(np.float16))
    Elements(stored='float16', summed='float32', dot=False)
    """
    elements = Elements(dtype.name, accumulator(dtype).name)
    _SIZES[elements.stored]
    return elements
