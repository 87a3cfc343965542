"""Arrays that a graph computes from constants, one operation at a time: arithmetic, sums, casts, other layouts.

Nothing is computed before it is asked for. A result is None where it would have far more elements than any weight, or
where so many steps lead to it that computing it would take minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tconv._arrays import Array
from tconv.models.inventory.model_layer import StoredArray
from tconv.models.readers.number_types import to_bfloat16

BINARY: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
}
"""Operations on two arrays by PyTorch's names."""

UNARY: dict[str, Callable[[Array], Array]] = {
    "neg": np.negative,
    "abs": np.abs,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: np.reciprocal(np.sqrt(x)),
    "square": np.square,
    "exp": np.exp,
    "log": np.log,
    "reciprocal": np.reciprocal,
    "sigmoid": lambda x: np.reciprocal(1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softplus": lambda x: np.logaddexp(x, 0),
}
"""Operations on each number by PyTorch's names."""

_REDUCTIONS: dict[str, Callable[..., Array]] = {"sum": np.sum, "mean": np.mean, "max": np.max}
_MOST_STEPS, _MOST_ELEMENTS, _MOST_WORK = 1000, 1 << 28, 1 << 32


def cast_values(values: Array, dtype: str) -> Array:
    """Return values rounded to a type by its name; those of bfloat16 in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return to_bfloat16(values) if dtype == "bfloat16" else values.astype(dtype)


def cast(source: StoredArray, dtype: str, op: str) -> StoredArray:
    """Return an array in another type."""
    return _changed(source, op, lambda: cast_values(source.read(), dtype), dtype=dtype)


def elementwise(name: str, op: str, *sources: StoredArray) -> StoredArray | None:
    """Return an operation of `UNARY` or `BINARY` on arrays; None for shapes that do not fit, and for large results."""
    function = UNARY[name] if len(sources) == 1 else BINARY[name]
    try:
        shape = np.broadcast_shapes(*(each.shape for each in sources))
    except ValueError:
        return None
    steps, kind = 1 + sum(each.steps for each in sources), sources[0].dtype
    if steps > _MOST_STEPS or math.prod(shape) > _MOST_ELEMENTS or steps * math.prod(shape) > _MOST_WORK:
        return None

    def read() -> Array:
        with np.errstate(all="ignore"):  # inf and NaN are those of the model
            return cast_values(function(*(each.read() for each in sources)), kind)

    origin = _origin(max(sources, key=lambda each: each.steps), op)
    return replace(sources[0], shape=shape, read=read, origin=origin, steps=steps, quantization=None)


def reduced(name: str, op: str, source: StoredArray, axes: Sequence[int], keep: bool) -> StoredArray | None:
    """Return a sum, mean or maximum over some axes; None for axes that it does not have."""
    rank = len(source.shape)
    if any(not -rank <= axis < rank for axis in axes) or not math.prod(source.shape):
        return None
    places = tuple({axis % rank for axis in axes})
    kept = (1 if axis in places else size for axis, size in enumerate(source.shape))
    shape = tuple(size for axis, size in enumerate(kept) if keep or axis not in places)
    read = lambda: _REDUCTIONS[name](source.read(), axis=places, keepdims=keep)  # noqa: E731
    return _changed(source, op, read, shape=shape, quantization=None)


def transposed(source: StoredArray, order: Sequence[int], op: str) -> StoredArray | None:
    """Return an array with its axes in another order; None for what is no order of them."""
    if sorted(order) != list(range(len(source.shape))):
        return None
    quantization = source.quantization
    if quantization is not None and quantization.axis is not None:
        quantization = replace(quantization, axis=list(order).index(quantization.axis))
    shape = tuple(source.shape[axis] for axis in order)
    read = lambda: np.ascontiguousarray(source.read().transpose(order))  # noqa: E731
    return _changed(source, op, read, shape=shape, quantization=quantization)


def reshaped(source: StoredArray, sizes: Sequence[int], op: str) -> StoredArray | None:
    """Return an array with other sizes, of which one may be -1; None if they have another number of elements."""
    whole, rest = math.prod(source.shape), -math.prod(sizes)
    shape = tuple(sizes)
    if min(sizes, default=0) == -1 and rest > 0:
        shape = tuple(whole // rest if size == -1 else size for size in sizes)
    if min(shape, default=0) < 0 or math.prod(shape) != whole:
        return None
    quantization = source.quantization if source.quantization and source.quantization.axis is None else None
    return _changed(source, op, lambda: source.read().reshape(shape), shape=shape, quantization=quantization)


def _changed(source: StoredArray, op: str, read: Callable[[], Array], **changes: object) -> StoredArray:
    words = {"read": read, "origin": _origin(source, op), "steps": source.steps + 1, **changes}
    return replace(source, **words)  # type: ignore[arg-type]


def _origin(source: StoredArray, op: str) -> str:
    """Return the computation with one more operation; "" is one that tells nothing."""
    if not op:
        return source.origin
    return op if source.origin == "constant" else f"{source.origin}, {op}"
