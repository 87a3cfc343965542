"""Layers of Keras as steps of a stream: the rules by class, and the reasons against others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tconv._arrays import Array
from tconv.keras import stream_convolutions as convolutions
from tconv.keras import stream_recurrent as recurrent
from tconv.keras.layer_calls import is_installed
from tconv.keras.layers import Conv1DTranspose
from tconv.keras.stream_activations import activated, in_a_row
from tconv.keras.stream_convolutions import numbers
from tconv.keras.stream_values import NodeList, Refusal, TimeValue, is_channel_axis
from tconv.models.steps.arithmetic import Affine, Combination, Sum
from tconv.models.steps.channel_softmax import ChannelSoftmax
from tconv.models.steps.channels import Concat
from tconv.streaming.channel_norm import ChannelNorm

Rule = Callable[..., TimeValue]
"""`rule(nodes, layer, *values)` adds the nodes of one call of a layer and returns its output; it raises Refusal."""


def _same(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    return value


def _activation(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    return activated(nodes, value, layer.activation)


def _relu(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    if layer.threshold:
        raise Refusal(f"it has a threshold of {layer.threshold}; 0 is needed")
    return limited(nodes, value, layer.negative_slope, layer.max_value)


def limited(nodes: NodeList, value: TimeValue, slope: float, limit: float | None) -> TimeValue:
    """Return a leaky ReLU with an upper limit, or none."""
    if not slope:
        return in_a_row(nodes, value, "relu" if limit is None else ("clamp", 0.0, float(limit)))
    upper = () if limit is None else (("clamp", -math.inf, float(limit)),)
    return in_a_row(nodes, value, ("leaky_relu", float(slope)), *upper)


def _leaky_relu(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    return in_a_row(nodes, value, ("leaky_relu", float(layer.negative_slope)))


def _elu(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    return in_a_row(nodes, value, ("elu", float(layer.alpha)))


def _prelu(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    slopes = numbers(layer.alpha)[None]
    axis = 3 - value.channel_axis
    if slopes.shape[axis] != 1:
        raise Refusal(f"it has a slope for every sample. Write keras.layers.PReLU(shared_axes=[{axis}])")
    return in_a_row(nodes, value, ("prelu", slopes.reshape(-1)))


def _softmax(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    if not is_channel_axis(layer.axis, value):
        raise Refusal(f"it sums over axis {layer.axis}, which is time")
    return nodes.add(ChannelSoftmax(), value)


def _sum(scale: float) -> Rule:
    def read(nodes: NodeList, layer: Any, *values: TimeValue) -> TimeValue:
        total = values[0]
        for value in values[1:]:
            total = nodes.add(Sum((1.0, scale)), total, value)
        return total

    return read


def _average(nodes: NodeList, layer: Any, *values: TimeValue) -> TimeValue:
    total = _sum(1.0)(nodes, layer, *values)
    return nodes.add(Affine(np.full(1, 1 / len(values), np.float32)), total)


def _combination(operation: str) -> Rule:
    def read(nodes: NodeList, layer: Any, *values: TimeValue) -> TimeValue:
        total = values[0]
        for value in values[1:]:
            total = nodes.add(Combination(operation), total, value)
        return total

    return read


def concatenated(nodes: NodeList, axis: Any, *values: TimeValue) -> TimeValue:
    """Return the values one after the other along their channels. Raises Refusal for another axis."""
    if not is_channel_axis(axis, values[0]):
        raise Refusal(f"it concatenates along axis {axis}, which is not that of the channels")
    return nodes.add(Concat(), *values)


def _concatenate(nodes: NodeList, layer: Any, *values: TimeValue) -> TimeValue:
    return concatenated(nodes, layer.axis, *values)


def _check_channel_axis(axis: Any, value: TimeValue) -> None:
    if not is_channel_axis(axis, value):
        raise Refusal(f"it normalises along axis {axis}; axis {value.channel_axis}, that of the channels, is needed")


def _column(array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32).reshape(-1, 1, 1)


def _batch_normalization(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    _check_channel_axis(layer.axis, value)
    mean, variance = (numbers(each).astype(np.float64) for each in (layer.moving_mean, layer.moving_variance))
    scale = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        scale *= numbers(layer.gamma)
    shift = -mean * scale + (numbers(layer.beta) if layer.center else 0)
    return nodes.add(Affine(_column(scale), _column(shift)), value)


def _layer_normalization(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    _check_channel_axis(layer.axis, value)
    if getattr(layer, "rms_scaling", False):
        raise Refusal("it has rms_scaling. Write keras.layers.RMSNormalization")
    gain = numbers(layer.gamma) if layer.scale else None
    shift = numbers(layer.beta) if layer.center else None
    return nodes.add(ChannelNorm(gain, shift, layer.epsilon), value)


def _rms_normalization(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    _check_channel_axis(layer.axis, value)
    return nodes.add(ChannelNorm(numbers(layer.scale), None, layer.epsilon, centred=False), value)


def _rescaling(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        raise Refusal("its scale or offset is more than one number")
    return nodes.add(Affine(np.full(1, layer.scale, np.float32), np.full(1, layer.offset, np.float32)), value)


def _permute(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    if tuple(layer.dims) not in ((1, 2), (2, 1)):
        raise Refusal(f"it permutes by {layer.dims}; (2, 1) is needed")
    return value._replace(channels_last=value.channels_last ^ (tuple(layer.dims) == (2, 1)))


def _time_distributed(nodes: NodeList, layer: Any, value: TimeValue) -> TimeValue:
    inner = layer.layer
    if not value.channels_last or type(inner) not in _POINTWISE_LAYERS:
        raise Refusal(f"it applies a {type(inner).__name__} to every sample; Dense and activations are read there")
    return rule_for(inner)(nodes, inner, value)


_L = keras.layers
RULES: dict[type, Rule] = {
    _L.Conv1D: convolutions.convolution,
    _L.Conv1DTranspose: convolutions.transposed,
    Conv1DTranspose: convolutions.transposed,
    _L.DepthwiseConv1D: convolutions.depthwise,
    _L.SeparableConv1D: convolutions.separable,
    _L.Dense: convolutions.dense,
    _L.ZeroPadding1D: convolutions.zero_padding,
    _L.Cropping1D: convolutions.cropping,
    _L.UpSampling1D: convolutions.upsampling,
    _L.AveragePooling1D: convolutions.mean_pooling,
    _L.MaxPooling1D: convolutions.max_pooling,
    _L.Activation: _activation,
    _L.ReLU: _relu,
    _L.LeakyReLU: _leaky_relu,
    _L.ELU: _elu,
    _L.PReLU: _prelu,
    _L.Softmax: _softmax,
    _L.Add: _sum(1.0),
    _L.Subtract: _sum(-1.0),
    _L.Average: _average,
    _L.Multiply: _combination("multiply"),
    _L.Maximum: _combination("maximum"),
    _L.Minimum: _combination("minimum"),
    _L.Concatenate: _concatenate,
    _L.BatchNormalization: _batch_normalization,
    _L.LayerNormalization: _layer_normalization,
    _L.RMSNormalization: _rms_normalization,
    _L.LSTM: recurrent.lstm,
    _L.GRU: recurrent.gru,
    _L.SimpleRNN: recurrent.simple,
    _L.Rescaling: _rescaling,
    _L.Permute: _permute,
    _L.TimeDistributed: _time_distributed,
    **dict.fromkeys(
        (
            _L.Dropout,
            _L.SpatialDropout1D,
            _L.AlphaDropout,
            _L.GaussianDropout,
            _L.GaussianNoise,
            _L.ActivityRegularization,
            _L.Identity,
        ),
        _same,
    ),
}
"""Rules by class."""

_POINTWISE_LAYERS = {_L.Dense, _L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU, _L.Dropout, _L.Identity}
"""Layers that do to a sample [C] what they do to [T, C]."""

_ALL_OF_TIME = "every output of it depends on all of time, the future too"
REASONS: dict[str, str] = {
    **dict.fromkeys(
        (
            "GlobalAveragePooling1D",
            "GlobalMaxPooling1D",
            "AdaptiveAveragePooling1D",
            "AdaptiveMaxPooling1D",
            "Attention",
            "AdditiveAttention",
            "MultiHeadAttention",
            "GroupQueryAttention",
            "Bidirectional",
            "Flatten",
            "Dot",
        ),
        _ALL_OF_TIME,
    ),
    "GroupNormalization": f"it normalises over the time of a group, so {_ALL_OF_TIME}. BatchNormalization and "
    "LayerNormalization are read",
    "UnitNormalization": "there is no rule for it. RMSNormalization is read",
    "Reshape": "it mixes time with other axes",
    "RepeatVector": "its input has no time",
    "Embedding": "its input is not float32. Stream the part behind it, and look the vectors up for every chunk",
    "Masking": "it hides samples by their values from the layers behind it. End the session instead",
    "Lambda": "its function is code that cannot be read. Use layers, or keras.ops on the tensors",
    "RNN": "its cell is code that cannot be read. LSTM, GRU and SimpleRNN are read",
}
"""Reasons against layers, by the names of their classes."""


def rule_for(layer: Any) -> Rule:
    """Return the rule for a layer. Raises Refusal for a layer that has none."""
    kind = type(layer)
    if "call" in vars(layer) and not is_installed(layer):
        raise Refusal("its call was replaced by other code")
    for base in kind.__mro__:
        if base in RULES:
            if kind.call is not getattr(base, "call", None):
                raise Refusal(f"{kind.__qualname__} has a call of its own, which is code that cannot be read")
            return RULES[base]
        if base.__name__ in REASONS and base.__module__.startswith("keras."):
            raise Refusal(REASONS[base.__name__])
    known = ", ".join(sorted({each.__name__ for each in RULES}))
    raise Refusal(f"there is no rule for it; {known} are read")
