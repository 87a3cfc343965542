"""Module that computes an expression by PyTorch's plain operations, in the place of a transposed convolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from tconv import _arrays
from tconv.errors import ArgumentError, ShapeError
from tconv.rewriting.expression import Expression
from tconv.rewriting.operations import ConvTranspose, Operation, ProductOf, Size, SizeOf

_CONV = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
_CONV_TRANSPOSE = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}


class _Instruction(NamedTuple):
    """Operation whose constants are named buffers, so that modules can be pickled."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    fields: Mapping[str, Any]
    buffers: Mapping[str, str]


Numbers = Callable[[Sequence[Size | None]], list[Any]]


class RewrittenConvTranspose(torch.nn.Module):
    """Transposed convolution as other operations, from `tconv.torch.rewrite`.

    Its weights are buffers, which are computed from the layer's weight: train the layer, then rewrite it again.
    """

    def __init__(self, expression: Expression, layer: Any, steps: Sequence[str], any_size: bool) -> None:
        super().__init__()
        for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding", "dilation"):
            setattr(self, name, getattr(layer, name))
        self.groups = layer.groups
        self.steps = tuple(steps)
        self._any_size = any_size
        self._ndim = len(layer.kernel_size)
        self._output = expression.output
        self._instructions: list[_Instruction] = []
        names: dict[int, str] = {}
        for operation in expression.operations:
            instruction = self._instruction(operation, layer.weight, names)
            channels = expression.shapes[operation.inputs[0]][1]
            self._instructions.append(instruction._replace(fields={**instruction.fields, "channels": channels}))
        self.train(layer.training)

    def _instruction(self, operation: Operation, like: torch.Tensor, names: dict[int, str]) -> _Instruction:
        fields = {key: value for key, value in vars(operation).items() if key not in ("inputs", "outputs")}
        buffers = {}
        for key in ("weight", "bias", "constant"):
            constant = fields.pop(key, None)
            if constant is None:
                continue
            if id(constant) not in names:  # one that several operations read is stored once
                names[id(constant)] = f"constant_{len(names)}"
                tensor = _arrays.give(constant.array.copy(order="C"), "torch")
                self.register_buffer(names[id(constant)], tensor.to(like.device))
            buffers[key] = names[id(constant)]
        return _Instruction(operation.kind, operation.inputs, operation.outputs, fields, buffers)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        """Return what the layer returns for input [N, C_in, *spatial] or [C_in, *spatial]."""
        batched = input.dim() == self._ndim + 2
        if not batched and input.dim() != self._ndim + 1:
            raise ShapeError(
                f"input has {input.dim()} axes; [N, C, *spatial] with {self._ndim + 2} is needed, or [C, *spatial]. "
                "Write input[None], for example"
            )
        x = input if batched else input.unsqueeze(0)
        values: dict[int, torch.Tensor] = {0: x}

        def numbers(sizes: Sequence[Size | None]) -> list[Any]:
            return [_number(size, values) for size in sizes]

        for step in self._instructions:
            constants = {key: getattr(self, name) for key, name in step.buffers.items()}
            given = [values[value] for value in step.inputs]
            results = _RUN[step.kind](given, {**step.fields, "parts": len(step.outputs)}, constants, numbers)
            values.update(zip(step.outputs, results, strict=True))
        y = values[self._output]
        if self._any_size or output_size is not None:
            y = self._of_size(y, x, output_size)
        return y if batched else y.squeeze(0)

    def _of_size(self, y: torch.Tensor, x: torch.Tensor, output_size: Sequence[Any] | None) -> torch.Tensor:
        """Cut the largest output that the layer can have to the size that the call asks for."""
        usual = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1 + op
            for n, s, p, d, k, op in zip(
                x.shape[2:],
                self.stride,
                self.padding,
                self.dilation,
                self.kernel_size,
                self.output_padding,
                strict=True,
            )
        ]
        wanted = usual if output_size is None else list(output_size)[-self._ndim :]
        if not self._any_size:
            if not torch.compiler.is_compiling() and [int(n) for n in wanted] != [int(n) for n in usual]:
                raise ArgumentError(
                    f"output_size is {wanted}; this layer was rewritten for its own size, {usual}. Write "
                    "tconv.torch.rewrite(model, ..., example=x) with an example that asks for a size"
                )
            return y
        least = [size - op for size, op in zip(usual, self.output_padding, strict=True)]
        if not torch.compiler.is_compiling() and not torch.jit.is_tracing():
            for axis, (size, low, s) in enumerate(zip(wanted, least, self.stride, strict=True)):
                if not low <= size < low + s:
                    raise ArgumentError(
                        f"output_size is {wanted}; spatial axis {axis} can have {low} to {low + s - 1} elements for "
                        f"this input. Write one of them"
                    )
        for axis, size in enumerate(wanted, 2):
            if torch.compiler.is_exporting():  # a narrow would ask for a proof that the size is small enough
                y = y.index_select(axis, torch.arange(size, device=y.device))
            else:
                y = y.narrow(axis, 0, size)
        return y

    def extra_repr(self) -> str:
        """Return the layer's numbers, and the operations in its place."""
        kinds = ", ".join(dict.fromkeys(step.kind for step in self._instructions))
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}; "
            f"{' + '.join(self.steps)}: {kinds}"
        )


