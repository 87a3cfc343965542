"""Sums, products, quotients, powers and limits, of values and of constants."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.errors import StreamError
from tconv.models.steps.arithmetic import Combination, Sum
from tconv.models.steps.pointwise import Pointwise
from tconv.torch.stream_reading.module_graph import ModuleGraphReader, OperationReader, arguments
from tconv.torch.stream_recording import RecordedOperation, TimeValue
from tconv.torch.stream_runs import Constant


def check_alignment(reader: ModuleGraphReader, value: Any, result: int) -> None:
    """Raise StreamError unless a value broadcasts to the result of an operation channel by channel."""
    mine, target = reader.layout(value), reader.layout(result)
    ahead = len(target.axes) - len(mine.axes)
    for axis, role in enumerate(mine.axes):
        other = target.axes[axis + ahead]
        if other != role and not (role == "C" and mine.size(axis) == 1):
            raise StreamError(f"a value {mine} meets one of {target}: time stands at other axes")
    if mine.total not in (1, target.total):
        raise StreamError(f"a value {mine} counts for several channels of {target}")


def add(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a sum."""
    a = arguments(operation, "input", "other", alpha=1, out=None)
    return _sum(reader, operation, a.input, a.other, (1.0, _number(a.alpha)))


def sub(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a difference."""
    a = arguments(operation, "input", "other", alpha=1, out=None)
    return _sum(reader, operation, a.input, a.other, (1.0, -_number(a.alpha)))


def rsub(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read the difference of a constant and a value."""
    a = arguments(operation, "input", "other", alpha=1)
    return _sum(reader, operation, a.other, a.input, (1.0, -_number(a.alpha)))


def _sum(
    reader: ModuleGraphReader, operation: RecordedOperation, first: Any, second: Any, scales: tuple[float, float]
) -> int:
    (result,) = operation.results
    layout = reader.layout(result)
    for each in (first, second):
        if isinstance(each, TimeValue):
            check_alignment(reader, each, result)
    if isinstance(first, TimeValue) and isinstance(second, TimeValue):
        return reader.add(Sum(scales), reader.place(first), reader.place(second))
    (value, own), (other, factor) = zip((first, second), scales, strict=True)
    if not isinstance(value, TimeValue):
        (value, own), (other, factor) = (other, factor), (value, own)
    return reader.affine(reader.place(value), own, factor * reader.constant(other, layout))


def mul(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a product."""
    a = arguments(operation, "input", "other", out=None)
    (result,) = operation.results
    for each in (a.input, a.other):
        if isinstance(each, TimeValue):
            check_alignment(reader, each, result)
    if isinstance(a.input, TimeValue) and isinstance(a.other, TimeValue):
        return reader.add(Combination("multiply"), reader.place(a.input), reader.place(a.other))
    value, other = (a.input, a.other) if isinstance(a.input, TimeValue) else (a.other, a.input)
    return reader.affine(reader.place(value), reader.constant(other, reader.layout(result)))


def div(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a quotient."""
    a = arguments(operation, "input", "other", rounding_mode=None, out=None)
    if a.rounding_mode is not None:
        raise StreamError("div rounds its result")
    return _quotient(reader, operation, a.input, a.other)


def rdiv(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read the quotient of a constant and a value."""
    a = arguments(operation, "input", "other")
    return _quotient(reader, operation, a.other, a.input)


def _quotient(reader: ModuleGraphReader, operation: RecordedOperation, above: Any, below: Any) -> int:
    (result,) = operation.results
    for each in (above, below):
        if isinstance(each, TimeValue):
            check_alignment(reader, each, result)
    if isinstance(above, TimeValue) and isinstance(below, TimeValue):
        return reader.add(Combination("divide"), reader.place(above), reader.place(below))
    if isinstance(above, TimeValue):
        with np.errstate(all="ignore"):
            return reader.affine(reader.place(above), 1 / reader.constant(below, reader.layout(result)))
    inverse = reader.add(Pointwise("reciprocal"), reader.place(below))
    return reader.affine(inverse, reader.constant(above, reader.layout(result)))


def larger_or_smaller(name: str) -> OperationReader:
    """Return the reader of `maximum` or `minimum` of two values, or of a value and a number."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        a = arguments(operation, "input", "other", out=None)
        (result,) = operation.results
        for each in (a.input, a.other):
            if isinstance(each, TimeValue):
                check_alignment(reader, each, result)
        if isinstance(a.input, TimeValue) and isinstance(a.other, TimeValue):
            return reader.add(Combination(name), reader.place(a.input), reader.place(a.other))
        value, other = (a.input, a.other) if isinstance(a.input, TimeValue) else (a.other, a.input)
        limit = _scalar(reader.constant(other, reader.layout(result)))
        low, high = (limit, math.inf) if name == "maximum" else (-math.inf, limit)
        return reader.add(Pointwise(("clamp", low, high)), reader.place(value))

    return read


def clamp(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read limits."""
    a = arguments(operation, "input", min=None, max=None, out=None)
    low, high = (
        side if limit is None else _scalar(reader.constant(limit, reader.layout(a.input)))
        for limit, side in ((a.min, -math.inf), (a.max, math.inf))
    )
    if low > high:
        raise StreamError(f"clamp has limits {low:g} and {high:g}")
    return reader.add(Pointwise(("clamp", low, high)), reader.place(a.input))


def power(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read a value to a constant power."""
    a = arguments(operation, "input", "exponent", out=None)
    if isinstance(a.input, TimeValue) and not isinstance(a.exponent, TimeValue):
        exponent = _scalar(reader.constant(a.exponent, reader.layout(a.input)))
        kind = {2.0: "square", 0.5: "sqrt", -0.5: "rsqrt", -1.0: "reciprocal"}.get(exponent, ("power", exponent))
        return reader.add(Pointwise(kind), reader.place(a.input))
    raise StreamError("pow has an exponent that depends on the input")


def addcmul(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
    """Read the sum of a value and a product."""
    a = arguments(operation, "input", "tensor1", "tensor2", value=1)
    if not all(isinstance(each, TimeValue) for each in (a.input, a.tensor1, a.tensor2)):
        raise StreamError("addcmul has a constant among its tensors")
    for each in (a.input, a.tensor1, a.tensor2):
        check_alignment(reader, each, operation.results[0])
    product = reader.add(Combination("multiply"), reader.place(a.tensor1), reader.place(a.tensor2))
    return reader.add(Sum((1.0, _number(a.value))), reader.place(a.input), product)


def _number(value: Any) -> float:
    if isinstance(value, Constant) or not isinstance(value, (int, float)):
        raise StreamError("a factor is a tensor")
    return float(value)


def _scalar(constant: Array) -> float:
    if constant.size != 1:
        raise StreamError("a limit or an exponent differs between channels")
    return float(constant[0])


def pointwise(activation: Any) -> OperationReader:
    """Return the reader of a function of single numbers without arguments of its own."""

    def read(reader: ModuleGraphReader, operation: RecordedOperation) -> int:
        a = arguments(operation, "input", inplace=False, out=None)
        return reader.add(Pointwise(activation), reader.place(a.input))

    return read
