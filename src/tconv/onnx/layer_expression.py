"""ConvTranspose nodes as expressions: the layer of an inventory, with the crop as its file writes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tconv.dialects import dialect
from tconv.errors import TconvError
from tconv.geometry import Geometry
from tconv.models.inventory.model_layer import ModelLayer, StoredArray
from tconv.onnx.graph_steps.graph_step import StepError
from tconv.rewriting.expression import Expression, layer
from tconv.rewriting.operations import Constant


def expression_of(model_layer: ModelLayer) -> Expression:
    """Return a layer of an ONNX file as an expression of one ConvTranspose, weights read when they are needed.

    Raises StepError for a layer whose weight is not known, or whose arguments have no meaning.
    """
    weight, bias = model_layer.weight, model_layer.bias
    if weight is None:
        raise StepError("; ".join(model_layer.limitations) or "its weight is not known")
    arguments = dict(model_layer.arguments)
    ndim = len(weight.shape) - 2
    rule = arguments.get("auto_pad", "NOTSET") or "NOTSET"
    output_shape = arguments.pop("output_shape", None) or None
    if rule != "NOTSET":  # exporters write both; the rule is the one that counts
        arguments.pop("pads", None)
    sizes = _sizes(model_layer.input_shape, weight.shape)
    known = tuple(size if size is not None else 7 for size in sizes[2:])
    extra = tuple(arguments.get("output_padding") or (0,) * ndim)
    try:
        if output_shape is not None:
            if len(output_shape) == ndim + 2:
                output_shape = output_shape[2:]
            plain = {key: value for key, value in arguments.items() if key in ("strides", "dilations", "group")}
            read = dialect("onnx").read((1, weight.shape[0], *known), weight.shape, plain)
            dialect("onnx").read(
                (1, weight.shape[0], *known), weight.shape, {**arguments, "output_shape": output_shape}
            )
        else:
            read = dialect("onnx").read((1, weight.shape[0], *known), weight.shape, arguments)
    except TconvError as error:
        raise StepError(f"its arguments have no meaning: {error}") from None
    g: Geometry = read.geometry
    words: dict[str, Any] = {"output_padding": extra if any(extra) else (), "auto_pad": rule}
    if output_shape is not None:
        words["output_shape"] = tuple(output_shape)
    try:
        return layer(_constant(weight), None if bias is None else _constant(bias), g, sizes, **words)
    except TconvError as error:
        raise StepError(str(error)) from None


def _constant(stored: StoredArray) -> Constant:
    return Constant(stored.shape, _dtype(stored.dtype), stored.read)


def _dtype(name: str) -> Any:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(name)


def _sizes(shape: Sequence[Any] | None, weight: Sequence[int]) -> tuple[int | None, ...]:
    if shape is None:
        return (None, weight[0], *[None] * (len(weight) - 2))
    known = [size if isinstance(size, int) and size > 0 else None for size in shape]
    return (known[0], weight[0], *known[2:])
