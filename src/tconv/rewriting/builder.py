"""Builder: appends operations to an expression, and leaves out those without an effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv._arrays import Array
from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import (
    Add,
    Concat,
    Constant,
    Conv,
    ConvTranspose,
    DepthToSpace,
    MatMul,
    Operation,
    Pad,
    ProductOf,
    Reshape,
    ShuffleOrder,
    Size,
    SizeOf,
    Sizes,
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)
from tconv.rewriting.shape_rules import output_shapes, size_reader

Pairs = Sequence[tuple[int, int]]


def is_square(blocks: Sequence[int]) -> bool:
    """Return True for blocks that depth to space moves: two equal ones above 1."""
    return len(blocks) == 2 and blocks[0] == blocks[1] > 1


def shuffle_forms(blocks: Sequence[int]) -> tuple[dict[str, str], ...]:
    """Return the forms of a step that shuffles: the usual one, and that without depth to space where this is in it."""
    return ({}, {"shuffle": "reshape"}) if is_square(blocks) else ({},)


class Builder:
    """Operations that were appended so far, and the shapes of their values. Each method returns a value's number."""

    def __init__(self, input: Sizes) -> None:
        self.operations: list[Operation] = []
        self.shapes: dict[int, Sizes] = {0: input}
        self.input = input

    def expression(self) -> Expression:
        """Return the operations as an expression."""
        return Expression(tuple(self.operations), self.input)

    def add(self, kind: type[Operation], inputs: Sequence[int], count: int = 1, **fields: Any) -> list[int]:
        """Append an operation with `count` outputs; return their numbers."""
        first = max(self.shapes) + 1
        operation = kind(tuple(inputs), tuple(range(first, first + count)), **fields)
        shapes = output_shapes(operation, [self.shapes[value] for value in inputs], size_reader(self.shapes))
        self.shapes.update(zip(operation.outputs, shapes, strict=True))
        self.operations.append(operation)
        return list(operation.outputs)

    def size(self, value: int, axis: int, multiplier: int = 1, offset: int = 0, divisor: int = 1) -> Size:
        """Return (multiplier * size + offset) // divisor of a value's axis: a number where the size is known."""
        wanted = SizeOf(value, axis, multiplier, offset, divisor)
        known = self.shapes[value][axis]
        return wanted if known is None else wanted.number(known)

    # -- layers --------------------------------------------------------------------------------------------------

    def conv_transpose(self, x: int, **fields: Any) -> int:
        """Append a transposed convolution."""
        return self.add(ConvTranspose, [x], **fields)[0]

    def conv(
        self, x: int, weight: Constant, bias: Constant | None, pads: Pairs, dilation: Sequence[int], groups: int
    ) -> int:
        """Append a stride-1 convolution whose pads may be negative: those cut the input."""
        if any(min(pair) < 0 for pair in pads):
            x = self.cut(x, [(-lo, -hi) for lo, hi in pads])
            pads = [(0, 0)] * len(pads)
        fields: dict[str, Any] = {"bias": bias, "pads": tuple(pads), "dilation": tuple(dilation), "groups": groups}
        return self.add(Conv, [x], weight=weight, **fields)[0]

    def matmul(self, x: int, weight: Constant) -> int:
        """Append x @ weight."""
        return self.add(MatMul, [x], weight=weight)[0]

    def depth_to_space(self, x: int, block: int, order: ShuffleOrder) -> int:
        """Append a 2-D pixel shuffle."""
        return self.add(DepthToSpace, [x], block=block, order=order)[0]

    # -- shapes --------------------------------------------------------------------------------------------------

    def reshape(self, x: int, shape: Sequence[Size]) -> int:
        """Append a reshape."""
        return self.add(Reshape, [x], shape=tuple(shape))[0]

    def transpose(self, x: int, order: Sequence[int]) -> int:
        """Append a transpose."""
        return x if list(order) == sorted(order) else self.add(Transpose, [x], order=tuple(order))[0]

    def unsqueeze(self, x: int, axes: Sequence[int]) -> int:
        """Append axes of size 1."""
        return self.add(Unsqueeze, [x], axes=tuple(axes))[0]

    def squeeze(self, x: int, axes: Sequence[int]) -> int:
        """Remove axes of size 1."""
        return self.add(Squeeze, [x], axes=tuple(axes))[0]

    def split(self, x: int, axis: int, parts: int) -> list[int]:
        """Append a split into equal parts."""
        return [x] if parts == 1 else self.add(Split, [x], parts, axis=axis)

    def concat(self, values: Sequence[int], axis: int) -> int:
        """Append a concatenation."""
        return values[0] if len(values) == 1 else self.add(Concat, values, axis=axis)[0]

    def pad(self, x: int, pads: Pairs, value: float = 0.0) -> int:
        """Append constant rows, one pair per axis of the value."""
        if not any(map(any, pads)):
            return x
        return self.add(Pad, [x], pads=tuple((lo, hi) for lo, hi in pads), value=value)[0]

    def pad_axis(self, x: int, axis: int, front: int, behind: int, value: float = 0.0) -> int:
        """Append constant rows on one axis."""
        pads = [(0, 0)] * len(self.shapes[x])
        pads[axis] = (front, behind)
        return self.pad(x, pads, value)

    def slice(self, x: int, axis: int, start: Size, stop: Size | None, step: int = 1) -> int:
        """Append a slice of one axis."""
        return self.slices(x, [axis], [start], [stop], step)

    def slices(
        self, x: int, axes: Sequence[int], starts: Sequence[Size], stops: Sequence[Size | None], step: int = 1
    ) -> int:
        """Append a slice of several axes."""
        steps = (step,) * len(axes)
        return self.add(Slice, [x], axes=tuple(axes), starts=tuple(starts), stops=tuple(stops), steps=steps)[0]

    def cut(self, x: int, cuts: Pairs, value: float = 0.0) -> int:
        """Cut (lo, hi) elements from both ends of each spatial axis; negative numbers extend it by `value`.

        It is extended first, so that nothing in between is empty where the result is not.
        """
        x = self.pad(x, [(0, 0)] * 2 + [(max(0, -lo), max(0, -hi)) for lo, hi in cuts], value)
        used = [(axis, max(0, lo), max(0, hi)) for axis, (lo, hi) in enumerate(cuts, 2) if lo > 0 or hi > 0]
        if not used:
            return x
        axes, starts, ends = (tuple(column) for column in zip(*used, strict=True))
        return self.slices(x, axes, starts, [-hi if hi else None for hi in ends])

    def merge(self, x: int, axis: int) -> int:
        """Join an axis and the one behind it, whose size is known, to one."""
        shape: list[Size] = [self.size(x, other) for other in range(len(self.shapes[x]))]
        inner = shape[axis + 1]
        assert isinstance(inner, int)
        return self.reshape(x, [*shape[:axis], self.size(x, axis, inner), *shape[axis + 2 :]])

    def product(self, x: int, axes: Sequence[int]) -> Size:
        """Return the product of the sizes of a value's axes: a number where they are known."""
        wanted = ProductOf(tuple(SizeOf(x, axis) for axis in axes))
        known = size_reader(self.shapes)(wanted)
        return wanted if known is None else known

    def spread(self, x: int, axis: int, step: int) -> int:
        """Put step - 1 zeros behind each element of an axis."""
        if step == 1:
            return x
        wide = self.pad_axis(self.unsqueeze(x, [axis + 1]), axis + 1, 0, step - 1)
        return self.merge(wide, axis)

    def shuffle(self, x: int, blocks: Sequence[int], order: ShuffleOrder, by: str = "depth_to_space") -> int:
        """Move blocks of channels into space on any number of axes: [N, C*prod(blocks), *n] to [N, C, *(n*block)].

        Depth to space does it for two axes with equal blocks, unless it is to be done `by` "reshape" (and transpose).
        """
        ndim, moved = len(blocks), [axis for axis, block in enumerate(blocks) if block > 1]
        if not moved:
            return x
        if is_square(blocks) and by == "depth_to_space":
            return self.depth_to_space(x, blocks[0], order)
        inner = [blocks[axis] for axis in moved]
        channels = self.shapes[x][1]
        assert channels is not None
        channels //= int(np.prod(inner))
        first: list[Size] = [channels, *inner] if order == "CRD" else [*inner, channels]
        sizes = [self.size(x, axis) for axis in range(ndim + 2)]
        apart = self.reshape(x, [sizes[0], *first, *sizes[2:]])
        places = {axis: (2 if order == "CRD" else 1) + i for i, axis in enumerate(moved)}
        behind = 2 + len(moved)
        axes = [0, 1 if order == "CRD" else 1 + len(moved)]
        for axis in range(ndim):
            axes += [behind + axis, *([places[axis]] if axis in places else [])]
        apart = self.transpose(apart, axes)
        grown = [self.size(x, 2 + axis, block) for axis, block in enumerate(blocks)]
        return self.reshape(apart, [sizes[0], channels, *grown])

    # -- sums ----------------------------------------------------------------------------------------------------

    def sum(self, values: Sequence[int]) -> int:
        """Append the sum of values."""
        total = values[0]
        for value in values[1:]:
            total = self.add(Add, [total, value])[0]
        return total

    def add_bias(self, x: int, bias: Constant | None) -> int:
        """Append the sum with one number per channel."""
        if bias is None:
            return x
        shape = (bias.shape[0], *[1] * (len(self.shapes[x]) - 2))

        def column(array: Array) -> Array:
            return array.reshape(shape)

        return self.add(Add, [x], constant=bias.derived(shape, column))[0]
