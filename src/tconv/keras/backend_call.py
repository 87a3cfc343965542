"""Calls of layers on the operator of Keras' backend: TensorFlow, JAX, PyTorch or NumPy. No other one is imported."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from importlib import import_module
from typing import Any

import keras
import numpy as np

from tconv.dialects import DataLayout, WeightLayout, dialect
from tconv.errors import MissingExtraError, ShapeError
from tconv.geometry import Geometry
from tconv.operator.functional import conv_transpose

_OPERATORS = {
    "tensorflow": "tconv.tensorflow.operator",
    "jax": "tconv.jax.operator",
    "torch": "tconv.torch.operator",
}
"""Modules with `apply(x, weight, bias, geometry, data, weight_layout, result)` for tensors of a backend."""


def call(layer: Any, inputs: Any) -> Any:
    """Return what a layer of Keras or tconv computes from its inputs, activation included."""
    rank = len(layer.kernel_size)
    if len(inputs.shape) != rank + 2:
        raise ShapeError(
            f"the inputs of {layer.name} have shape {tuple(inputs.shape)}; {rank + 2} axes are needed. Write "
            f"keras.layers.TimeDistributed(layer) for sequences, or Conv{len(inputs.shape) - 2}DTranspose"
        )
    data, weight_layout = layouts(layer.data_format, rank)
    kernel = _tensor(layer.kernel)
    bias = _tensor(layer.bias) if layer.use_bias else None
    outputs = operator()(inputs, kernel, bias, geometry_of(layer), data, weight_layout, data)
    return outputs if layer.activation is None else layer.activation(outputs)


def _tensor(variable: Any) -> Any:
    """Return the tensor of a variable in the dtype of the layer's policy."""
    if keras.config.backend() == "tensorflow":  # where Keras returns the variable itself
        import tensorflow

        return tensorflow.convert_to_tensor(variable)
    return keras.ops.convert_to_tensor(variable)


def geometry_of(layer: Any) -> Geometry:
    """Return the geometry of a layer of Keras or tconv."""
    arguments = layer.strides, layer.padding, layer.output_padding, layer.dilation_rate, getattr(layer, "groups", 1)
    return geometry(*(tuple(each) if isinstance(each, list) else each for each in (layer.kernel_size, *arguments)))


@lru_cache(maxsize=512)
def geometry(kernel: Any, strides: Any, padding: Any, output_padding: Any, dilation_rate: Any, groups: Any) -> Geometry:
    """Return the geometry of a layer's arguments. Raises GeometryError for arguments of no transposed convolution."""
    given = {"strides": strides, "padding": padding, "output_padding": output_padding, "dilation_rate": dilation_rate}
    return dialect("keras").geometry(kernel=kernel, groups=groups, **given)


@cache
def layouts(data_format: str, rank: int) -> tuple[DataLayout, WeightLayout]:
    """Return the layouts of inputs and kernel: [N, *spatial, C] or [N, C, *spatial], and [*kernel, C_out/g, C_in]."""
    return DataLayout.of("N*C" if data_format == "channels_last" else "NC*", rank), WeightLayout.of("*OI", rank)


@cache
def operator() -> Callable[..., Any]:
    """Return `apply` of Keras' backend. Raises MissingExtraError for a backend that tconv does not know."""
    backend = keras.config.backend()
    if backend == "numpy":
        return _apply_numpy
    if backend not in _OPERATORS:
        raise MissingExtraError(f"tconv.keras (Keras runs on {backend})", 'KERAS_BACKEND="torch"', "torch")
    apply: Callable[..., Any] = import_module(_OPERATORS[backend]).apply
    return apply


def _apply_numpy(
    x: Any, weight: Any, bias: Any, geometry: Geometry, data: DataLayout, weight_layout: WeightLayout, result: Any
) -> Any:
    canonical = weight_layout.canonical(weight, geometry.groups)
    y = conv_transpose(data.canonical(x), canonical, bias, geometry=geometry)
    order = ["N", "C", *range(geometry.ndim)]
    return np.ascontiguousarray(y.transpose([order.index(axis) for axis in result.axes]))
