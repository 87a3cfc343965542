"""Arguments of a layer for an x of known sizes: TensorFlow's name the size of the output, which a graph may compute."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tconv.dialects import dialect
from tconv.models.inventory.model_layer import ModelLayer, Size
from tconv.models.inventory.symbols import evaluate

_SIZED = ("tensorflow", "tflite")


def sized_arguments(layer: ModelLayer, x_shape: Sequence[int]) -> dict[str, Any]:
    """Return the native arguments of a layer for an x of this native shape.

    They are those of the layer, unless its output_shape follows from the sizes of x: it is evaluated then. Where it is
    not known, it is the size that Keras and most models choose: s*n for SAME, and s*n + max(extent - s, 0) for VALID.
    """
    arguments = dict(layer.arguments)
    weight = layer.weight
    if layer.dialect not in _SIZED or "output_shape" in arguments or weight is None:
        return arguments
    rules, ndim = dialect(layer.dialect), len(weight.shape) - 2
    layouts = {name: value for name, value in arguments.items() if name in rules.layout_arguments}
    data = rules.data_layout(ndim, ndim + 2, **layouts)
    kernel = rules.weight_layout(ndim, **layouts).kernel(weight.shape)
    values = {name: size for name, size in zip(layer.input_shape or (), x_shape, strict=False) if isinstance(name, str)}
    stated = layer.output_shape if layer.output_shape and len(layer.output_shape) == len(data.axes) else None
    sizes = []
    for axis, k in enumerate(kernel):
        at = data.axes.index(axis)
        size = _number(None if stated is None else stated[at], values)
        sizes.append(_usual(arguments, axis, x_shape[at], k) if size is None else size)
    return {**arguments, "output_shape": sizes}


def _number(size: Size, values: dict[str, int]) -> int | None:
    return evaluate(size, values) if isinstance(size, str) else size


def _usual(arguments: dict[str, Any], axis: int, n: int, k: int) -> int:
    stride, dilation = (_entry(arguments.get(name, 1), axis) for name in ("strides", "dilations"))
    extent = dilation * (k - 1) + 1
    padding = arguments.get("padding", "SAME")
    if isinstance(padding, str):
        return stride * n + (max(extent - stride, 0) if padding == "VALID" else 0)
    lo, hi = padding[1 + axis]
    return stride * (n - 1) + extent - int(lo) - int(hi)


def _entry(given: Any, axis: int) -> int:
    return int(given) if isinstance(given, int) else int(given[axis])
