"""Operations of an expression in NumPy, written to be read: the truth that emitters are compared with.

Sums are float64, complex128 or int64 until the end, where the result gets the type of x (integers stay int64).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.operator.functional import conv_transpose
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
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)


def values_of(operations: Sequence[Operation], x: Any) -> dict[int, Array]:
    """Return the value of every number, x being value 0."""
    given = np.asarray(x)
    wide = _wide(given.dtype)
    values = {0: given.astype(wide)}
    for operation in operations:
        results = _results(operation, values, wide)
        values.update(zip(operation.outputs, results, strict=True))
    if wide != np.int64:
        values = {number: value.astype(given.dtype) for number, value in values.items()}
    return values


def _wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind in "iub":
        return np.dtype(np.int64)
    return np.dtype(np.complex128 if dtype.kind == "c" else np.float64)


def _results(operation: Operation, values: dict[int, Array], wide: np.dtype[Any]) -> list[Array]:
    x = values[operation.inputs[0]]

    def number(size: Size) -> int:
        if isinstance(size, ProductOf):
            return math.prod(map(number, size.factors))
        return size.number(values[size.value].shape[size.axis]) if isinstance(size, SizeOf) else size

    match operation:
        case ConvTranspose():
            bias = None if operation.bias is None else operation.bias.array.astype(wide)
            g = operation.geometry_for(x.shape[2:])
            return [np.asarray(conv_transpose(x, operation.weight.array.astype(wide), bias, geometry=g, method="taps"))]
        case Conv():
            return [_conv(operation, x, wide)]
        case MatMul():
            return [np.matmul(x, operation.weight.array.astype(wide))]
        case DepthToSpace():
            n, c, h, w = x.shape
            b, small = operation.block, c // operation.block**2
            if operation.order == "DCR":
                blocks = x.reshape(n, b, b, small, h, w).transpose(0, 3, 4, 1, 5, 2)
            else:
                blocks = x.reshape(n, small, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
            return [blocks.reshape(n, small, h * b, w * b)]
        case Add():
            other = values[operation.inputs[1]] if operation.constant is None else operation.constant.array.astype(wide)
            return [x + other]
        case Pad():
            return [np.pad(x, operation.pads, constant_values=operation.value)]
        case Slice():
            index: list[Any] = [slice(None)] * x.ndim
            for axis, start, stop, step in zip(
                operation.axes, operation.starts, operation.stops, operation.steps, strict=True
            ):
                index[axis] = slice(number(start), None if stop is None else number(stop), step)
            return [x[tuple(index)]]
        case Split():
            return np.split(x, len(operation.outputs), operation.axis)
        case Concat():
            return [np.concatenate([values[value] for value in operation.inputs], operation.axis)]
        case Reshape():
            return [x.reshape([number(size) for size in operation.shape])]
        case Transpose():
            return [x.transpose(operation.order)]
        case Unsqueeze():
            return [np.expand_dims(x, operation.axes)]
        case Squeeze():
            return [np.squeeze(x, operation.axes)]
    raise AssertionError(operation)


def _conv(operation: Conv, x: Array, wide: np.dtype[Any]) -> Array:
    w, groups = operation.weight.array.astype(wide), operation.groups
    x = np.pad(x, [(0, 0), (0, 0), *operation.pads])
    kernel = w.shape[2:]
    sizes = [n - d * (k - 1) for n, k, d in zip(x.shape[2:], kernel, operation.dilation, strict=True)]
    x = x.reshape(x.shape[0], groups, w.shape[1], *x.shape[2:])
    w = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    y = np.zeros((x.shape[0], groups, w.shape[1], *sizes), wide)
    for tap in np.ndindex(*kernel):
        part = tuple(slice(t * d, t * d + n) for t, d, n in zip(tap, operation.dilation, sizes, strict=True))
        y += np.einsum("ngc...,goc->ngo...", x[:, :, :, *part], w[:, :, :, *tap])
    y = y.reshape(x.shape[0], -1, *sizes) if x.shape[0] else y.reshape(0, groups * w.shape[1], *sizes)
    if operation.bias is not None:
        y += operation.bias.array.astype(wide).reshape(-1, *[1] * len(kernel))
    return y
