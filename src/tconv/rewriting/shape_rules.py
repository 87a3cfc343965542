"""Shape of each operation's outputs from those of its inputs, with sizes that are not known; None then."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tconv.errors import ShapeError
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
    SizeOf,
    Sizes,
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)

SizeReader = Callable[[Size], int | None]
"""Function that returns a size as a number, or None."""


def output_shapes(operation: Operation, inputs: Sequence[Sizes], number: SizeReader) -> tuple[Sizes, ...]:
    """Return the shapes of an operation's outputs. Raises ShapeError for inputs that do not fit it."""
    match operation:
        case ConvTranspose():
            return (_conv_transpose(operation, inputs[0]),)
        case Conv():
            return (_conv(operation, inputs[0]),)
        case MatMul():
            return (_matmul(operation, inputs[0]),)
        case DepthToSpace():
            return (_depth_to_space(operation, inputs[0]),)
        case Add():
            return (_add(operation, inputs),)
        case Pad():
            _need(len(operation.pads) == len(inputs[0]), operation, inputs, "one pair per axis")
            _need(min(min(pair) for pair in operation.pads) >= 0, operation, inputs, "pads of at least 0")
            return (tuple(_plus(n, lo + hi) for n, (lo, hi) in zip(inputs[0], operation.pads, strict=True)),)
        case Slice():
            return (_slice(operation, inputs[0], number),)
        case Split():
            parts, size = len(operation.outputs), inputs[0][operation.axis]
            _need(size is None or size % parts == 0, operation, inputs, f"a multiple of {parts} on the axis")
            part = None if size is None else size // parts
            return (_with(inputs[0], operation.axis, part),) * parts
        case Concat():
            return (_concat(operation, inputs),)
        case Reshape():
            return (_reshape(operation, inputs[0], number),)
        case Transpose():
            _need(sorted(operation.order) == list(range(len(inputs[0]))), operation, inputs, "each axis once")
            return (tuple(inputs[0][axis] for axis in operation.order),)
        case Unsqueeze():
            shape = list(inputs[0])
            for axis in operation.axes:
                shape.insert(axis, 1)
            return (tuple(shape),)
        case Squeeze():
            _need(all(inputs[0][axis] in (1, None) for axis in operation.axes), operation, inputs, "axes of size 1")
            return (tuple(n for axis, n in enumerate(inputs[0]) if axis not in operation.axes),)
    raise ShapeError(f"{type(operation).__qualname__} is no operation of an expression. Use those of operations.py")


def _conv_transpose(operation: ConvTranspose, x: Sizes) -> Sizes:
    g, w = operation.geometry, operation.weight.shape
    _need(len(x) == g.ndim + 2, operation, (x,), f"{g.ndim} spatial axes")
    _need(x[1] in (w[0], None), operation, (x,), f"{w[0]} channels")
    _need(w[2:] == g.kernel and w[0] % g.groups == 0, operation, (x,), f"a weight that fits {g}")
    channels = w[1] * g.groups
    if operation.bias is not None:
        _need(operation.bias.shape == (channels,), operation, (x,), f"a bias of {channels} numbers")
    if operation.output_shape is not None:
        return (x[0], channels, *operation.output_shape)
    axes = zip(x[2:], g.stride, g.extent, g.crop, strict=True)
    sizes = tuple(None if n is None else s * (n - 1) + e - lo - hi for n, s, e, (lo, hi) in axes)
    _need(all(size is None or size >= 1 for size in sizes), operation, (x,), "an output that is not empty")
    return (x[0], channels, *sizes)


def _conv(operation: Conv, x: Sizes) -> Sizes:
    w = operation.weight.shape
    _need(len(x) == len(w) == len(operation.pads) + 2, operation, (x,), f"a weight of its rank, not {w}")
    _need(x[1] in (w[1] * operation.groups, None), operation, (x,), f"{w[1] * operation.groups} channels")
    _need(w[0] % operation.groups == 0, operation, (x,), "output channels that the groups divide")
    _need(min(min(pair) for pair in operation.pads) >= 0, operation, (x,), "pads of at least 0")
    axes = zip(x[2:], w[2:], operation.pads, operation.dilation, strict=True)
    sizes = tuple(_plus(n, lo + hi - d * (k - 1)) for n, k, (lo, hi), d in axes)
    _need(all(size is None or size >= 1 for size in sizes), operation, (x,), "an output that is not empty")
    return (x[0], w[0], *sizes)


