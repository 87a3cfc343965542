"""Facts about the values of an ONNX graph before it runs: shape, type, and the sizes or few numbers that it contains.

Each node's outputs follow from the facts of its inputs: by the rules of `shape_rules`, which know names of sizes, else
by ONNX's own inference for one node. The output of a ConvTranspose follows from the onnx dialect: ONNX's inference gets
several of its rules wrong.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from tconv._arrays import Array
from tconv.models.inventory.model_layer import Size
from tconv.models.inventory.symbols import symbol as one_symbol
from tconv.models.readers.onnx_graph.stored import dtype_name

SMALL = 1024
"""Most numbers of a value that are kept as a fact."""


class Fact(NamedTuple):
    """Known parts of a value."""

    shape: tuple[Size, ...] | None = None
    dtype: str = ""
    numbers: Array | None = None
    """Numbers of a small constant."""
    sizes: tuple[Size, ...] | None = None
    """Whole numbers of a scalar or a vector, some of which may be names."""

    @property
    def fixed(self) -> tuple[int, ...] | None:
        """Shape, if all sizes are numbers."""
        if self.shape is None or not all(isinstance(size, int) for size in self.shape):
            return None
        return tuple(size for size in self.shape if isinstance(size, int))


UNKNOWN = Fact()


def sizes_of(shape: Any) -> tuple[Size, ...] | None:
    """Return a shape of onnx_ir as sizes: numbers, names, and None for the rest."""
    if shape is None:
        return None
    return tuple((size if size >= 0 else None) if isinstance(size, int) else _name(size.value) for size in shape)


def _name(symbol: str | None) -> str | None:
    if symbol in (None, "", "?", "-1") or len(symbol) > 80 or symbol.startswith("unk__"):
        return None
    return one_symbol(symbol)


def declared(value: Any) -> Fact:
    """Return what the file itself says about a value."""
    return Fact(sizes_of(value.shape), dtype_name(value.dtype))


def of_numbers(numbers: Array) -> Fact:
    """Return the fact of a constant."""
    sizes = None
    if numbers.ndim <= 1 and numbers.dtype.kind in "iu" and numbers.size <= SMALL:
        sizes = tuple(int(number) for number in numbers.ravel())
    kept = numbers if numbers.size <= SMALL else None
    dtype = "string" if numbers.dtype.kind in "OSU" else numbers.dtype.name
    return Fact(tuple(numbers.shape), dtype, kept, sizes)


def merged(first: Fact, second: Fact) -> Fact:
    """Return both facts together; where they differ, numbers are kept before names, the first before the second."""
    shape = first.shape
    if shape is None:
        shape = second.shape
    elif second.shape is not None and len(shape) == len(second.shape):
        shape = tuple(
            b if a is None or (isinstance(b, int) and not isinstance(a, int)) else a
            for a, b in zip(shape, second.shape, strict=True)
        )
    return Fact(shape, first.dtype or second.dtype, first.numbers, first.sizes)


def count(fact: Fact) -> int | None:
    """Return the number of elements; None if it is not known."""
    return None if fact.fixed is None else math.prod(fact.fixed)
