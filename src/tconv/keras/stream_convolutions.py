"""Convolutions, transposed convolutions, pooling and padding of Keras along time, as steps of a stream."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tconv._arrays import Array
from tconv.dialects import WeightLayout
from tconv.geometry import Geometry
from tconv.keras.backend_call import geometry_of
from tconv.keras.stream_activations import activated
from tconv.keras.stream_values import NodeList, Refusal, TimeValue
from tconv.keras.whole_blocks import WholeBlocks
from tconv.models.layers import Convolution
from tconv.models.steps.padding import Padding
from tconv.models.steps.pooling import Pooling
from tconv.models.steps.resizing import Resize
from tconv.models.steps.strided_convolution import StridedConvolution

Sides = tuple[int, int]


def numbers(variable: Any) -> Array:
    """Return a weight as a float32 array. Raises Refusal for other dtypes."""
    array = np.asarray(keras.ops.convert_to_numpy(variable))
    if array.dtype != np.float32:
        raise Refusal(f"it has weights in {array.dtype}; float32 is needed")
    return np.array(array)


def check_layout(layer: Any, value: TimeValue) -> None:
    """Raise Refusal for a layer whose channels are time in the value that it is given."""
    if layer.data_format != value.layout:
        raise Refusal(f"it takes {layer.data_format}, and its input is {value.layout}")


def sides_of(padding: str, extent: int, stride: int) -> tuple[Sides, int]:
    """Return the zeros on both sides for "valid", "same" or "causal", and the number that must divide the length.

    Keras' "same" makes ceil(n / stride) outputs, and its zeros in front depend on n mod stride: where they differ,
    those for whole multiples are returned. The last window may need fewer zeros behind it than stated.

    >>> sides_of("same", 3, 1), sides_of("causal", 3, 1), sides_of("same", 3, 2), sides_of("same", 4, 2)
    (((1, 1), 1), ((2, 0), 1), ((0, 2), 2), ((1, 2), 1))
    """
    if padding == "valid":
        return (0, 0), 1
    if padding == "causal":
        return (extent - 1, 0), 1
    front = [max(extent - rest, 0) // 2 for rest in range(1, stride + 1)]
    return (front[-1], extent - 1 - front[-1]), stride if len(set(front)) > 1 else 1


def _whole(nodes: NodeList, value: TimeValue, layer: Any, multiple: int) -> TimeValue:
    """Return the value, with a mark that its length must be a multiple."""
    return value if multiple == 1 else nodes.add(WholeBlocks(multiple, layer.name), value)


def _convolved(
    nodes: NodeList, value: TimeValue, weight: Array, bias: Any, layer: Any, groups: int, strided: bool = True
) -> TimeValue:
    """Return the convolution by a kernel [C_out, C_in/g, k] with the layer's padding, strides and dilation."""
    stride = int(layer.strides[0]) if strided else 1
    dilation = int(layer.dilation_rate[0]) if strided else 1
    padding = layer.padding if strided else "valid"
    sides, multiple = sides_of(padding, dilation * (weight.shape[2] - 1) + 1, stride)
    row = np.ascontiguousarray(weight[:, :, None])
    if stride == 1:
        return nodes.add(Convolution.ordinary(row, bias, ((0, 0), sides), (1, dilation), groups), value)
    step = StridedConvolution(row, bias, (1, stride), ((0, 0), sides), (1, dilation), groups)
    return nodes.add(step, _whole(nodes, value, layer, multiple))


def _bias(layer: Any) -> Array | None:
    return numbers(layer.bias) if layer.use_bias else None


def convolution(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a Conv1D: kernel [k, C_in/groups, C_out]."""
    check_layout(layer, value)
    weight = numbers(layer.kernel).transpose(2, 1, 0)
    return activated(nodes, _convolved(nodes, value, weight, _bias(layer), layer, layer.groups), layer.activation)


def _depthwise_weight(kernel: Array) -> Array:
    """Return a kernel [k, C, multiplier] as [C * multiplier, 1, k]."""
    return kernel.transpose(1, 2, 0).reshape(-1, 1, len(kernel))


def depthwise(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a DepthwiseConv1D: kernel [k, C, multiplier]."""
    check_layout(layer, value)
    weight = _depthwise_weight(numbers(layer.kernel))
    return activated(nodes, _convolved(nodes, value, weight, _bias(layer), layer, value.channels), layer.activation)


def separable(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a SeparableConv1D: a depthwise kernel [k, C, m], then one of [1, C * m, C_out]."""
    check_layout(layer, value)
    weight = _depthwise_weight(numbers(layer.depthwise_kernel))
    inner = _convolved(nodes, value, weight, None, layer, value.channels)
    mixing = numbers(layer.pointwise_kernel).transpose(2, 1, 0)
    return activated(nodes, _convolved(nodes, inner, mixing, _bias(layer), layer, 1, strided=False), layer.activation)


def transposed(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a Conv1DTranspose, of Keras or of tconv: kernel [k, C_out/groups, C_in]."""
    check_layout(layer, value)
    g = geometry_of(layer)
    weight = WeightLayout.of("*OI", 1).canonical(numbers(layer.kernel), g.groups)
    along = Geometry((1, *g.kernel), (1, *g.stride), ((0, 0), *g.crop), (1, *g.dilation), g.groups)
    step = Convolution(np.ascontiguousarray(weight[:, :, None]), along, _bias(layer))
    return activated(nodes, nodes.add(step, value), layer.activation)


def dense(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a Dense layer on the channels of every sample: kernel [C_in, units]."""
    if not value.channels_last:
        raise Refusal("it combines the last axis, which is time")
    if getattr(layer, "quantization_mode", None):
        raise Refusal(f"its weights are quantised ({layer.quantization_mode})")
    weight = numbers(layer.kernel).T[:, :, None, None]
    step = Convolution.ordinary(np.ascontiguousarray(weight), _bias(layer))
    return activated(nodes, nodes.add(step, value), layer.activation)


def zero_padding(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a ZeroPadding1D."""
    check_layout(layer, value)
    before, after = layer.padding
    return nodes.add(Padding(((0, 0), (before, after))), value)


def cropping(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read a Cropping1D, which cuts the middle axis."""
    if not value.channels_last:
        raise Refusal("it cuts the middle axis, which is the channels")
    before, after = layer.cropping
    return nodes.add(Padding(((0, 0), (-before, -after))), value)


def upsampling(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    """Read an UpSampling1D, which repeats every entry of the middle axis."""
    if not value.channels_last:
        raise Refusal("it repeats the middle axis, which is the channels")
    return nodes.add(Resize((Fraction(1), Fraction(int(layer.size)))), value)


def _pooling(operation: str) -> Callable[[NodeList, Any, TimeValue], TimeValue]:
    def read(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
        check_layout(layer, value)
        size, stride = int(layer.pool_size[0]), int(layer.strides[0])
        sides, multiple = sides_of(layer.padding, size, stride)
        step = Pooling(operation, (1, size), (1, stride), ((0, 0), sides))
        return nodes.add(step, _whole(nodes, value, layer, multiple))

    return read


mean_pooling, max_pooling = _pooling("mean"), _pooling("max")
