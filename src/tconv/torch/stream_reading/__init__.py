"""Recorded operations of a module as a graph of steps along time.

`OPERATIONS` has a reader for each operation by its name: a new one is a function and a line.
"""

from __future__ import annotations

from tconv.torch.stream_reading import (
    activations,
    arithmetic,
    channels,
    convolutions,
    layouts,
    lengths,
    normalization,
)
from tconv.torch.stream_reading.arithmetic import larger_or_smaller, pointwise
from tconv.torch.stream_reading.layouts import permuted
from tconv.torch.stream_reading.module_graph import OperationReader
from tconv.torch.stream_reading.normalization import all_of_time, over_channels, over_time_or_channels
from tconv.torch.stream_reading.recurrent import recurrent_cell

_IDENTITIES = (
    "contiguous clone detach to cpu float double half bfloat16 type type_as alias data requires_grad positive real cuda"
)
_DROPOUTS = "dropout dropout1d feature_dropout alpha_dropout feature_alpha_dropout"
_RESHAPES = "view reshape view_as reshape_as squeeze unsqueeze flatten unflatten ravel"
_OVER_TIME = "group_norm instance_norm adaptive_avg_pool1d adaptive_max_pool1d fft rfft stft istft"
_OVER_AN_AXIS = "amax amin max min std var std_mean var_mean cumsum cumprod sort argmax argmin logsumexp prod"

OPERATIONS: dict[str, OperationReader] = {
    # convolutions and matrices
    "conv1d": convolutions.conv1d,
    "conv_transpose1d": convolutions.conv_transpose1d,
    "linear": convolutions.linear,
    "matmul": convolutions.matmul,
    "rmatmul": convolutions.matmul,
    "lstm": recurrent_cell("lstm"),
    "gru": recurrent_cell("gru"),
    "rnn_tanh": recurrent_cell("tanh"),
    "rnn_relu": recurrent_cell("relu"),
    # arithmetic
    "add": arithmetic.add,
    "radd": arithmetic.add,
    "sub": arithmetic.sub,
    "subtract": arithmetic.sub,
    "rsub": arithmetic.rsub,
    "mul": arithmetic.mul,
    "multiply": arithmetic.mul,
    "rmul": arithmetic.mul,
    "div": arithmetic.div,
    "divide": arithmetic.div,
    "true_divide": arithmetic.div,
    "truediv": arithmetic.div,
    "rdiv": arithmetic.rdiv,
    "rtruediv": arithmetic.rdiv,
    "pow": arithmetic.power,
    "maximum": larger_or_smaller("maximum"),
    "minimum": larger_or_smaller("minimum"),
    "clamp": arithmetic.clamp,
    "clip": arithmetic.clamp,
    "addcmul": arithmetic.addcmul,
    # activations
    **{
        name: pointwise(kind)
        for name, kind in {
            "relu": "relu",
            "relu6": "relu6",
            "sigmoid": "sigmoid",
            "tanh": "tanh",
            "silu": "silu",
            "mish": "mish",
            "selu": "selu",
            "softsign": "softsign",
            "hardsigmoid": "hard_sigmoid",
            "hardswish": "hard_swish",
            "sin": "sin",
            "cos": "cos",
            "exp": "exp",
            "log": "log",
            "erf": "erf",
            "sqrt": "sqrt",
            "rsqrt": "rsqrt",
            "square": "square",
            "reciprocal": "reciprocal",
            "abs": "abs",
            "neg": "negate",
            "negative": "negate",
            "floor": "floor",
            "ceil": "ceil",
        }.items()
    },
    "leaky_relu": activations.leaky_relu,
    "prelu": activations.prelu,
    "elu": activations.elu,
    "celu": activations.celu,
    "gelu": activations.gelu,
    "softplus": activations.softplus,
    "log_sigmoid": activations.logsigmoid,
    "tanhshrink": activations.tanhshrink,
    "hardtanh": activations.hardtanh,
    "log2": activations.log_of(2),
    "log10": activations.log_of(10),
    "log1p": activations.log1p,
    "glu": activations.glu,
    # parts of channels and of time
    "getitem": channels.getitem,
    "narrow": channels.narrow,
    "select": channels.select,
    "chunk": channels.parts,
    "split": channels.parts,
    "split_with_sizes": channels.parts,
    "tensor_split": channels.parts,
    "unbind": channels.parts,
    "cat": channels.cat,
    "concat": channels.cat,
    "concatenate": channels.cat,
    "stack": channels.stack,
    "repeat": channels.repeat,
    "flip": channels.flip,
    # lengths
    "pad": lengths.pad,
    "interpolate": lengths.interpolate,
    "upsample": lengths.interpolate,
    "repeat_interleave": lengths.repeat_interleave,
    "avg_pool1d": lengths.avg_pool1d,
    "max_pool1d": lengths.max_pool1d,
    # layouts
    **dict.fromkeys(_IDENTITIES.split(), layouts.identity),
    **dict.fromkeys(_DROPOUTS.split(), layouts.dropout),
    **dict.fromkeys(_RESHAPES.split(), layouts.reshaped),
    "expand": layouts.expand,
    "expand_as": layouts.expand,
    "permute": permuted(layouts.permute_order),
    "transpose": permuted(layouts.transpose_order),
    "swapaxes": permuted(layouts.transpose_order),
    "swapdims": permuted(layouts.transpose_order),
    "movedim": permuted(layouts.movedim_order),
    "moveaxis": permuted(layouts.movedim_order),
    "t": permuted(layouts.reversed_order),
    "T": permuted(layouts.reversed_order),
    "mT": permuted(layouts.last_two),
    # normalization
    "batch_norm": normalization.batch_norm,
    "layer_norm": normalization.layer_norm,
    "rms_norm": normalization.rms_norm,
    "softmax": normalization.softmax(False),
    "log_softmax": normalization.softmax(True),
    "mean": over_channels("mean"),
    "sum": over_channels("sum"),
    # what no stream can compute
    **dict.fromkeys(_OVER_TIME.split(), all_of_time("reads all of time")),
    **dict.fromkeys(_OVER_AN_AXIS.split(), over_time_or_channels),
    "scaled_dot_product_attention": all_of_time("is attention, which reads all of time"),
    "multi_head_attention_forward": all_of_time("is attention, which reads all of time"),
    "embedding": all_of_time("reads whole numbers: stream the module behind it, and look the numbers up before"),
}
"""Readers by the name of the operation, as `stream_recording.name_of` has it."""

__all__ = ["OPERATIONS"]
