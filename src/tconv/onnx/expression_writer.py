"""Writer of an expression as ONNX nodes in the place of the layer that it computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.onnx.node_writer import SLICE_OPSET, NodeWriter, OpsetError, old_slice
from tconv.onnx.size_symbols import SizeSymbols
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
    Size,
    SizeOf,
    Slice,
    Split,
    Squeeze,
    Transpose,
    Unsqueeze,
)
from tconv.rewriting.steps.step import is_writable

_TO_THE_END = (1 << 63) - 1  # the specification's number for a slice whose end is not known
_CRD_OPSET = 11


def write_expression(writer: NodeWriter, expression: Expression, x: Any) -> Any:
    """Write the nodes of an expression of x before the writer's anchor; return the value that is the result.

    Batch and sizes stay open: those that the expression takes from other values are computed from their Shape, where
    Reshape's own 0 and -1 do not say them already. Raises OpsetError for an operation that the file's opset lacks.
    """
    return _ExpressionWriter(writer, expression, x).run()


def reasons_against_writing(expression: Expression, opset: int) -> list[str]:
    """Return the reasons why `write_expression` could not write an expression in a file of this opset."""
    symbols, found = SizeSymbols.of(expression), list[str]()
    for operation in expression.operations:
        if isinstance(operation, Slice) and opset < SLICE_OPSET:
            sizes = [*operation.starts, *(stop for stop in operation.stops if stop is not None)]
            known = all((line := symbols.line(size)) is not None and line[0] < 0 for size in sizes)
            if not known or max(operation.steps) > 1:
                found.append(old_slice("steps" if known else "sizes that are known at run time only", opset))
        elif isinstance(operation, ConvTranspose) and not is_writable(operation):
            found.append(f"no ConvTranspose has the crop {operation.geometry.crop} as pads; write explicit-pads first")
    return list(dict.fromkeys(found))


class _ExpressionWriter:
    def __init__(self, writer: NodeWriter, expression: Expression, x: Any) -> None:
        self._writer, self._expression = writer, expression
        self._values: dict[int, Any] = {0: x}
        self._sizes: dict[Size, Any] = {}
        self._symbols = SizeSymbols.of(expression)
        self._dtype = next((each.dtype for step in expression.operations for each in step.constants), None)

    def run(self) -> Any:
        for operation in self._expression.operations:
            for number, value in zip(operation.outputs, self._written(operation), strict=True):
                self._values[number] = value
        if not self._expression.operations:
            return self._writer.op("Identity", self._values[0], name="same")
        return self._values[self._expression.output]

    def _written(self, operation: Operation) -> list[Any]:
        """Write one operation and return its outputs."""
        writer, x = self._writer, self._values[operation.inputs[0]]
        match operation:
            case ConvTranspose():
                return [self._conv_transpose(operation, x)]
            case Conv():
                kernel = list(operation.weight.shape[2:])
                return [
                    writer.op(
                        "Conv",
                        x,
                        *self._weights(operation, "conv"),
                        name="conv",
                        kernel_shape=kernel,
                        strides=[1] * len(kernel),
                        pads=[lo for lo, _ in operation.pads] + [hi for _, hi in operation.pads],
                        dilations=list(operation.dilation),
                        group=operation.groups,
                    )
                ]
            case MatMul():
                return [writer.op("MatMul", x, self._constant(operation.weight, "matmul/weight"), name="matmul")]
            case DepthToSpace():
                return [self._depth_to_space(operation, x)]
            case Add():
                other = (
                    self._values[operation.inputs[1]]
                    if operation.constant is None
                    else self._constant(operation.constant, "add/constant")
                )
                return [writer.op("Add", x, other, name="add")]
            case Pad():
                before, after = [lo for lo, _ in operation.pads], [hi for _, hi in operation.pads]
                number = np.array(operation.value, self._dtype) if operation.value else None
                return [writer.pad(x, before, after, "pad", number)]
            case Slice():
                return [self._slice(operation, x)]
            case Split():
                size = self._expression.shapes[operation.outputs[0]][operation.axis]
                parts = len(operation.outputs)
                if parts == 1:
                    return [x]
                if size is None:
                    raise OpsetError("a Split along an axis whose size is not known is not written")
                return writer.split(x, [size] * parts, operation.axis, "split")
            case Concat():
                inputs = [self._values[number] for number in operation.inputs]
                return [writer.op("Concat", *inputs, name="concat", axis=operation.axis)]
            case Reshape():
                return [writer.op("Reshape", x, self._shape(operation), name="reshape")]
            case Transpose():
                return [writer.op("Transpose", x, name="transpose", perm=list(operation.order))]
            case Unsqueeze():
                return [writer.unsqueeze(x, operation.axes, "unsqueeze")]
            case Squeeze():
                return [writer.squeeze(x, operation.axes, "squeeze")]
        raise AssertionError(operation)

    # -- operations with weights -----------------------------------------------------------------------------------

    def _constant(self, constant: Constant, name: str) -> Any:
        return self._writer.constant(constant.array, name)

    def _weights(self, operation: Conv | ConvTranspose, name: str) -> list[Any]:
        values = [self._constant(operation.weight, f"{name}/weight")]
        return values if operation.bias is None else [*values, self._constant(operation.bias, f"{name}/bias")]

    def _conv_transpose(self, operation: ConvTranspose, x: Any) -> Any:
        g = operation.geometry
        attributes: dict[str, Any] = {
            "kernel_shape": list(g.kernel),
            "strides": list(g.stride),
            "dilations": list(g.dilation),
            "group": g.groups,
        }
        given = operation.output_padding or (0,) * g.ndim
        if operation.output_shape is not None or operation.auto_pad != "NOTSET":
            if operation.auto_pad != "NOTSET":
                attributes["auto_pad"] = operation.auto_pad
            if operation.output_shape is not None:
                attributes["output_shape"] = list(operation.output_shape)
            extra = list(given)
        else:
            extra = [max(op, -hi) for op, (_, hi) in zip(given, g.crop, strict=True)]
            pads = [lo for lo, _ in g.crop] + [hi + op for op, (_, hi) in zip(extra, g.crop, strict=True)]
            if min(pads) < 0:
                raise OpsetError(f"a ConvTranspose has no crop below 0 in front, as {g.crop} is")
            attributes["pads"] = pads
        if any(extra):
            attributes["output_padding"] = extra
        weights = self._weights(operation, "conv_transpose")
        return self._writer.op("ConvTranspose", x, *weights, name="conv_transpose", **attributes)

    def _depth_to_space(self, operation: DepthToSpace, x: Any) -> Any:
        if self._writer.opset < _CRD_OPSET:
            if operation.order == "CRD":  # it has no mode there: the channels are put into the order of DCR
                phases, channels = operation.block**2, self._expression.shapes[operation.inputs[0]][1]
                assert channels is not None
                order = np.arange(channels).reshape(-1, phases).T.ravel()
                x = self._writer.op("Gather", x, self._writer.integers(order.tolist(), "order"), name="reorder", axis=1)
            return self._writer.op("DepthToSpace", x, name="depth_to_space", blocksize=operation.block)
        return self._writer.op(
            "DepthToSpace", x, name="depth_to_space", blocksize=operation.block, mode=operation.order
        )

    # -- sizes -----------------------------------------------------------------------------------------------------

    def _slice(self, operation: Slice, x: Any) -> Any:
        stops: list[Size] = [_TO_THE_END if stop is None else stop for stop in operation.stops]
        starts, ends = self._known(operation.starts), self._known(stops)
        begin = starts if starts is not None else self._vector(operation.starts)
        end = ends if ends is not None else self._vector(stops)
        return self._writer.slice(x, begin, end, operation.axes, "slice", steps=operation.steps)

    def _known(self, sizes: Sequence[Size]) -> list[int] | None:
        """Return sizes as numbers where the layer's shapes give all of them."""
        lines = [self._symbols.line(size) for size in sizes]
        numbers = [line[2] for line in lines if line is not None and line[0] < 0]
        return numbers if len(numbers) == len(lines) else None

    def _shape(self, operation: Reshape) -> Any:
        """Return the shape for a Reshape: 0 repeats the input's size at that place, -1 is what remains."""
        entries: list[Size] = []
        source = self._symbols.lines[operation.inputs[0]]
        for axis, size in enumerate(operation.shape):
            line = self._symbols.line(size)
            if line is not None and line[0] < 0:
                entries.append(line[2])
            elif line is not None and axis < len(source) and line == source[axis]:
                entries.append(0)
            else:
                entries.append(size)
        open_axes = [axis for axis, size in enumerate(entries) if not isinstance(size, int)]
        if open_axes:
            entries[open_axes[-1]] = -1
        numbers = [size for size in entries if isinstance(size, int)]
        if len(numbers) == len(entries):
            return self._writer.integers(numbers, "reshape/shape")
        return self._vector(entries)

    def _vector(self, sizes: Sequence[Size]) -> Any:
        """Return whole numbers, some of them known at run time only, as one value."""
        parts = [self._writer.integers([size], "size") if isinstance(size, int) else self._size(size) for size in sizes]
        return parts[0] if len(parts) == 1 else self._writer.op("Concat", *parts, name="sizes", axis=0)

    def _size(self, size: SizeOf | ProductOf) -> Any:
        if size not in self._sizes:
            writer = self._writer
            if isinstance(size, ProductOf):
                value = self._size(size.factors[0])
                for factor in size.factors[1:]:
                    value = writer.op("Mul", value, self._size(factor), name="size/product")
                self._sizes[size] = value
                return value
            value = writer.sizes(self._values[size.value], [size.axis], "size")
            if size.multiplier != 1:
                value = writer.op("Mul", value, writer.integers([size.multiplier], "multiplier"), name="size/mul")
            if size.offset:
                value = writer.op("Add", value, writer.integers([size.offset], "offset"), name="size/add")
            if size.divisor != 1:
                value = writer.op("Div", value, writer.integers([size.divisor], "divisor"), name="size/div")
            self._sizes[size] = value
        return self._sizes[size]
