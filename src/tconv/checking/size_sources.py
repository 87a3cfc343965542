"""Tensors that have the sizes of a layer's input: its own, and those before it, as far as no operation changes them."""

from __future__ import annotations

from collections.abc import Iterator

from tconv.models.inventory.model_layer import ModelLayer

_SAME_SIZE = {
    *("relu", "relu6", "leaky_relu", "leakyrelu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "prelu"),
    *("sigmoid", "tanh", "hardsigmoid", "hardswish", "hardtanh", "clamp", "clip", "softplus", "dropout", "identity"),
    *("batchnorm", "batch_norm", "batchnormalization", "instance_norm", "group_norm", "native_batch_norm", "neg"),
    *("add", "sub", "mul", "div", "biasadd", "logistic", "abs", "exp", "sqrt", "pow", "cast", "to", "contiguous"),
}
"""Operations that keep the sizes of x: with one input that is no constant, sums and products are among them."""


def sources(layer: ModelLayer) -> Iterator[str]:
    """Yield the names of tensors with the spatial sizes of x, the nearest first."""
    for operation in layer.before:
        yield from operation.outputs[:1]
        if len(operation.inputs) != 1 or _word(operation.op) not in _SAME_SIZE:
            return
        yield operation.inputs[0]


def output_name(layer: ModelLayer) -> str:
    """Return the name of a layer's output; "" if the operation behind it has other inputs, too, or there is none."""
    inputs = layer.after[0].inputs if layer.after else ()
    return inputs[0] if len(inputs) == 1 else ""


def _word(op: str) -> str:
    """Return the name of an operation without its namespace and overload: "relu" of "aten.relu_.default"."""
    parts = [part for part in op.lower().replace("::", ".").split(".") if part not in ("default", "tensor", "scalar")]
    return parts[-1].rstrip("_") if parts else ""
