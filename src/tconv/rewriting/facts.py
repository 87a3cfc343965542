"""Numbers of an expression's layers, as targets limit them, and the cost of an expression."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from tconv.errors import ShapeError
from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import Conv, ConvTranspose, MatMul, Operation, Sizes
from tconv.targets.layer_facts import LayerFacts

NOMINAL = (32, 128, 1024, 65536)
"""Sizes that stand for those that vary, when a cost is counted: the first that is large enough for the crop."""


def layer_facts(operation: ConvTranspose | Conv, expression: Expression, base: LayerFacts | None = None) -> LayerFacts:
    """Return the numbers of one layer of an expression that targets limit.

    `base` are the facts of the whole layer in its file: their dtype, scales and whether the weight is constant stay.
    """
    sizes, result = expression.shapes[operation.inputs[0]], expression.shapes[operation.outputs[0]]
    facts = _conv_facts(operation) if isinstance(operation, Conv) else _conv_transpose_facts(operation)
    facts = replace(facts, batch=sizes[0], input=sizes[2:], output=result[2:], bias=operation.bias is not None)
    if base is None:
        return facts
    return replace(
        facts,
        dtype=base.dtype,
        constant_weight=base.constant_weight,
        constant_bias=base.constant_bias,
        weight_scales=base.weight_scales,
    )


def _conv_transpose_facts(operation: ConvTranspose) -> LayerFacts:
    g = operation.geometry
    extra = operation.output_padding or (0,) * g.ndim
    # beyond the pads, output_padding is what extends the end
    op = tuple(max(given, -hi) for given, (_, hi) in zip(extra, g.crop, strict=True))
    return LayerFacts(
        g.kernel,
        g.stride,
        g.dilation,
        tuple(lo for lo, _ in g.crop),
        tuple(hi + more for (_, hi), more in zip(g.crop, op, strict=True)),
        op,
        g.groups,
        operation.in_channels,
        operation.out_channels,
        dtype=operation.weight.dtype.name,
        auto_pad=operation.auto_pad,
        output_shape=operation.output_shape is not None,
    )


def _conv_facts(operation: Conv) -> LayerFacts:
    w, ndim = operation.weight.shape, len(operation.pads)
    begin, end = (tuple(pair[side] for pair in operation.pads) for side in (0, 1))
    ones, zeros = (1,) * ndim, (0,) * ndim
    in_channels = w[1] * operation.groups
    channels = (in_channels, w[0])
    return LayerFacts(
        w[2:],
        ones,
        operation.dilation,
        begin,
        end,
        zeros,
        operation.groups,
        *channels,
        dtype=operation.weight.dtype.name,
    )


@dataclass(frozen=True)
class Cost:
    """Cost of an expression for one size of its input."""

    input: tuple[int, ...]
    """Shape of x for which it was counted."""
    macs: int
    """Multiply-adds: inputs x taps of transposed convolutions, outputs x taps of convolutions, zeros too."""
    bytes: int
    """Bytes of all values that are read and written, and of the weights."""
    operations: int

    def text(self, before: Cost | None = None) -> str:
        """Return the cost in words, with factors of another one.

        >>> Cost((1, 3, 8), 2_000_000, 10_000, 3).text(Cost((1, 3, 8), 1_000_000, 10_000, 1))
        '3 operations, 2 MMAC (2 times the MACs), 10 kB (as many bytes)'
        """
        count = f"{self.operations} operation{'s' * (self.operations != 1)}"
        macs, moved = _scaled(self.macs, "MAC"), _scaled(self.bytes, "B")
        if before is not None:
            macs += f" ({_factor(self.macs, before.macs, 'MACs')})"
            moved += f" ({_factor(self.bytes, before.bytes, 'bytes')})"
        return f"{count}, {macs}, {moved}"


def _factor(number: int, before: int, unit: str) -> str:
    times = f"{number / max(before, 1):.3g}"
    return f"as many {unit}" if times == "1" else f"{times} times the {unit}"


def _scaled(number: int, unit: str) -> str:
    for power, prefix in ((12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if number >= 10**power:
            return f"{number / 10**power:.3g} {prefix if prefix != 'k' or unit == 'B' else 'k'}{unit}"
    return f"{number} {unit}"


def nominal_input(expression: Expression) -> tuple[int, ...]:
    """Return a shape of x with numbers for the sizes that vary: one in a batch, and enough elements for the crop."""
    for size in NOMINAL:
        shape = tuple(
            (1 if axis == 0 else size) if given is None else given for axis, given in enumerate(expression.input)
        )
        try:
            expression.with_input(shape)
        except ShapeError:
            continue
        return shape
    raise ShapeError(
        f"the crop removes everything from inputs of up to {NOMINAL[-1]} elements per axis. Write a smaller crop"
    )


def cost_of(expression: Expression, input: tuple[int, ...]) -> Cost:
    """Return the cost of an expression for a shape of x without unknown sizes."""
    shapes = {value: _numbers(shape) for value, shape in expression.with_input(input).shapes.items()}
    macs = moved = 0
    weights = {id(constant): constant.nbytes for op in expression.operations for constant in op.constants}
    itemsize = expression.layers[0].weight.dtype.itemsize if expression.layers else _itemsize(expression)
    for operation in expression.operations:
        macs += _macs(operation, shapes)
        moved += itemsize * sum(math.prod(shapes[value]) for value in (*operation.inputs, *operation.outputs))
    return Cost(input, macs, moved + sum(weights.values()), len(expression.operations))


def _itemsize(expression: Expression) -> int:
    constants = [constant for operation in expression.operations for constant in operation.constants]
    return constants[0].dtype.itemsize if constants else 4


def _numbers(shape: Sizes) -> tuple[int, ...]:
    return tuple(0 if size is None else size for size in shape)


def _macs(operation: Operation, shapes: dict[int, tuple[int, ...]]) -> int:
    x, y = shapes[operation.inputs[0]], shapes[operation.outputs[0]]
    match operation:
        case ConvTranspose():
            return math.prod(x) * math.prod(operation.weight.shape[1:])
        case Conv():
            return math.prod(y) * math.prod(operation.weight.shape[1:])
        case MatMul():
            return math.prod(x) * operation.weight.shape[-1]
    return 0