def _matmul(operation: MatMul, x: Sizes) -> Sizes:
    w = operation.weight.shape
    _need(len(x) >= len(w) and x[-1] in (w[-2], None), operation, (x,), f"axes for the weight {w}")
    return (*x[:-1], w[-1])


def _depth_to_space(operation: DepthToSpace, x: Sizes) -> Sizes:
    block = operation.block
    _need(len(x) == 4 and x[1] is not None and x[1] % block**2 == 0, operation, (x,), f"[N, C*{block}*{block}, h, w]")
    assert x[1] is not None
    return (x[0], x[1] // block**2, *(None if n is None else n * block for n in x[2:]))


def _add(operation: Add, inputs: Sequence[Sizes]) -> Sizes:
    if operation.constant is not None:
        fits = zip(reversed(inputs[0]), reversed(operation.constant.shape), strict=False)
        _need(
            all(c == 1 or n in (c, None) for n, c in fits), operation, inputs, f"{operation.constant.shape} broadcast"
        )
        return inputs[0]
    a, b = inputs
    _need(len(a) == len(b), operation, inputs, "equal shapes")
    _need(all(None in pair or pair[0] == pair[1] for pair in zip(a, b, strict=True)), operation, inputs, "equal shapes")
    return tuple(m if n is None else n for m, n in zip(a, b, strict=True))


def _slice(operation: Slice, x: Sizes, number: SizeReader) -> Sizes:
    shape = list(x)
    for axis, start, stop, step in zip(operation.axes, operation.starts, operation.stops, operation.steps, strict=True):
        _need(step >= 1, operation, (x,), "a step of at least 1")
        size, first = x[axis], number(start)
        last = None if stop is None else number(stop)
        known = first is not None and (stop is None or last is not None)
        shape[axis] = len(range(size)[first:last:step]) if size is not None and known else None
    return tuple(shape)


def _concat(operation: Concat, inputs: Sequence[Sizes]) -> Sizes:
    shape = list(inputs[0])
    for axis in range(len(shape)):
        sizes = [x[axis] for x in inputs]
        known = [size for size in sizes if size is not None]
        if axis == operation.axis:
            shape[axis] = sum(known) if len(known) == len(sizes) else None
        else:
            _need(len(set(known)) <= 1, operation, inputs, f"equal sizes on axis {axis}")
            shape[axis] = known[0] if known else None
    return tuple(shape)


def _reshape(operation: Reshape, x: Sizes, number: SizeReader) -> Sizes:
    shape = tuple(map(number, operation.shape))
    old = [n for n in x if n is not None]
    new = [n for n in shape if n is not None]
    if len(old) == len(x) and len(new) == len(shape):
        _need(math.prod(old) == math.prod(new), operation, (x,), f"as many elements as {shape}")
    return shape


def _with(shape: Sizes, axis: int, size: int | None) -> Sizes:
    return (*shape[:axis], size, *shape[axis + 1 :])


def _plus(size: int | None, more: int) -> int | None:
    return None if size is None else size + more


def _need(fits: bool, operation: Operation, inputs: Sequence[Sizes], needed: str) -> None:
    if not fits:
        given = ", ".join(map(str, inputs))
        raise ShapeError(
            f"{operation.kind} of values {operation.inputs} was given {given}; it needs {needed}. Write an expression "
            "whose shapes fit"
        )


def size_reader(shapes: dict[int, Sizes]) -> SizeReader:
    """Return the function that reads sizes from the shapes of values."""

    def number(size: Size) -> int | None:
        if isinstance(size, ProductOf):
            factors = [factor for factor in map(number, size.factors) if factor is not None]
            return math.prod(factors) if len(factors) == len(size.factors) else None
        if not isinstance(size, SizeOf):
            return size
        known = shapes[size.value][size.axis]
        return None if known is None else size.number(known)

    return number