def is_expressible(operation: ConvTranspose) -> bool:
    """Return True for a crop that PyTorch's layers have: equal pads of at least 0, and a small output_padding."""
    g = operation.geometry
    limits = [max(s, d) for s, d in zip(g.stride, g.dilation, strict=True)]
    return all(lo >= 0 and 0 <= lo - hi < limit for (lo, hi), limit in zip(g.crop, limits, strict=True))


def _number(size: Size | None, values: dict[int, torch.Tensor]) -> Any:
    if isinstance(size, ProductOf):
        return math.prod(_number(factor, values) for factor in size.factors)
    if not isinstance(size, SizeOf):
        return size
    number: Any = values[size.value].shape[size.axis]
    # a program that is exported has no operation without an effect
    number = number if size.multiplier == 1 else number * size.multiplier
    number = number if size.offset == 0 else number + size.offset
    return number if size.divisor == 1 else number // size.divisor


# -- operations --------------------------------------------------------------------------------------------------

Given = list[torch.Tensor]
Fields = Mapping[str, Any]
Constants = Mapping[str, torch.Tensor]


def _padded(x: torch.Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> torch.Tensor:
    flat = [side for pair in reversed(pads) for side in pair]
    while flat and flat[-1] == flat[-2] == 0:  # the first axes have none
        flat = flat[:-2]
    return torch.nn.functional.pad(x, flat, value=value) if flat else x


def _conv(given: Given, fields: Fields, constants: Constants, _: Numbers) -> Given:
    x, pads = given[0], fields["pads"]
    if all(lo == hi for lo, hi in pads):
        padding = [lo for lo, _ in pads]
    else:
        x, padding = _padded(x, pads), [0] * len(pads)
    run = _CONV[len(pads)]
    weight, bias = constants["weight"], constants.get("bias")
    return [run(x, weight, bias, 1, padding, list(fields["dilation"]), fields["groups"])]


def _conv_transpose(given: Given, fields: Fields, constants: Constants, _: Numbers) -> Given:
    g = fields["geometry"]
    padding = [lo for lo, _ in g.crop]
    extra = [lo - hi for lo, hi in g.crop]
    run = _CONV_TRANSPOSE[g.ndim]
    weight, bias = constants["weight"], constants.get("bias")
    return [run(given[0], weight, bias, list(g.stride), padding, extra, g.groups, list(g.dilation))]


def _depth_to_space(given: Given, fields: Fields, constants: Constants, numbers: Numbers) -> Given:
    x, block = given[0], fields["block"]
    if fields["order"] == "DCR":  # the other order is PyTorch's own
        (n, _, h, w), channels = x.shape, fields["channels"]
        x = x.reshape(n, block * block, channels // block**2, h, w).transpose(1, 2).reshape(n, channels, h, w)
    return [torch.nn.functional.pixel_shuffle(x, block)]


def _slice(given: Given, fields: Fields, _: Constants, numbers: Numbers) -> Given:
    index: list[Any] = [slice(None)] * given[0].dim()
    starts, stops = numbers(fields["starts"]), numbers(fields["stops"])
    for axis, start, stop, step in zip(fields["axes"], starts, stops, fields["steps"], strict=True):
        index[axis] = slice(start, stop, step)
    return [given[0][tuple(index)]]


def _squeeze(given: Given, fields: Fields, _: Constants, __: Numbers) -> Given:
    x = given[0]
    for axis in reversed(fields["axes"]):
        x = x.squeeze(axis)
    return [x]


def _unsqueeze(given: Given, fields: Fields, _: Constants, __: Numbers) -> Given:
    x = given[0]
    for axis in fields["axes"]:
        x = x.unsqueeze(axis)
    return [x]


_RUN: dict[str, Callable[[Given, Fields, Constants, Numbers], Sequence[torch.Tensor]]] = {
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "depth_to_space": _depth_to_space,
    "slice": _slice,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "matmul": lambda given, fields, constants, _: [torch.matmul(given[0], constants["weight"])],
    "add": lambda given, fields, constants, _: [
        given[0] + (constants["constant"] if "constant" in constants else given[1])
    ],
    "pad": lambda given, fields, constants, _: [_padded(given[0], fields["pads"], fields["value"])],
    "split": lambda given, fields, constants, _: given[0].chunk(fields["parts"], fields["axis"]),
    "concat": lambda given, fields, constants, _: [torch.cat(given, fields["axis"])],
    "reshape": lambda given, fields, constants, numbers: [given[0].reshape(numbers(fields["shape"]))],
    "transpose": lambda given, fields, constants, _: [given[0].permute(fields["order"])],
}
