"""Sizes of an expression's values as multiples of x's own: to see which of them a Reshape can copy from its input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import (
    Add,
    Concat,
    Conv,
    ConvTranspose,
    DepthToSpace,
    MatMul,
    Operation,
    Pad,
    ProductOf,
    Reshape,
    Size,
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)

Line = tuple[int, int, int] | None
"""(axis of x, multiplier, offset) of a size; (-1, 0, number) for one that is known, None for others."""
Lines = tuple[Line, ...]


@dataclass(frozen=True)
class SizeSymbols:
    """Sizes of all values, by the value's number."""

    lines: dict[int, Lines]

    @classmethod
    def of(cls, expression: Expression) -> SizeSymbols:
        """Return the sizes of an expression's values."""
        lines: dict[int, Lines] = {
            0: tuple((axis, 1, 0) if n is None else _number(n) for axis, n in enumerate(expression.input))
        }
        found = cls(lines)
        for operation in expression.operations:
            inputs = [lines[value] for value in operation.inputs]
            for value in operation.outputs:
                shape = expression.shapes[value]
                computed = found._output(operation, inputs, len(shape))
                lines[value] = tuple(line if n is None else _number(n) for n, line in zip(shape, computed, strict=True))
        return found

    def line(self, size: Size) -> Line:
        """Return a size of an operation as a multiple of one of x's."""
        if isinstance(size, int):
            return _number(size)
        if isinstance(size, ProductOf):
            return None
        known = self.lines[size.value][size.axis]
        if known is None or size.divisor != 1:
            return None
        return known[0], known[1] * size.multiplier, known[2] * size.multiplier + size.offset

    def _output(self, operation: Operation, inputs: Sequence[Lines], rank: int) -> Lines:
        x = inputs[0]
        match operation:
            case Conv():
                pairs = zip(operation.pads, operation.weight.shape[2:], operation.dilation, strict=True)
                more = [lo + hi - d * (k - 1) for (lo, hi), k, d in pairs]
                return (x[0], None, *map(_plus, x[2:], more))
            case ConvTranspose() if operation.output_shape is None:
                g = operation.geometry
                rest = [e - s - lo - hi for e, s, (lo, hi) in zip(g.extent, g.stride, g.crop, strict=True)]
                return (x[0], None, *(_plus(_times(n, s), r) for n, s, r in zip(x[2:], g.stride, rest, strict=True)))
            case MatMul():
                return (*x[:-1], None)
            case DepthToSpace():
                return (x[0], None, *(_times(n, operation.block) for n in x[2:]))
            case Add():
                return x
            case Pad():
                return tuple(_plus(n, lo + hi) for n, (lo, hi) in zip(x, operation.pads, strict=True))
            case Slice():
                return self._slice(operation, x)
            case Split() | Concat():
                return tuple(None if axis == operation.axis else n for axis, n in enumerate(x))
            case Reshape():
                return tuple(map(self.line, operation.shape))
            case Transpose():
                return tuple(x[axis] for axis in operation.order)
            case Unsqueeze():
                shape: list[Line] = list(x)
                for axis in operation.axes:
                    shape.insert(axis, _number(1))
                return tuple(shape)
            case Squeeze():
                return tuple(n for axis, n in enumerate(x) if axis not in operation.axes)
        return (None,) * rank

    @staticmethod
    def _slice(operation: Slice, x: Lines) -> Lines:
        shape = list(x)
        ends = zip(operation.axes, operation.starts, operation.stops, operation.steps, strict=True)
        for axis, start, stop, step in ends:
            plain = isinstance(start, int) and start >= 0 and step == 1 and (stop is None or isinstance(stop, int))
            cut = stop if isinstance(stop, int) else 0
            shape[axis] = _plus(x[axis], cut - start) if plain and isinstance(start, int) and cut <= 0 else None
        return tuple(shape)


def _number(n: int) -> Line:
    return -1, 0, n


def _mapped(line: Line, change: Callable[[int, int], tuple[int, int]]) -> Line:
    return None if line is None else (line[0], *change(line[1], line[2]))


def _plus(line: Line, more: int) -> Line:
    return _mapped(line, lambda multiplier, offset: (multiplier, offset + more))


def _times(line: Line, factor: int) -> Line:
    return _mapped(line, lambda multiplier, offset: (multiplier * factor, offset * factor))
